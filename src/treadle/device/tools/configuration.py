"""Which further MCP servers a device starts: the JSON file that programs for MCP have in common."""

from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct


class Stdio(Struct, frozen=True, forbid_unknown_fields=False):
    """One server of a configuration file, in the shape that MCP programs share, and the AIP type of its tools."""

    command: Annotated[str, Meta(min_length=1)]
    args: tuple[str, ...] = ()
    env: dict[str, str] = {}
    cwd: str | None = None
    tool_type: Literal["action", "data_collection"] = "action"


class Configuration(Struct, frozen=True):
    """The file: servers by their namespace."""

    servers: dict[Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]{1,64}$")], Stdio] = msgspec.field(name="mcpServers")


class Wrong(Exception):
    """A configuration that cannot be used: one line that says why."""


def configured(file: Path) -> dict[str, Stdio]:
    """The servers of a configuration file. Raises Wrong."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=Configuration).servers
    except OSError as error:
        raise Wrong(f"{file} cannot be read: {(error.strerror or str(error)).lower()}") from None
    except msgspec.DecodeError as error:
        raise Wrong(f"{file}: {error}") from None
