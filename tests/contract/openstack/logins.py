"""Words in which conversations with Keystone's API begin: proofs, logins, grants."""

from typing import Any

from tests.asgi import Client

V3 = "/identity/v3"
TOKENS = f"{V3}/auth/tokens"
PASSWORD = "secret"
NOBODY = "0" * 32


def by_password(user: dict[str, Any], password: str = PASSWORD, scope: Any = None) -> dict[str, Any]:
    auth = {"identity": {"methods": ["password"], "password": {"user": {**user, "password": password}}}}
    return {"auth": auth | ({"scope": scope} if scope is not None else {})}


def named(name: str) -> dict[str, Any]:
    return {"name": name, "domain": {"id": "default"}}


async def login(anyone: Client, body: dict[str, Any]) -> tuple[Client, dict[str, Any]]:
    """A client with the token, and what the token says."""
    reply = await anyone.post(TOKENS, json=body)
    assert reply.status == 201, reply.text
    return Client(anyone.app, {"x-auth-token": reply.headers["x-subject-token"]}), reply.json()["token"]


async def make(admin: Client, one: str, **fields: Any) -> dict[str, Any]:
    """What a POST of it made."""
    reply = await admin.post(f"{V3}/{one}s", json={one: fields})
    assert reply.status == 201, reply.text
    made: dict[str, Any] = reply.json()[one]
    return made


async def role(admin: Client, name: str) -> str:
    found: str = (await admin.get(f"{V3}/roles?name={name}")).json()["roles"][0]["id"]
    return found


async def pages(client: Client, path: str, many: str) -> list[list[str]]:
    """The names on each page of a list, by the links from page to page; what is not the last one is `truncated`."""
    found = []
    at: str | None = f"{V3}/{path}"
    while at is not None:
        shown = (await client.get(at)).json()
        found.append([one["name"] for one in shown[many]])
        following = shown["links"]["next"]
        assert shown.get("truncated", False) == (following is not None)
        at = following.removeprefix("http://cloud.test") if following else None
    return found
