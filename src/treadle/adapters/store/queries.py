"""SQL lives in files, one folder a dialect: named queries and numbered schema steps."""

import re
from importlib.resources import files

NAMED = re.compile(r"^-- name: (\w+)\n(.*?)(?=^-- name: |\Z)", re.MULTILINE | re.DOTALL)


def queries(package: str) -> dict[str, str]:
    """Every `-- name: x` section of the package's queries/*.sql, by name."""
    found: dict[str, str] = {}
    for file in sorted((files(package) / "queries").iterdir(), key=lambda file: file.name):
        if file.name.endswith(".sql"):
            found.update({name: sql.strip().rstrip(";") for name, sql in NAMED.findall(file.read_text())})
    return found


def steps(package: str) -> list[str]:
    """The schema's steps in order; the version of a store is how many it has taken."""
    folder = files(package) / "schema"
    named = sorted((file for file in folder.iterdir() if file.name.endswith(".sql")), key=lambda file: file.name)
    return [file.read_text() for file in named]
