"""The import rule, executed: each room of the package may import only what the table in ARCHITECTURE.md allows."""

from __future__ import annotations

import sys
import tomllib
from dataclasses import dataclass
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tests.architecture.source import PACKAGE, ROOT, Import, imports_of, module_name

ANYTHING = frozenset({"*"})
DATABASES = frozenset({"apsw", "psycopg", "sqlite3", "sqlalchemy"})
BUSES = frozenset({"nats"})
SERVING = frozenset({"starlette", "uvicorn"})
HTTP = SERVING | {"http", "httpx2", "websockets"}


@dataclass(frozen=True)
class Rule:
    """What one room may import."""

    rooms: frozenset[str]  # rooms, or single modules of them, besides the room itself
    packages: frozenset[str] = ANYTHING  # third-party packages
    never: frozenset[str] = frozenset()  # packages refused even so, the standard library's included


def rule(*rooms: str, packages: frozenset[str] = ANYTHING, never: frozenset[str] = frozenset()) -> Rule:
    return Rule(frozenset(rooms), packages, never)


# There is no list of exceptions. A face and a capability see themselves, core and web, and no neighbour.
RULES = {
    "treadle": rule(packages=frozenset()),  # __init__.py holds the version and imports nothing
    "core": rule(packages=frozenset({"msgspec"}), never=HTTP | DATABASES | BUSES),
    "adapters": rule("core", never=SERVING),
    "node": rule("core", never=SERVING | DATABASES),
    "device": rule("core", "node", "home", "signals", never=SERVING | DATABASES | BUSES),
    "web": rule("core.errors", "core.access", never=DATABASES | BUSES),
    "capabilities": rule("capabilities/*", never=DATABASES | BUSES),  # its __init__.py: the list BUILT_IN
    "capabilities/*": rule("core", "web", never=DATABASES | BUSES),
    "faces": rule(packages=frozenset()),  # its __init__.py: what a face is
    "faces/*": rule("core", "web", never=DATABASES | BUSES),
    "compose": rule("*"),
    "cli": rule("client", "settings", never=DATABASES | BUSES),
    "client": rule(packages=frozenset({"msgspec", "httpx2", "websockets"}), never=DATABASES | BUSES),
    "home": rule(packages=frozenset({"msgspec"}), never=HTTP | DATABASES | BUSES),
    "signals": rule(packages=frozenset(), never=HTTP | DATABASES | BUSES),
    "settings": rule(packages=frozenset({"msgspec"}), never=HTTP | DATABASES | BUSES),
}
SERVERS = {"up", "serve", "node"}  # the commands that import compose, and only when they run
PROGRAMS = {"device"}  # rooms that are programs of their own; the command of that name imports them when it runs
SUITES = ("capabilities", "faces")  # folders in which every folder is a room of its own


def room_of(module: str) -> str:
    """The room a module of ours lies in: `core`, `faces/taskdriver`, `cli`; `treadle` for the package itself."""
    parts = module.split(".")[1:]
    if not parts:
        return "treadle"
    if parts[0] == "__main__":
        return "cli"
    if parts[0] in SUITES and len(parts) > 1:
        return f"{parts[0]}/{parts[1]}"
    return parts[0]


def rule_of(room: str) -> Rule | None:
    return RULES.get(room) or RULES.get(room.split("/")[0] + "/*" if "/" in room else "")


def _allows(allowed: frozenset[str], target: str, room: str) -> bool:
    """Whether a set of rooms and modules covers a module of ours."""
    names = {"*", room, f"{room.split('/')[0]}/*" if "/" in room else room}
    inner = target.split(".", 1)[1]
    return bool(allowed & names) or any(inner == name or inner.startswith(f"{name}.") for name in allowed)


def fault(found: Import) -> str | None:
    """Why an import is refused, or None."""
    room = room_of(found.importer)
    rules = rule_of(room)
    if rules is None:
        return f"no room of that name: {room}"
    top = found.target.split(".")[0]
    if top != "treadle":
        if top in rules.never:
            return f"{room} never imports {top}"
        if top in sys.stdlib_module_names or rules.packages >= ANYTHING or top in rules.packages:
            return None
        return f"{room} may import the standard library and {', '.join(sorted(rules.packages)) or 'nothing else'}"
    target_room = room_of(found.target)
    if target_room in {room, "treadle"} or _allows(rules.rooms, found.target, target_room):
        return None
    if room == "cli" and target_room == "compose":
        if found.inside is None:
            return "compose is imported lazily, inside the command"
        if {found.importer.rsplit(".", 1)[-1], found.inside} & SERVERS:
            return None
        return f"only {', '.join(sorted(SERVERS))} import compose"
    if room == "cli" and target_room in PROGRAMS:
        lazily = found.inside is not None and found.importer.rsplit(".", 1)[-1] == target_room
        return None if lazily else f"only the command {target_room} imports {target_room}, lazily"
    return f"{room} may import {', '.join(sorted(rules.rooms)) or 'no other room'}"


