"""Rows that one of our objects wants in the northbound database, and the difference to those that are there.

Every row of ours says in its external_ids to which object it belongs, which row of the object it is, and in
whose columns it stands. So an object's rows are found without a state of our own, and repair is creation.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from ovs.db import data, types

from pileus.drivers.errors import Missing, Refused

KIND, ID, KEY, WITHIN, MEMBER = "pileus:kind", "pileus:id", "pileus:key", "pileus:in", "pileus:member"
CLOUD = "pileus:cloud"
"""Which cloud a row is of, where several share one OVN. What all of them need alike (SHARED) has none."""
SHARED = "site"
SIGHTED = ("Logical_Switch", "Logical_Switch_Port", "Logical_Router", "Port_Group")
"""Tables whose strange rows are counted."""

CHILDREN = frozenset(
    {
        "ACL",
        "Gateway_Chassis",
        "Logical_Router_Policy",
        "Logical_Router_Port",
        "Logical_Router_Static_Route",
        "Logical_Switch_Port",
        "NAT",
    }
)
"""Tables whose rows live only inside another row."""


class Owner(NamedTuple):
    kind: str
    id: str


class Handle(NamedTuple):
    """One row of one object."""

    owner: Owner
    table: str
    key: str = ""

    def into(self, column: str) -> "Place":
        return Place(self, column)


class Place(NamedTuple):
    """A column of a row that holds references."""

    handle: Handle
    column: str

    def text(self) -> str:
        (kind, id), table, key = self.handle
        return "/".join((kind, id, table, key, self.column))


def place(text: str) -> Place:
    kind, id, table, rest = text.split("/", 3)
    key, _, column = rest.rpartition("/")
    return Place(Handle(Owner(kind, id), table, key), column)


class Ref(NamedTuple):
    """As a column's value: the row behind a handle, or nothing while it is not there."""

    handle: Handle


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """`within` holds the row and keeps it alive; `member` are further columns that list it if they exist."""

    handle: Handle
    columns: Mapping[str, Any]
    within: Place | None = None
    member: tuple[Place, ...] = ()
    note: str = ""
    """A name for people."""


def owner(kind: str, id: UUID) -> Owner:
    return Owner(kind, str(id))


def marks(row: Row, cloud: str = "") -> dict[str, str]:
    """The external_ids that make a row ours."""
    (kind, id), _, key = row.handle
    wanted = {KIND: kind, ID: id, KEY: key}
    if cloud and kind != SHARED:
        wanted[CLOUD] = cloud
    if row.within is not None:
        wanted[WITHIN] = row.within.text()
    if row.member:
        wanted[MEMBER] = " ".join(sorted(place.text() for place in row.member))
    if row.note:
        wanted["pileus:name"] = row.note
    return wanted


class Replica:
    """The database's copy in memory, with the rows of one cloud by owner, and those that name none. Used only by the
    link's thread."""

    def __init__(self, idl: Any, cloud: str = "") -> None:
        self.idl, self.cloud = idl, cloud
        self._marked: set[str] = set()
        self._rows: dict[Owner, dict[str, tuple[Handle, Any]]] = {}
        self._found: dict[Handle, dict[str, Any]] = {}
        self._members: dict[Place, dict[str, Any]] = {}
        self._seen: dict[str, tuple[Handle, tuple[Place, ...]]] = {}
        idl.notify = self._notice

    def _notice(self, event: str, row: Any, updates: Any = None) -> None:
        """Called by the library for each change of a row."""
        if event == "update" and updates is not None and not hasattr(updates, "external_ids"):
            return
        uuid = str(row.uuid)
        self._forget(uuid)
        marked = {} if event == "delete" else getattr(row, "external_ids", {})
        if ID not in marked or marked.get(CLOUD, self.cloud) != self.cloud:
            return
        if marked.get(CLOUD, "") == self.cloud:
            self._marked.add(uuid)
        handle = Handle(Owner(marked.get(KIND, ""), marked[ID]), row._table.name, marked.get(KEY, ""))
        places = tuple(place(text) for text in marked.get(MEMBER, "").split())
        self._seen[uuid] = (handle, places)
        self._rows.setdefault(handle.owner, {})[uuid] = (handle, row)
        self._found.setdefault(handle, {})[uuid] = row
        for spot in places:
            self._members.setdefault(spot, {})[uuid] = row

    def _forget(self, uuid: str) -> None:
        if uuid not in self._seen:
            return
        handle, places = self._seen.pop(uuid)
        self._marked.discard(uuid)
        _drop(self._rows, handle.owner, uuid)
        _drop(self._found, handle, uuid)
        for spot in places:
            _drop(self._members, spot, uuid)

    def owned(self, whose: Owner) -> list[tuple[Handle, Any]]:
        """Present rows of an object; twice the same handle if somebody copied one."""
        return [(handle, row) for handle, row in self._rows.get(whose, {}).values() if _live(row)]

    def find(self, handle: Handle) -> Any | None:
        return next((row for row in self._found.get(handle, {}).values() if _live(row)), None)

    def members(self, spot: Place) -> list[Any]:
        """Rows that want to be listed there."""
        return [row for row in self._members.get(spot, {}).values() if _live(row)]

    def owners(self) -> set[Owner]:
        return {whose for whose in self._rows if self.owned(whose)}

    def unmarked(self) -> set[Owner]:
        """Objects of which no row names a cloud."""
        return {whose for whose, rows in self._rows.items() if not any(uuid in self._marked for uuid in rows)}

    def foreign(self) -> dict[str, int]:
        """How many rows are not ours, by table."""
        found = {}
        for table in SIGHTED:
            strange = sum(str(uuid) not in self._seen for uuid in self.idl.tables[table].rows)
            if strange:
                found[table] = strange
        return found


