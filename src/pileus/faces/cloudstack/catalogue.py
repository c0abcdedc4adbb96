"""CloudStack's own catalogue of the commands that we have: envelopes, keys, roles, parameters and response fields.

`catalogue.json` is made by tools/extract-cloudstack from the ledger.
"""

from collections.abc import Mapping
from pathlib import Path

import msgspec


class CataloguedParam(msgspec.Struct, frozen=True, kw_only=True):
    type: str
    items: str = ""
    required: bool = False
    length: int = 255
    since: str = ""
    authorized: tuple[str, ...] = ()
    entity: str | tuple[str, ...] = ""


class CataloguedField(msgspec.Struct, frozen=True, kw_only=True):
    type: str
    object: str = ""
    since: str = ""
    authorized: tuple[str, ...] = ()
    """Only these role types see it; empty: all."""


class Catalogued(msgspec.Struct, frozen=True, kw_only=True):
    envelope: str
    object: str = ""
    """Key of the object, or of the list, in the envelope."""
    response: str
    since: str = ""
    job: bool = False
    creates: bool = False
    """A job whose first answer also has the id of what it makes."""
    list: bool = False
    bare: bool = False
    """Answers nothing but success."""
    roles: tuple[str, ...] = ()
    group: str = ""
    entity: str = ""
    params: dict[str, CataloguedParam]


class Facts(msgspec.Struct, frozen=True):
    cserror_codes: dict[str, int]
    event_types: list[str]
    resource_types: dict[str, int]
    alert_types: dict[str, int]
    """Without those that are named after a capacity."""


class Catalogue(msgspec.Struct, frozen=True):
    version: str
    commands: dict[str, Catalogued]
    responses: dict[str, dict[str, CataloguedField]]
    facts: Facts

    def fields(self, response: str) -> Mapping[str, CataloguedField]:
        return self.responses.get(response, {})


CATALOGUE = msgspec.json.decode((Path(__file__).parent / "catalogue.json").read_bytes(), type=Catalogue)
