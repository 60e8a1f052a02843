"""What the tests of the device share: processes in a folder of their own, and what a device makes of them."""

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
