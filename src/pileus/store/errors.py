"""What the store can answer instead of a result; each class is one reaction of the caller."""


class StoreError(Exception):
    """The text names the table or the database and the cause."""


class Duplicate(StoreError):
    """Another row already has these values. After `insert` the transaction may go on."""

    def __init__(self, table: str, columns: tuple[str, ...]) -> None:
        super().__init__(f"{table} already has a row with this {', '.join(columns) or 'key'}")
        self.table, self.columns = table, columns


class Absent(StoreError):
    """The row to update does not exist (any more)."""

    def __init__(self, table: str, key: tuple[object, ...]) -> None:
        super().__init__(f"{table} has no row {', '.join(map(str, key))}")
        self.table, self.key = table, key


class Unstorable(StoreError):
    """A value does not fit its column: wrong type, out of range, or missing."""


class Unreadable(StoreError):
    """A stored row does not fit its record: the schema and the program differ; migrate the database."""


class Conflicted(StoreError):
    """Concurrent transactions collided (deadlock, serialisation, timeout); a new try of the body may help."""


class Disconnected(StoreError):
    """The database cannot be reached. Raised on leaving a transaction: whether it committed is unknown."""


class Failed(StoreError):
    """The database refused for a reason that no retry will change: disk full, damaged file, missing table."""
