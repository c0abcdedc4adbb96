"""Run by the clients' own Python: keystoneauth's plugins and keystonemiddleware's auth_token against a running cloud.

Prints JSON: what each plugin's session saw, and what a small WSGI application behind auth_token answered.
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

from keystoneauth1 import session as sessions
from keystoneauth1.identity import v3
from keystonemiddleware.auth_token import AuthProtocol

URL, PASSWORD = os.environ["OS_AUTH_URL"], os.environ["OS_PASSWORD"]
HOME = {
    "user_domain_id": "default",
    "project_domain_id": "default",
    "project_name": os.environ["OS_PROJECT_NAME"],
}


def code(secret: str) -> str:
    """RFC 6238, as an authenticator application makes it."""
    key = base64.b32decode(secret + "=" * (-len(secret) % 8))
    digest = hmac.new(key, struct.pack(">Q", int(time.time()) // 30), hashlib.sha1).digest()
    place = digest[-1] & 15
    return f"{(struct.unpack('>I', digest[place : place + 4])[0] & 0x7FFFFFFF) % 1_000_000:06}"


def seen(plugin: Any) -> dict[str, Any]:
    """What a session with the plugin is for the cloud."""
    session = sessions.Session(auth=plugin)
    access = plugin.get_access(session)
    servers = session.get("/servers", endpoint_filter={"service_type": "compute", "interface": "public"})
    return {
        "user": access.username,
        "project": access.project_name,
        "roles": sorted(access.role_names),
        "servers": servers.status_code,
        "token": access.auth_token,
    }


def plugins() -> dict[str, Any]:
    password = v3.Password(URL, username="admin", password=PASSWORD, **HOME)
    session = sessions.Session(auth=password)
    found = {"v3password": seen(password)}
    found["v3token"] = seen(
        v3.Token(
            URL, found["v3password"]["token"], project_name=HOME["project_name"], project_domain_id="default"
        )
    )
    user = session.get_user_id()
    wanted = {"application_credential": {"name": "plugin", "secret": "S3cret", "roles": [{"name": "member"}]}}
    identity = {"service_type": "identity", "interface": "public"}
    made = session.post(
        f"/users/{user}/application_credentials", json=wanted, endpoint_filter=identity
    ).json()
    found["v3applicationcredential"] = seen(
        v3.ApplicationCredential(
            URL,
            application_credential_id=made["application_credential"]["id"],
            application_credential_secret="S3cret",
        )
    )
    secret = base64.b32encode(os.urandom(20)).decode()
    blob = {"credential": {"type": "totp", "blob": secret, "user_id": user}}
    session.post("/credentials", json=blob, endpoint_filter=identity)
    found["v3totp"] = seen(v3.TOTP(URL, username="admin", passcode=code(secret), **HOME))
    return found


def behind_middleware(token: str) -> dict[str, Any]:
    """A WSGI application that answers who auth_token says the caller is."""
    heard: dict[str, Any] = {}

    def application(environ: dict[str, Any], start: Any) -> list[bytes]:
        names = ("HTTP_X_USER_NAME", "HTTP_X_PROJECT_NAME", "HTTP_X_ROLES", "HTTP_X_IDENTITY_STATUS")
        heard.update({name: environ.get(name) for name in names})
        start("200 OK", [])
        return [b"inside"]

    guarded = AuthProtocol(
        application,
        {
            "auth_type": "password",
            "auth_url": URL,
            "username": "admin",
            "password": PASSWORD,
            "user_domain_id": "default",
            "project_domain_id": "default",
            "project_name": HOME["project_name"],
            "www_authenticate_uri": URL,
            "service_token_roles_required": True,
        },
    )
    statuses = []
    for text in (token, token[:-3], None):
        environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "SERVER_NAME": "x", "SERVER_PORT": "80"}
        environ |= {"wsgi.url_scheme": "http", "wsgi.input": sys.stdin.buffer, "wsgi.errors": sys.stderr}
        if text is not None:
            environ["HTTP_X_AUTH_TOKEN"] = text
        list(guarded(environ, lambda status, headers, exc_info=None: statuses.append(status)))
    return {"statuses": statuses, "heard": heard}


def main() -> None:
    found = plugins()
    guarded = behind_middleware(found["v3password"]["token"])
    for each in found.values():
        del each["token"]
    print(json.dumps({"plugins": found, "middleware": guarded}))


main()
