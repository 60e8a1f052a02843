"""What the documents say is there: links, make targets, settings, and decisions told in short."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.source import PACKAGE, ROOT, repository_files, shown

DOCUMENTS = [path for path in repository_files() if path.suffix == ".md"]
LONGEST_DECISION = 40


def without_code(text: str) -> str:
    """The text without fenced blocks and code spans, in which brackets are not links."""
    return re.sub(r"`[^`\n]*`", "", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))


def anchors(text: str) -> set[str]:
    """The link targets that a page's headings make, spelled as code hosts spell them."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", DOCUMENTS, ids=shown)
def test_relative_links_lead_somewhere(page: Path) -> None:
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", without_code(page.read_text("utf-8"))):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path) if path else page
        if not target.exists() or (anchor and anchor not in anchors(target.read_text("utf-8"))):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("page", DOCUMENTS, ids=shown)
def test_make_targets_named_exist(page: Path) -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    text = page.read_text("utf-8")
    named = set(re.findall(r"`make ([a-z-]+)", text)) | set(re.findall(r"^(?:\$ )?make ([a-z-]+)", text, re.MULTILINE))
    assert named - targets == set()


def test_paths_named_in_the_pages_exist() -> None:
    """`src/…`, `tests/…`, `scripts/…` and the like in code spans are files or folders of this repository."""
    missing = [
        f"{shown(page)}: {name}"
        for page in DOCUMENTS
        for name in re.findall(
            r"`((?:src|tests|scripts|docs|changes|requirements|bench)/[\w./-]*)`", page.read_text("utf-8")
        )
        if not (ROOT / name).exists()
    ]
    assert missing == []


def test_settings_named_in_the_readme_exist() -> None:
    """A TREADLE_ name is spelled in the package, or `treadle settings` lists the setting it stands for."""
    named = set(re.findall(r"\bTREADLE_[A-Z_]*[A-Z]\b", (ROOT / "README.md").read_text("utf-8")))
    spelled = "\n".join(path.read_text("utf-8") for path in PACKAGE.rglob("*.py"))
    derived = {name for name in named if not re.search(rf"\b{name}\b", spelled)}
    if derived and not (PACKAGE / "cli").exists():
        pytest.skip("no command line yet to list the settings")
    if derived:
        command = [str(Path(sys.executable).with_name("treadle")), "settings", "--json"]
        listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        # `taskdriver.rate_limit`, `[taskdriver] rate_limit` and the variable are one name in three spellings.
        plain = re.sub(r"[^a-z]+", "_", listed.lower())
        derived = {name for name in derived if name.removeprefix("TREADLE_").lower() not in plain}
    assert derived == set()


def test_decisions_are_short_and_numbered_in_order() -> None:
    records = sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md"))
    assert [int(path.name[:4]) for path in records] == list(range(1, len(records) + 1))
    assert {
        path.name: n for path in records if (n := len(path.read_text("utf-8").splitlines())) >= LONGEST_DECISION
    } == {}
