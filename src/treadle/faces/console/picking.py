"""The arguments that the operator offers to pick from: a JSON file, read when the server starts."""

from pathlib import Path

import msgspec

from treadle.faces.console import wire
from treadle.faces.console.gate import USE
from treadle.web.call import Call, Reply, json_reply
from treadle.web.routes import Route


class Picking:
    """The route `/api/arguments`; without a file there is nothing to pick."""

    def __init__(self, file: Path | None) -> None:
        """Raises OSError for a file that cannot be read, ValueError for one that holds something else."""
        self._groups = [] if file is None else groups_of(file)

    def routes(self) -> list[Route]:
        return [
            Route(method="GET", path="/api/arguments", handler=self.show, scope=USE, reply=wire.Arguments,
                  summary="Arguments to pick from", tag="Runs"),
        ]  # fmt: skip

    async def show(self, _: Call) -> Reply:
        return json_reply(wire.Arguments(True, self._groups))


def groups_of(file: Path) -> list[wire.ArgumentGroup]:
    """The groups in a file: `[{"title": …, "args": [{"label": …, "placeholder": …, "description": …}]}]`."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=list[wire.ArgumentGroup])
    except msgspec.DecodeError as error:
        raise ValueError(f"{file} does not hold groups of arguments: {error}") from None
