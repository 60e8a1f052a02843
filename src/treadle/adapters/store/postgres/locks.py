"""Advisory locks: how a transaction locks what is not there yet, so that two replicas cannot both find it missing.

Locks are numbers of one database and last until the transaction ends. A group of things is locked thing by thing under
a shared lock of the group; many things at once take the whole group, because the server's lock table is small.
"""

from collections.abc import Iterable, Mapping
from hashlib import blake2b

FEW = 256
"""So many things are locked one by one."""

Locks = tuple[list[int], list[bool]]
"""The numbers to lock, and for each whether others may share it; in the order in which everybody takes them."""


def number(schema: str, *words: str | int) -> int:
    """The lock of a thing in the store that lies in this schema."""
    text = "\0".join(["treadle", schema, *map(str, words)])
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big", signed=True)


def grouped(schema: str, kind: str, groups: Mapping[str, Iterable[str | int]]) -> Locks:
    """The locks of these things of these groups: all groups first, each shared unless it is taken whole."""
    shared: dict[int, bool] = {}
    single: set[int] = set()
    for group, things in groups.items():
        members = {number(schema, kind, group, thing) for thing in things}
        shared[number(schema, kind, group)] = len(members) <= FEW
        if len(members) <= FEW:
            single |= members
    first, then = sorted(shared), sorted(single)
    return first + then, [shared[key] for key in first] + [False] * len(then)
