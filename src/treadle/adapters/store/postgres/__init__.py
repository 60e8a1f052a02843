"""The shared store: PostgreSQL, for many replicas; lanes write many verbs to a commit and read snapshots beside it."""

from .store import PostgresStore, open_postgres

__all__ = ["PostgresStore", "open_postgres"]
