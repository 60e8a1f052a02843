"""How settings are read: flags win over the environment, that over treadle.toml, that over defaults."""

import shlex
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct

from . import FACES, Settings, taskdriver
from .table import PREFIX, Entry, assembled, entries, nearest, without_password

OF_OTHERS = ("TREADLE_SERVER", "TREADLE_KEY", "TREADLE_TASK_", "TREADLE_VAR_", "TREADLE_TEST_")
"""Beginnings of variables that are no settings of a server: clients, workers' commands and tests have them."""

Flags = Mapping[str, str | Sequence[str]]
"""What was typed, by the setting's dotted name; what was not typed is left out."""


class Wrong(Exception):
    """A setting that cannot be used: one line that names it, where it was said, and what it must be."""


class Row(Struct, frozen=True, kw_only=True):
    """One setting as it was read, for people: a password in `value` is masked."""

    name: str
    value: Any
    source: str
    meaning: str
    variable: str
    flag: str
    also: str


class Ignored(Struct, frozen=True):
    """A variable of TaskDriver's that changes nothing here, whether it is set, and why it changes nothing."""

    variable: str
    set: bool
    why: str


class Reading(Struct, frozen=True):
    """What was read: the settings, each with its source, what is ignored, and what a person should be told."""

    settings: Settings
    rows: tuple[Row, ...]
    ignored: tuple[Ignored, ...]
    warnings: tuple[str, ...]


def read(flags: Flags, environ: Mapping[str, str]) -> Reading:
    """Read every setting. Touches only the file of settings and files named by `@FILE`. Raises Wrong."""
    sources = _Sources(flags, environ)
    sources.open_file()
    values: dict[str, Any] = {}
    rows = []
    for entry in entries().values():
        value, where = sources.read(entry)
        values[entry.name] = value
        rows.append(
            Row(
                name=entry.name,
                value=entry.shown(value),
                source=where,
                meaning=entry.meaning,
                variable=entry.variable,
                flag=entry.flag,
                also=entry.also,
            )
        )
    ignored = tuple(Ignored(name, bool(environ.get(name)), why) for name, why in taskdriver.IGNORED.items())
    return Reading(assembled(values), tuple(rows), ignored, tuple(_warnings(environ, ignored)))


class _Said(NamedTuple):
    """A value as it was found, where, and whether it is text that still has to be understood."""

    value: Any
    where: str
    text: bool


class _Sources:
    """The places in which a setting may stand. An empty variable counts as unset."""

    def __init__(self, flags: Flags, environ: Mapping[str, str]) -> None:
        self._flags, self._environ = flags, environ
        self._path: Path | None = None
        self._document: dict[str, Any] = {}

    def open_file(self) -> None:
        """Find and check the file of settings; only one that was asked for by name has to be there."""
        home, _ = self.read(entries()["home"])
        asked, where = self.read(entries()["config"])
        path: Path = asked or home / "treadle.toml"
        try:
            document = tomllib.loads(path.read_text("utf-8"))
        except FileNotFoundError:
            if asked:
                raise Wrong(f"{where}: there is no file {path}") from None
            return
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise Wrong(f"{path} cannot be read: {_reason(error)}") from None
        _refuse_unknown(document, path)
        self._path, self._document = path, document

    def read(self, entry: Entry) -> tuple[Any, str]:
        """One setting from the first place that has it, understood; and that place."""
        said = self._find(entry)
        value = said.value
        if entry.secret and said.text:
            if value.startswith("@"):
                value = _content(value[1:], said.where)
            elif said.where.startswith("--") and without_password(value) != value:
                raise Wrong(
                    f"{said.where}: everybody on this machine can read a password on the command line; put the URL "
                    f"into {entry.variable}, or into a file and say {said.where} @FILE"
                )
        if entry.is_list and isinstance(value, str) and said.text:
            value = _listed(value, entry, said.where)
        if entry.is_table and said.text:
            value = _table(value, said.where)
        try:
            value = msgspec.convert(value, entry.type, strict=not said.text, dec_hook=_absolute)
        except msgspec.ValidationError:
            shown = "this value" if entry.secret else repr(said.value)
            raise Wrong(f"{said.where}: {shown} must be {entry.rule}") from None
        if entry.section == "listen":
            _check_address(entry, value, said.where)
        return value, said.where

    def _find(self, entry: Entry) -> _Said:
        if entry.name in self._flags:
            return _Said(self._flags[entry.name], entry.flag.rstrip("="), True)
        if self._environ.get(entry.variable):
            return _Said(self._environ[entry.variable], entry.variable, True)
        below = _Said(entry.default, "default", False)
        inner = self._document
        for part in entry.section.split(".") if entry.section else ():
            inner = inner.get(part, {})
        if entry.key in inner:
            below = _Said(inner[entry.key], f"{self._path}: {entry.in_file}", False)
        if entry.name == "listen.taskdriver":
            asked = taskdriver.address(self._environ, str(below.value))
            return _Said(*asked, True) if asked else below
        if entry.also and self._environ.get(entry.also):
            return _Said(self._environ[entry.also], entry.also, True)
        return below


