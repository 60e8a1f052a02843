"""The embedded store: one SQLite file, one writing thread that commits for many, readers beside it."""

from .store import SqliteStore, open_sqlite

__all__ = ["SqliteStore", "open_sqlite"]
