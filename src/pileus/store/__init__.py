"""Rows, transactions and migrations on SQLite and PostgreSQL; knows nothing of the domain."""

from pileus.store.conditions import Condition, all_of, any_of, eq, ge, gt, le, like, literal, lt, ne, not_in
from pileus.store.errors import (
    Absent,
    Conflicted,
    Disconnected,
    Duplicate,
    Failed,
    StoreError,
    Unreadable,
    Unstorable,
)
from pileus.store.migrating import create_all, drift, migrate, schema_version
from pileus.store.opening import Store, open_store
from pileus.store.records import REGISTRY, Record, Registry, table
from pileus.store.transactions import Transaction, View

__all__ = [
    "REGISTRY",
    "Absent",
    "Condition",
    "Conflicted",
    "Disconnected",
    "Duplicate",
    "Failed",
    "Record",
    "Registry",
    "Store",
    "StoreError",
    "Transaction",
    "Unreadable",
    "Unstorable",
    "View",
    "all_of",
    "any_of",
    "create_all",
    "drift",
    "eq",
    "ge",
    "gt",
    "le",
    "like",
    "literal",
    "lt",
    "migrate",
    "ne",
    "not_in",
    "open_store",
    "schema_version",
    "table",
]
