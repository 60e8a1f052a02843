"""Commands called as a person calls them, in this process, against a real server."""

from __future__ import annotations

import io
import json
import sys
from dataclasses import dataclass
from typing import Any

import pytest

from treadle.cli import main


@dataclass
class Said:
    """How a command ended and what it printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


class Terminal:
    """Calls `treadle` with arguments and gives what it said."""

    def __init__(self, patch: pytest.MonkeyPatch, capture: pytest.CaptureFixture[str]) -> None:
        self._patch, self._capture = patch, capture

    def __call__(self, *arguments: str, stdin: str = "", code: int = 0) -> Said:
        with self._patch.context() as patch:
            patch.setattr(sys, "argv", ["treadle", *arguments])
            patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
            with pytest.raises(SystemExit) as ended:
                main()
        out, err = self._capture.readouterr()
        said = Said(int(ended.value.code or 0), out, err)
        assert said.code == code, said
        return said
