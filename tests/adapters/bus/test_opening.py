"""A bus by its URL; who has no NATS does not pay for it."""

from __future__ import annotations

import subprocess
import sys

from tests.adapters.bus.conftest import Reports
from treadle.adapters.bus.local import LocalBus
from treadle.adapters.bus.opening import open_bus

IMPORTS = """
import asyncio, sys
from treadle.adapters.bus.opening import open_bus
asyncio.run(open_bus("local:", name="a"))
print(sorted({"nats", "cryptography"} & set(sys.modules)))
"""


async def test_the_local_bus(reports: Reports) -> None:
    assert isinstance(await open_bus("local:", name="a", report=reports), LocalBus)


def test_nats_is_imported_only_where_it_is_used() -> None:
    done = subprocess.run([sys.executable, "-c", IMPORTS], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
