"""The table behind the settings: one entry for each, with its three spellings, its rule in words and its default."""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, cast, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta, Struct

from . import Settings

PREFIX = "TREADLE_"
HOME = Path("~/.treadle")
_USER_PASSWORD = re.compile(r"(?<=://)([^:/@]*):.+@")
_NAMED_PASSWORD = re.compile(r"((?:ssl)?password=)[^&\s]*", re.IGNORECASE)


class Entry(NamedTuple):
    """What `treadle.settings` says about one setting. `section` is "" for those at the top of the file."""

    section: str
    key: str
    type: Any
    default: Any
    meaning: str
    rule: str
    flag: str
    also: str
    secret: bool
    words: bool

    @property
    def name(self) -> str:
        return f"{self.section}.{self.key}" if self.section else self.key

    @property
    def variable(self) -> str:
        return PREFIX + self.name.replace(".", "_").upper()

    @property
    def in_file(self) -> str:
        return f"[{self.section}] {self.key}" if self.section else self.key

    @property
    def is_list(self) -> bool:
        return get_origin(_bare(self.type)) is tuple

    @property
    def is_table(self) -> bool:
        return get_origin(_bare(self.type)) is dict

    def shown(self, value: Any) -> Any:
        """A value fit for people and for JSON."""
        if self.secret:
            return without_password(value) if "://" in value or value in ("", self.default) else "***"
        return str(value) if isinstance(value, Path) else value


@cache
def entries() -> dict[str, Entry]:
    """All settings by their dotted name, in the order of the lists."""
    return {entry.name: entry for entry in _listed("", Settings)}


def assembled(values: Mapping[str, Any]) -> Settings:
    """The settings from values by dotted name, one for each entry."""
    tree: dict[str, Any] = {}
    for entry in entries().values():
        inner = tree
        for part in entry.section.split(".") if entry.section else ():
            inner = inner.setdefault(part, {})
        inner[entry.key] = values[entry.name]
    return cast(Settings, _built(Settings, tree))


def _built(kind: type[Struct], tree: Mapping[str, Any]) -> Struct:
    hints = get_type_hints(kind)
    return kind(
        **{
            name: _built(hints[name], value)
            if isinstance(hints[name], type) and issubclass(hints[name], Struct)
            else value
            for name, value in tree.items()
        }
    )


def without_password(url: str) -> str:
    """A URL fit to be shown: the passwords in it are three stars."""
    return _NAMED_PASSWORD.sub(r"\1***", _USER_PASSWORD.sub(r"\1:***@", url))


def nearest(name: str, *, as_variable: bool = False) -> str:
    """The end of a sentence about a name that no setting has: the one it was perhaps meant to be."""
    from difflib import get_close_matches

    spelled = {entry.name.replace(".", "_"): entry for entry in entries().values()}
    close = get_close_matches(name.replace(".", "_"), spelled, n=1)
    if not close:
        return "; `treadle settings` lists them all"
    entry = spelled[close[0]]
    return f"; did you mean {entry.variable if as_variable else entry.in_file}?"


def _listed(section: str, kind: type[Struct]) -> Iterator[Entry]:
    hints = get_type_hints(kind, include_extras=True)
    for field in msgspec.structs.fields(kind):
        hint = hints[field.name]
        if isinstance(hint, type) and issubclass(hint, Struct):
            yield from _listed(f"{section}.{field.name}" if section else field.name, hint)
            continue
        metas = [meta for meta in hint.__metadata__ if isinstance(meta, Meta)]
        extra: dict[str, Any] = {}
        for meta in metas:
            extra |= meta.extra or {}
        yield Entry(
            section,
            field.name,
            hint,
            HOME if field.name == "home" else _default(field),
            metas[0].description or "",
            extra["rule"] or _rule(_bare(hint), metas[0]),
            extra["flag"],
            extra["also"],
            extra["secret"],
            extra["words"],
        )


def _default(field: msgspec.structs.FieldInfo) -> Any:
    return field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()


def _bare(hint: Any) -> Any:
    return get_args(hint)[0] if get_origin(hint) is Annotated else hint


def _rule(bare: Any, limits: Meta) -> str:
    """What finishes "must be …", from the type and its limits."""
    if bare is bool:
        return "true or false"
    if get_origin(bare) is Literal:
        return "one of " + ", ".join(get_args(bare))
    if bare is int:
        bounds = f"of at least {limits.ge}" if limits.le is None else f"from {limits.ge} to {limits.le}"
        return f"a whole number {bounds}"
    if bare is float:
        return f"a number of at least {limits.ge or 0}"
    if get_origin(bare) is dict:
        return "a table (in the environment: a JSON object)"
    return "a list of texts" if get_origin(bare) is tuple else "a text"