def _live(row: Any) -> bool:
    """False for what went away unannounced, when the copy was built anew after a reconnect."""
    return row._table.rows.get(row.uuid) is row


def _drop(index: dict[Any, dict[str, Any]], key: Any, uuid: str) -> None:
    rows = index.get(key)
    if rows is not None:
        rows.pop(uuid, None)
        if not rows:
            del index[key]


class Difference:
    """Brings the rows of one object to what is wanted, within one transaction."""

    def __init__(self, replica: Replica, txn: Any) -> None:
        self._replica = replica
        self._txn = txn
        self._made: dict[Handle, Any] = {}
        self.changed = False
        """Whether anything was otherwise than wanted; marks do not count."""

    def apply(self, whose: Owner, wanted: Sequence[Row]) -> None:
        """`wanted` names a row before those that refer to it."""
        wishes = {wish.handle: wish for wish in wanted}
        present: dict[Handle, Any] = {}
        for handle, row in self._replica.owned(whose):
            wish = wishes.get(handle)
            if wish is None or handle in present or _moves(row, wish):
                self._delete(row)
            else:
                present[handle] = row
        for wish in wanted:
            found = present.get(wish.handle)
            if found is None:
                self._insert(wish)
            else:
                self._update(found, wish)

    def _delete(self, row: Any) -> None:
        self.changed = True
        within = row.external_ids.get(WITHIN)
        if within:
            spot = place(within)
            parent = self._replica.find(spot.handle)
            if parent is not None:
                parent.delvalue(spot.column, row.uuid)
        if row._table.name not in CHILDREN:
            row.delete()

    def _insert(self, wish: Row) -> None:
        self.changed = True
        parent = None
        if wish.within is not None:
            parent = self._find(wish.within.handle)
            if parent is None:
                raise _absent(wish, wish.within.handle)
        row = self._txn.insert(self._replica.idl.tables[wish.handle.table])
        self._made[wish.handle] = row
        for column, value in self._values(wish).items():
            row._idl.txn._write(row, row._table.columns[column], self._datum(row, column, value))
        if parent is not None and wish.within is not None:
            parent.addvalue(wish.within.column, row.uuid)
        self._join(row, wish)

    def _update(self, row: Any, wish: Row) -> None:
        for column, value in self._values(wish).items():
            datum = self._datum(row, column, value)
            if row._data[column] != datum:
                if column == "external_ids":
                    self._leave(row, wish)
                else:
                    self.changed = True
                row._idl.txn._write(row, row._table.columns[column], datum)
        self._join(row, wish)

    def _join(self, row: Any, wish: Row) -> None:
        """Into the columns that are to list it, and into its own those that wait for it."""
        for spot in wish.member:
            holder = self._find(spot.handle)
            if holder is not None and not _holds(holder, spot.column, row.uuid):
                self.changed = True
                holder.addvalue(spot.column, row.uuid)
        for column in ("ports", "load_balancer", "dns_records"):
            if column in row._table.columns:
                for member in self._replica.members(wish.handle.into(column)):
                    if not _holds(row, column, member.uuid):
                        row.addvalue(column, member.uuid)

    def _leave(self, row: Any, wish: Row) -> None:
        keep = {spot.text() for spot in wish.member}
        for text in row.external_ids.get(MEMBER, "").split():
            spot = place(text)
            holder = None if text in keep else self._replica.find(spot.handle)
            if holder is not None:
                holder.delvalue(spot.column, row.uuid)

    def _values(self, wish: Row) -> dict[str, Any]:
        values = {column: self._resolve(value) for column, value in wish.columns.items()}
        return values | {"external_ids": marks(wish, self._replica.cloud)}

    def _resolve(self, value: Any) -> Any:
        if not isinstance(value, Ref):
            return value
        row = self._find(value.handle)
        return [] if row is None else [row.uuid]

    def _datum(self, row: Any, column: str, value: Any) -> Any:
        try:
            return data.Datum.from_python(row._table.columns[column].type, value, lambda item: item)
        except Exception as error:
            raise Refused(f"{row._table.name}.{column} cannot hold {value!r}: {error}") from error

    def _find(self, handle: Handle) -> Any | None:
        return self._made.get(handle) or self._replica.find(handle)


def _moves(row: Any, wish: Row) -> bool:
    """To another parent; it is made anew there."""
    return bool(row.external_ids.get(WITHIN, "") != (wish.within.text() if wish.within else ""))


def _holds(row: Any, column: str, uuid: Any) -> bool:
    """Asked of the library's own set: its public form copies thousands of references each time."""
    present = None if row._data is None else row._data.get(column)
    return present is not None and data.Atom(types.UuidType, uuid) in present.values


def _absent(wish: Row, parent: Handle) -> Missing:
    return Missing(
        f"{wish.handle.owner.kind} {wish.handle.owner.id} needs {parent.owner.kind} {parent.owner.id}, "
        "which OVN does not have; apply that first"
    )


__all__ = ["Difference", "Handle", "Owner", "Place", "Ref", "Replica", "Row", "owner", "place"]
