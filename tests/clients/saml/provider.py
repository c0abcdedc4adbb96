"""A SAML identity provider on loopback, by pysaml2: provider.py PORT DIRECTORY.

The directory holds key.pem and cert.pem, and the metadata of the service providers, one file each. Browsers that come are
alice; enhanced clients prove that they are alice by HTTP Basic. `how.json` there, when it is, says at each request what is
signed (`sign`), and the method by which the assertion is encrypted (`method`; `alone`: with all its prefixes).
"""

import base64
import json
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import saml2.entity
from saml2 import BINDING_HTTP_POST, BINDING_HTTP_REDIRECT, BINDING_SOAP
from saml2.authn_context import PASSWORD
from saml2.config import IdPConfig
from saml2.metadata import create_metadata_string
from saml2.saml import NAME_FORMAT_URI, NAMEID_FORMAT_UNSPECIFIED, NameID
from saml2.server import Server
from saml2.sigver import pre_encryption_part
from saml2.xmldsig import DIGEST_SHA256, SIG_RSA_SHA256

port, place = int(sys.argv[1]), Path(sys.argv[2])
base = f"http://127.0.0.1:{port}"
settings = {
    "entityid": f"{base}/metadata",
    "service": {
        "idp": {
            "endpoints": {
                "single_sign_on_service": [
                    (f"{base}/sso", BINDING_HTTP_REDIRECT),
                    (f"{base}/ecp", BINDING_SOAP),
                ]
            },
            "policy": {
                "default": {
                    "lifetime": {"minutes": 15},
                    "attribute_restrictions": None,
                    "name_form": NAME_FORMAT_URI,
                }
            },
        }
    },
    "key_file": str(place / "key.pem"),
    "cert_file": str(place / "cert.pem"),
    "metadata": {"local": [str(each) for each in place.glob("*.xml")]},
    "xmlsec_binary": "/usr/bin/xmlsec1",
}
config = IdPConfig().load(settings)
idp = Server(config=config)
alice = {
    "identity": {"mail": ["alice@example.org"], "eduPersonAffiliation": ["staff", "ops"]},
    "userid": "alice",
    "name_id": NameID(format=NAMEID_FORMAT_UNSPECIFIED, text="alice"),
    "authn": {"class_ref": PASSWORD, "authn_auth": base},
    "sign_alg": SIG_RSA_SHA256,
    "digest_alg": DIGEST_SHA256,
}
ENVELOPE = """<S:Envelope xmlns:S="http://schemas.xmlsoap.org/soap/envelope/"><S:Header>
<ecp:Response xmlns:ecp="urn:oasis:names:tc:SAML:2.0:profiles:SSO:ecp" S:mustUnderstand="1"
 S:actor="http://schemas.xmlsoap.org/soap/actor/next" AssertionConsumerServiceURL="{consumer}"/>
</S:Header><S:Body>{response}</S:Body></S:Envelope>"""
SIGNED = {"sign": ["assertion", "response"]}
encrypt = idp.sec.encrypt_assertion


def how() -> dict[str, Any]:
    """What is signed and encrypted now, as pysaml2 names it. Its own choice would be Triple-DES."""
    file = place / "how.json"
    asked = json.loads(file.read_text()) if file.exists() else SIGNED
    method = asked.get("method")

    def prepared(**more: Any) -> Any:
        return pre_encryption_part(msg_enc=method, **more)

    def encrypted(statement: Any, key: str, template: Any, node_xpath: str | None = None) -> Any:
        return encrypt(statement, key, template, f"aes-{256 if 'aes256' in method else 128}", node_xpath)

    saml2.entity.pre_encryption_part, idp.sec.encrypt_assertion = prepared, encrypted
    return {
        "sign_assertion": "assertion" in asked["sign"],
        "sign_response": "response" in asked["sign"],
        "encrypt_assertion": method is not None,
        "encrypt_assertion_self_contained": asked.get("alone", True),
    }


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        where = urlsplit(self.path)
        if where.path == "/metadata":
            return self.answer(create_metadata_string(None, config=config, sign=False), "text/xml")
        query = {name: values[0] for name, values in parse_qs(where.query).items()}
        asked = idp.parse_authn_request(query["SAMLRequest"], BINDING_HTTP_REDIRECT)
        to = idp.response_args(asked.message)
        to.pop("binding", None)
        response = idp.create_authn_response(**alice, **how(), **to)
        form = idp.apply_binding(
            BINDING_HTTP_POST, str(response), to["destination"], query["RelayState"], response=True
        )
        return self.answer("".join(form["data"]), "text/html")

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["content-length"])).decode()
        if self.headers.get("authorization") != f"Basic {base64.b64encode(b'alice:secret').decode()}":
            self.send_error(401)
            return None
        asked = idp.parse_authn_request(content, BINDING_SOAP)
        to = idp.response_args(asked.message)
        to.pop("binding", None)
        response = str(idp.create_authn_response(**alice, **how(), **to))
        body = response[response.index("?>") + 2 :] if response.startswith("<?xml") else response
        return self.answer(ENVELOPE.format(consumer=to["destination"], response=body), "text/xml")

    def answer(self, content: "str | bytes", kind: str) -> None:
        body = content.encode() if isinstance(content, str) else content
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        return None


print("ready", flush=True)
HTTPServer(("127.0.0.1", port), Handler).serve_forever()