def faults_in(package: Path) -> list[str]:
    found = (each for file in sorted(package.rglob("*.py")) for each in imports_of(file, package))
    return [f"{each}: {why}" for each in found if (why := fault(each)) is not None]


def test_every_import_keeps_the_rule() -> None:
    assert faults_in(PACKAGE) == []


def test_every_file_lies_in_a_room() -> None:
    homeless = [file for file in PACKAGE.rglob("*.py") if rule_of(room_of(module_name(file))) is None]
    assert homeless == []


def test_third_party_imports_are_declared() -> None:
    """What the package imports by name is a dependency by name, not something another dependency happens to bring."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    declared = {_plain(requirement) for requirement in project["dependencies"]}
    owners = packages_distributions()
    undeclared = [
        f"{found}: not in [project] dependencies"
        for file in PACKAGE.rglob("*.py")
        for found in imports_of(file)
        if (top := found.target.split(".")[0]) not in {*sys.stdlib_module_names, "treadle"}
        and not {_plain(owner) for owner in owners.get(top, [])} & declared
    ]
    assert undeclared == []


def _plain(requirement: str) -> str:
    name = requirement
    for end in "[<>=!~; ":
        name = name.split(end, 1)[0]
    return name.lower().replace("_", "-")


# The rule is itself tested, on a package made for it: a checker that refuses nothing would pass everything above.
@pytest.mark.parametrize(
    ("file", "code"),
    [
        ("core/tasks.py", "from treadle.web import app"),
        ("core/tasks.py", "import starlette"),
        ("core/tasks.py", "import http.client"),
        ("core/tasks.py", "def later():\n    from treadle.settings import Settings"),
        ("core/tasks.py", "from ..web.app import App"),
        ("core/tasks.py", "import importlib\nimportlib.import_module('treadle.faces.taskdriver')"),
        ("adapters/store/sqlite/store.py", "from treadle.web.app import App"),
        ("web/app.py", "from treadle.core import tasks"),
        ("web/app.py", "from treadle.core.tasks import Task"),
        ("faces/ufo/routes.py", "from treadle.faces.taskdriver.wire import Task"),
        ("faces/ufo/routes.py", "from treadle.adapters.store import sqlite"),
        ("faces/ufo/routes.py", "from treadle.capabilities import BUILT_IN"),
        ("capabilities/shield/routes.py", "from treadle.capabilities.wasm import manifest"),
        ("node/desk.py", "import apsw"),
        ("cli/work.py", "def work():\n    from treadle.compose import build"),
        ("cli/up.py", "from treadle.compose import build"),
        ("cli/up.py", "def up():\n    from treadle.core.fabric import Fabric"),
        ("client/worker.py", "from treadle.core.errors import Conflict"),
        ("settings.py", "import rich"),
        ("elsewhere/thing.py", "import json"),
    ],
)
def test_the_rule_refuses(file: str, code: str, tmp_path: Path) -> None:
    assert len(faults_in(_package(tmp_path, file, code))) == 1


@pytest.mark.parametrize(
    ("file", "code"),
    [
        ("core/tasks.py", "import msgspec.json\nfrom treadle.core import errors\nfrom . import tasks"),
        ("web/app.py", "from treadle.core import access, errors\nimport starlette.requests"),
        (
            "faces/ufo/routes.py",
            "from treadle.core.tasks import Task\nfrom treadle.web.app import App\nfrom .wire import W",
        ),
        ("capabilities/__init__.py", "from treadle.capabilities import shield"),
        ("compose.py", "import treadle.faces.ufo.routes\nimport apsw"),
        ("cli/up.py", "def command():\n    from treadle.compose import build"),
        ("cli/__init__.py", "def serve():\n    from treadle.compose import build\nfrom treadle import __version__"),
        ("client/worker.py", "import httpx2"),
    ],
)
def test_the_rule_admits(file: str, code: str, tmp_path: Path) -> None:
    assert faults_in(_package(tmp_path, file, code)) == []


def _package(root: Path, file: str, code: str) -> Path:
    """A package with one file of the given code, in which every module the samples name exists."""
    package = root / "treadle"
    modules = (
        "web/app core/tasks core/errors core/access core/fabric settings compose faces/ufo/wire capabilities/shield/x"
    )
    for name in [*(f"{module}.py" for module in modules.split()), file]:
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(code if name == file else "", "utf-8")
    return package
