"""House rules that a machine can hold: sizes, names, foreign words in core, doc strings, no registry host."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from tests.architecture.source import ROOT, python_files, repository_files, shown

LONGEST_FILE = 600  # a file is a chapter about one thing
CORE_BUDGET = 3000
COMPOSE_BUDGET = 200
VAGUE_NAMES = {"utils", "util", "helpers", "helper", "common", "manager", "managers", "misc", "base", "shared", "stuff"}

# Words that belong to one face or to one document. In core they would be the first sign of a rule in the wrong place.
FACE_WORDS = (
    "taskdriver|ufo|galaxy|openfabric|architect|console|constellation|nanobot|"
    "agentName|agentId|taskTypeId|projectId|duplicateHandling|leaseDurationMinutes|reaperIntervalMinutes|canRetry|"
    "X-API-Key|Swagger"
)

# Put together from halves, so that this file does not name one.
REGISTRY_HOSTS = [
    "pypi" + ".org",
    "files.python" + "hosted",
    "registry." + "npmjs",
    "deb." + "debian",
]


def lines(path: Path) -> int:
    return len(path.read_text("utf-8").splitlines())


def test_no_file_is_too_long() -> None:
    assert {shown(path): n for path in python_files() if (n := lines(path)) >= LONGEST_FILE} == {}


def test_core_keeps_its_budget() -> None:
    """Blank lines cost a reader nothing (docs/decisions/0008)."""
    texts = [path.read_text() for path in python_files("src/treadle/core")]
    assert sum(bool(line.strip()) for text in texts for line in text.splitlines()) <= CORE_BUDGET


def test_compose_keeps_its_budget() -> None:
    assert {shown(path): n for path in python_files("src/treadle/compose") if (n := lines(path)) > COMPOSE_BUDGET} == {}


def test_no_file_has_a_vague_name() -> None:
    vague = [shown(p) for p in python_files() if VAGUE_NAMES & {p.stem.strip("_"), p.parent.name}]
    assert vague == []


def test_core_speaks_no_face() -> None:
    words = re.compile(rf"\b(?:{FACE_WORDS})\b", re.IGNORECASE)
    foreign = [
        f"{shown(path)}:{number}: {found.group()}"
        for path in python_files("src/treadle/core")
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if (found := words.search(line))
    ]
    assert foreign == []


def test_every_module_says_what_it_is() -> None:
    silent = [
        shown(path)
        for path in python_files("src", "tests", "bench", "scripts")
        if ast.get_docstring(ast.parse(path.read_text("utf-8"))) is None
    ]
    assert silent == []


def test_no_file_names_a_registry() -> None:
    named = [
        f"{shown(path)}: {host}"
        for path in repository_files()
        for host in REGISTRY_HOSTS
        if host.encode() in path.read_bytes()
    ]
    assert named == []


def test_the_lock_pins_everything_with_hashes() -> None:
    for name in ("runtime", "dev", "bootstrap"):
        entries = re.split(r"\n(?=\S)", (ROOT / "requirements" / f"{name}.txt").read_text("utf-8").strip())
        loose = [entry.split()[0] for entry in entries if "==" not in entry or "--hash=sha256:" not in entry]
        assert loose == [], name


def test_development_runs_on_the_released_versions() -> None:
    """requirements/dev.txt holds every line of runtime.txt: what is tested is what is installed by users."""
    entries = {
        name: set(re.split(r"\n(?=\S)", (ROOT / "requirements" / f"{name}.txt").read_text("utf-8").strip()))
        for name in ("runtime", "dev", "bootstrap")
    }
    assert entries["runtime"] <= entries["dev"]
    assert entries["bootstrap"] <= entries["dev"]
