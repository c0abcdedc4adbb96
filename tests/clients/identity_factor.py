"""Run by the clients' own Python: a user sets up a second factor in CloudStack's session, as a browser does, and logs in
to Keystone with keystoneauth's plugins.

identity_factor.py USER PASSWORD PROVIDER. Prints JSON: the factor's secret, and what the plugins saw.
"""

import base64
import hashlib
import hmac
import json
import os
import struct
import sys
import time
from typing import Any

import requests
from keystoneauth1 import exceptions
from keystoneauth1 import session as sessions
from keystoneauth1.identity import v3

URL = os.environ["OS_AUTH_URL"]
API = URL.removesuffix("/identity/v3") + "/client/api"
USER, PASSWORD, PROVIDER = sys.argv[1:]
WHO = {"username": USER, "user_domain_id": "default"}
HOME = {"project_name": USER, "project_domain_id": "default"}


def code(secret: str, back: int = 0) -> str:
    """RFC 6238, as an authenticator application makes it; `back`: of so many steps ago."""
    key = base64.b32decode(secret + "=" * (-len(secret) % 8))
    digest = hmac.new(key, struct.pack(">Q", int(time.time()) // 30 - back), hashlib.sha1).digest()
    place = digest[-1] & 15
    return f"{(struct.unpack('>I', digest[place : place + 4])[0] & 0x7FFFFFFF) % 1_000_000:06}"


def set_up() -> str:
    browser = requests.Session()
    form = {"command": "login", "username": USER, "password": PASSWORD, "response": "json"}
    key = browser.post(API, data=form, timeout=60).json()["loginresponse"]["sessionkey"]

    def call(command: str, **params: str) -> Any:
        sent = {"command": command, "response": "json", "sessionkey": key, **params}
        (content,) = browser.get(API, params=sent, timeout=60).json().values()
        return content

    secret = str(
        call("setupUserTwoFactorAuthentication", enable="true", provider=PROVIDER)["setup2fa"]["secretcode"]
    )
    given = secret if PROVIDER == "staticpin" else code(secret, back=1)
    assert call("validateUserTwoFactorAuthenticationCode", codefor2fa=given) == {"success": True}
    return secret


def refusal(plugin: Any) -> Any:
    try:
        plugin.get_token(sessions.Session())
    except exceptions.ClientException as error:
        return error
    raise AssertionError("it was let in")


def seen(plugin: Any) -> dict[str, Any]:
    session = sessions.Session(auth=plugin)
    access = plugin.get_access(session)
    servers = session.get("/servers", endpoint_filter={"service_type": "compute", "interface": "public"})
    return {"user": access.username, "project": access.project_name, "servers": servers.status_code}


def main() -> None:
    alone = v3.Password(URL, password=PASSWORD, **WHO, **HOME)
    found: dict[str, Any] = {"before": str(refusal(alone))}
    secret = set_up()
    asked = refusal(alone)
    found |= {"secret": secret, "asked": type(asked).__name__, "required": asked.required_auth_methods}
    both = v3.MultiFactor(
        URL,
        ["v3password", "v3totp"],
        password=PASSWORD,
        passcode=secret if PROVIDER == "staticpin" else code(secret),
        **WHO,
        **HOME,
    )
    found["v3multifactor"] = seen(both)
    if PROVIDER == "staticpin":  # a code would have to be waited for
        rest = v3.Auth(URL, [v3.TOTPMethod(passcode=secret, **WHO)], **HOME)
        rest.add_method(v3.ReceiptMethod(receipt=asked.receipt))
        found["receipt"] = seen(rest)
    print(json.dumps(found))


main()
