"""`pileus federation`: how identity providers are spoken with."""

from pathlib import Path
from typing import Any
from urllib.parse import quote

from pileus.cli.http import Failed
from pileus.cli.lifecycle import complain
from pileus.cli.operations import connect


def set_provider(
    state: Path,
    provider: str,
    *,
    issuer: str | None,
    client: str | None,
    secret_file: Path | None,
    scopes: tuple[str, ...],
    audiences: tuple[str, ...],
    opaque_tokens: str,
    metadata_file: Path | None,
) -> int:
    settings: dict[str, Any] = {}
    if issuer or client:
        if not (issuer and client):
            complain("OpenID Connect needs both --issuer and --client-id.")
            return 1
        openid: dict[str, Any] = {"issuer": issuer, "client": client}
        if secret_file is not None:
            openid["secret"] = secret_file.read_text().strip()
        if scopes:
            openid["scopes"] = scopes
        settings["openid"] = openid | {"audiences": audiences, "opaque_tokens": opaque_tokens}
    if metadata_file is not None:
        settings["saml_metadata"] = metadata_file.read_text()
    if not settings:
        complain("Nothing is given to set: give --issuer and --client-id, or --metadata-file.")
        return 1
    try:
        path = f"/identity-providers/{quote(provider, safe='')}/settings"
        connect(state).send("console", "PUT", path, {"settings": settings})
    except Failed as error:
        complain(str(error))
        return 1
    print(f"identity provider {provider} is set")
    return 0
