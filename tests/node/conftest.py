"""A machine's processes for each test, in a folder of its own; what a test leaves running is ended behind it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from treadle.node.processes import Processes


@pytest.fixture
async def processes(tmp_path: Path) -> AsyncIterator[Processes]:
    folder = tmp_path / "runs"
    opened = Processes(folder, cwd=tmp_path)
    yield opened
    await opened.close()
    later = Processes(folder)
    for left in await later.found():
        await left.forget()
