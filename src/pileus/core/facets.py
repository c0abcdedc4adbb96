"""What only one API must remember about an object: a bag kept under (face, id), never read by the core."""

from typing import Any
from uuid import UUID

from pileus.store import Record, table


@table("facet", key=("face", "subject"), indexes=(("subject",),))
class Facet(Record):
    face: str
    subject: UUID
    values: dict[str, Any] = {}
