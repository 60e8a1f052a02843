"""A collection keeps small things of one type by key, without a table of their own: get, put, delete, list.

A put may name the version it saw (compare-and-set); a document may belong to a group, by which it is listed and
dropped, and may expire.
"""

from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar

from msgspec import Struct, json

from .errors import Conflict

T = TypeVar("T")


class Document(Struct, frozen=True):
    """A stored thing as the store sees it: JSON bytes under (collection, key), with a version that grows by one."""

    collection: str
    key: str
    body: bytes
    group: str = ""
    expires: int | None = None
    version: int = 1


class DocumentTx(Protocol):
    """What a transaction can do with documents."""

    def document(self, collection: str, key: str) -> Document | None:
        """The document, locked until the end of a writing transaction."""
        ...

    def documents(self, collection: str, keys: Sequence[str]) -> list[Document]: ...

    def put_document(self, document: Document) -> None:
        """Insert or replace; the caller has settled the version."""
        ...

    def delete_documents(self, collection: str, keys: Sequence[str]) -> int: ...

    def list_documents(self, collection: str, group: str | None, after: str, limit: int) -> list[Document]:
        """Documents of the collection (and group) with a key after the given one, in key order."""
        ...

    def delete_group(self, collection: str, group: str) -> list[str]:
        """Drop a whole group; the keys that went."""
        ...

    def prune_documents(self, now: int, limit: int) -> int:
        """Drop up to `limit` documents that have expired; how many went."""
        ...


class Stored(Struct, Generic[T], frozen=True):
    """A thing read from a collection, with the version to name when putting it back."""

    key: str
    value: T
    version: int


class Collection(Generic[T]):
    """Small stored things of one type, inside whatever transaction the caller is in."""

    def __init__(self, name: str, of: type[T]) -> None:
        self.name = name
        self._decoder = json.Decoder(of)

    def get(self, tx: DocumentTx, key: str) -> Stored[T] | None:
        found = tx.document(self.name, key)
        return self._read(found) if found else None

    def get_many(self, tx: DocumentTx, keys: Sequence[str]) -> dict[str, T]:
        return {found.key: self._decoder.decode(found.body) for found in tx.documents(self.name, keys)}

    def put(
        self,
        tx: DocumentTx,
        key: str,
        value: T,
        *,
        group: str = "",
        expires: int | None = None,
        version: int | None = None,
    ) -> int:
        """Store the thing and give its new version; `version` 0 means "must be new", None "whatever stands there"."""
        found = tx.document(self.name, key)
        current = found.version if found else 0
        if version is not None and version != current:
            raise Conflict(f"{self.name} {key} was changed by somebody else")
        tx.put_document(Document(self.name, key, json.encode(value), group, expires, current + 1))
        return current + 1

    def delete(self, tx: DocumentTx, *keys: str) -> int:
        return tx.delete_documents(self.name, keys)

    def delete_group(self, tx: DocumentTx, group: str) -> list[str]:
        return tx.delete_group(self.name, group)

    def page(self, tx: DocumentTx, *, group: str | None = None, after: str = "", limit: int = 100) -> list[Stored[T]]:
        """Up to `limit` things in key order after a key; the last key of a page is the cursor of the next."""
        return [self._read(found) for found in tx.list_documents(self.name, group, after, limit)]

    def _read(self, found: Document) -> Stored[T]:
        return Stored(found.key, self._decoder.decode(found.body), found.version)
