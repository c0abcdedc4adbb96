"""Sessions of the web interface: what a login gives, and requests that go by it; clients of users made in a test."""

from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import urlencode

from pileus.faces.wire import Kernel
from tests.asgi import Client, Reply
from tests.contract.cloudstack.conftest import ENDPOINT, Stack

FORM = {"content-type": "application/x-www-form-urlencoded"}


class Visitor(Client):
    """A browser: it keeps the cookies it gets, and repeats the session key."""

    def __init__(self, app: Kernel) -> None:
        self.jar: dict[str, str] = {}

        async def keeping(scope: Any, receive: Any, send: Any) -> None:
            async def watched(message: Any) -> None:
                for name, value in message.get("headers", ()):
                    if name == b"set-cookie":
                        for key, morsel in SimpleCookie(value.decode()).items():
                            self.jar[key] = morsel.value
                await send(message)

            await app(scope, receive, watched)

        super().__init__(keeping)
        self.key = ""
        self.shown: dict[str, Any] = {}

    async def post_form(self, **fields: str) -> Reply:
        body = urlencode({"response": "json", **fields})
        return await self.post(ENDPOINT, data=body, headers={**FORM, **self._cookies()})

    def _cookies(self) -> dict[str, str]:
        kept = "; ".join(f"{name}={value}" for name, value in self.jar.items() if value)
        return {"cookie": kept} if kept else {}

    async def login(self, username: str, password: str, **more: str) -> dict[str, Any]:
        """Must go well."""
        reply = await self.post_form(command="login", username=username, password=password, **more)
        assert reply.status == 200, reply.text
        self.shown = reply.json()["loginresponse"]
        self.key = self.shown["sessionkey"]
        return self.shown

    async def refused_login(self, username: str, password: str, **more: str) -> int:
        reply = await self.post_form(command="login", username=username, password=password, **more)
        return reply.status

    async def ask(self, command: str, **params: str) -> Reply:
        query = urlencode({"command": command, "response": "json", "sessionkey": self.key, **params})
        return await self.get(f"{ENDPOINT}?{query}", headers=self._cookies())

    async def call(self, command: str, **params: str) -> Any:
        reply = await self.ask(command, **params)
        assert reply.status == 200, reply.text
        (content,) = reply.json().values()
        return content


async def made(admin: Stack, name: str, **params: Any) -> dict[str, Any]:
    """An account of this name with one user of the same name, whose password is `secret`."""
    person = {"firstname": name, "lastname": "Test", "email": f"{name}@example.org", "password": "secret"}
    answer = await admin.call("createAccount", **{"username": name, "accounttype": 0, **person, **params})
    found: dict[str, Any] = answer["account"]
    return found


async def client(admin: Stack, account: dict[str, Any], user: int = 0) -> Stack:
    """Of a user of an account, with new keys."""
    shown = account["user"][user]
    keys = (await admin.call("registerUserKeys", id=shown["id"]))["userkeys"]
    return Stack(admin.app, keys["apikey"], keys["secretkey"], shown, account)  # type: ignore[arg-type]


async def account_of(admin: Stack, key: str) -> dict[str, Any]:
    (found,) = (await admin.call("listAccounts", id=key))["account"]
    shown: dict[str, Any] = found
    return shown


async def domain(admin: Stack, name: str, **params: Any) -> dict[str, Any]:
    found: dict[str, Any] = (await admin.call("createDomain", name=name, **params))["domain"]
    return found
