"""An OpenID provider that is not there: it believes the codes and access tokens that it was given."""

from urllib.parse import urlencode

from pileus.drivers.errors import Refused, Unreachable
from pileus.drivers.federation.protocol import Claims, Client, Endpoints


class FakeOpenId:
    """`codes` and `tokens` say of whom; a code is good once. `down`: nobody answers."""

    def __init__(self) -> None:
        self.codes: dict[str, Claims] = {}
        self.tokens: dict[str, Claims] = {}
        self.nonces: list[str] = []
        self.down = False

    async def begin(self, client: Client, *, redirect: str, state: str, nonce: str, challenge: str) -> str:
        self._there(client)
        self.nonces.append(nonce)
        asked = {"client_id": client.client, "redirect_uri": redirect, "state": state, "nonce": nonce}
        return f"{client.issuer}/authorize?{urlencode(asked | {'code_challenge': challenge})}"

    async def finish(
        self,
        client: Client,
        *,
        code: str,
        redirect: str,
        verifier: str,
        nonce: str,
        issuer: str | None = None,
    ) -> Claims:
        self._there(client)
        return self._said(self.codes.pop(code, None))

    async def inspect(self, client: Client, token: str) -> Claims:
        self._there(client)
        return self._said(self.tokens.get(token))

    async def plain(self, client: Client, endpoints: Endpoints, *, code: str, redirect: str) -> Claims:
        return await self.finish(client, code=code, redirect=redirect, verifier="", nonce="")

    def _there(self, client: Client) -> None:
        if self.down:
            raise Unreachable(f"{client.issuer} does not answer")

    def _said(self, claims: Claims | None) -> Claims:
        if claims is None:
            raise Refused("nothing is known of it")
        return claims
