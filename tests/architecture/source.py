"""What the architecture tests look at: this repository's files, and the imports of the package read with `ast`."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "treadle"


@cache
def repository_files() -> tuple[Path, ...]:
    """Every file that is committed or would be: what git tracks, and new files it does not ignore.

    In a copy without git: all files but those in hidden folders and in what a build leaves behind.
    """
    if (ROOT / ".git").exists():
        command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
        paths = [ROOT / name for name in listed.stdout.split("\0") if name]
    else:
        paths = [path for path in ROOT.rglob("*") if not _left_behind(path.relative_to(ROOT).parts)]
    return tuple(sorted(path for path in paths if path.is_file()))


def _left_behind(parts: tuple[str, ...]) -> bool:
    hidden = parts[0].startswith(".") and parts[0] not in {".ci", ".gitignore"}
    return hidden or not {"__pycache__", "dist", "node_modules"}.isdisjoint(parts)


def python_files(*folders: str) -> list[Path]:
    """The repository's .py files, or those under the given folders."""
    roots = [ROOT / folder for folder in folders] or [ROOT]
    return [path for path in repository_files() if path.suffix == ".py" and any(root in path.parents for root in roots)]


def shown(path: Path) -> str:
    return path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else path.as_posix()


@dataclass(frozen=True)
class Import:
    """One name imported somewhere in the package."""

    importer: str  # dotted module, `treadle.core.tasks`
    file: Path
    line: int
    target: str  # dotted module, as deep as a module exists: `treadle.core.errors`, `msgspec.json`
    inside: str | None  # the function it happens in; None at module level

    def __str__(self) -> str:
        return f"{shown(self.file)}:{self.line}: {self.importer} imports {self.target}"


def module_name(file: Path, package: Path = PACKAGE) -> str:
    parts = list(file.relative_to(package.parent).with_suffix("").parts)
    if parts[-1] == "__init__":
        parts.pop()
    return ".".join(parts)


def _is_module(dotted: str, package: Path) -> bool:
    path = package.parent.joinpath(*dotted.split("."))
    return path.is_dir() or path.with_suffix(".py").is_file()


def _targets(node: ast.AST, importer: str, is_package: bool, package: Path) -> Iterator[str]:
    """The modules one statement or call imports, whatever its spelling."""
    match node:
        case ast.Import(names=names):
            yield from (alias.name for alias in names)
        case ast.ImportFrom(module=module, names=names, level=level):
            base = module or ""
            if level:
                home = importer.split(".")
                home = home[: len(home) - level + (1 if is_package else 0)]
                base = ".".join([*home, *([module] if module else [])])
            for alias in names:
                deeper = f"{base}.{alias.name}"
                yield deeper if _is_module(deeper, package) else base
        case ast.Call(func=func, args=[ast.Constant(value=str(name)), *_]):
            called = func.attr if isinstance(func, ast.Attribute) else getattr(func, "id", "")
            if called in {"import_module", "__import__"}:
                yield name


def imports_of(file: Path, package: Path = PACKAGE) -> Iterator[Import]:
    """Every import of one file: at the top, inside functions, under TYPE_CHECKING, by `import_module("…")`."""
    importer = module_name(file, package)

    def walk(node: ast.AST, inside: str | None) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            for target in _targets(child, importer, file.name == "__init__.py", package):
                yield Import(importer, file, getattr(child, "lineno", 0), target, inside)
            if inside is None and isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                yield from walk(child, child.name)
            else:
                yield from walk(child, inside)

    yield from walk(ast.parse(file.read_text("utf-8"), filename=str(file)), None)