def _listed(text: str, entry: Entry, where: str) -> list[str]:
    if not entry.words:
        return [part.strip() for part in text.split(",") if part.strip()]
    try:
        return shlex.split(text)
    except ValueError as error:
        raise Wrong(f"{where}: {text!r} cannot be split into words: {error}") from None


def _table(text: str, where: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise Wrong(f"{where}: {text!r} is no JSON object: {error}") from None


def _refuse_unknown(document: Mapping[str, Any], path: Path, section: str = "") -> None:
    known = entries()
    sections = {part for entry in known.values() for part in _outer(entry.section)}
    for key, value in document.items():
        name = f"{section}.{key}" if section else key
        if name in ("home", "config"):
            raise Wrong(f"{path}: {key} cannot be set in a file; use --{key} or {PREFIX}{key.upper()}")
        if name in sections:
            if not isinstance(value, dict):
                raise Wrong(f"{path}: {name} is a section; write [{name}] above its settings")
            _refuse_unknown(value, path, name)
        elif name not in known:
            inside = f" in [{section}]" if section else ""
            raise Wrong(f"{path}: there is no setting {key}{inside}{nearest(name)}")


def _outer(section: str) -> Iterator[str]:
    """A section and those it lies in."""
    while section:
        yield section
        section = section.rpartition(".")[0]


def _check_address(entry: Entry, value: str, where: str) -> None:
    if value == "off":
        return
    if FACES[entry.key] is None:
        raise Wrong(f"{where}: the {entry.key} face is not built yet; leave it out or say {entry.key}=off")
    if int(value.rpartition(":")[2]) > 65535:
        raise Wrong(f"{where}: {value!r} must be {entry.rule}, with a port of at most 65535")


def _absolute(_: type, value: Any) -> Path:
    if not isinstance(value, str | Path):
        raise ValueError("not a path")  # noqa: TRY004  # what msgspec turns into a ValidationError
    return Path(value).expanduser().absolute()


def _content(name: str, where: str) -> str:
    path = Path(name).expanduser()
    try:
        return path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Wrong(f"{where}: {path} cannot be read: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)


def _warnings(environ: Mapping[str, str], ignored: Sequence[Ignored]) -> Iterator[str]:
    variables = {entry.variable for entry in entries().values()}
    for name in sorted(environ):
        if name.startswith(PREFIX) and name not in variables and not name.startswith(OF_OTHERS):
            meant = nearest(name.removeprefix(PREFIX).lower(), as_variable=True)
            yield f"{name} is not a setting and changes nothing{meant}"
    for each in ignored:
        if each.set and each.variable.startswith("TASKDRIVER_"):
            yield f"{each.variable} changes nothing: {each.why}"
