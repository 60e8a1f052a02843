"""What the machine of this agent is and how busy it is, with the samples of the last hour (spec 7.1)."""

import asyncio
import os
import platform
import socket
from collections import deque
from typing import Any

import psutil

from treadle.core.clock import SECOND, Clock

EVERY = 10.0
"""Seconds between two samples."""
SAMPLES = 360

Sample = tuple[int, float, float, float, int, int, float]
"""UNIX seconds; percent of the processor, the memory and the disk; bytes received and sent so far; load."""
NAMES = ("date", "cpu", "ram", "disk", "rx", "tx", "load")


class Machine:
    """Looks at the machine; `run` samples it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._samples: deque[Sample] = deque(maxlen=SAMPLES)

    async def run(self) -> None:
        """Until cancelled."""
        psutil.cpu_percent(None)  # the first call only begins the measuring
        while True:
            await asyncio.sleep(EVERY)
            self._samples.append(await asyncio.to_thread(self.now))

    def now(self) -> Sample:
        """A sample of this moment; it reads a few files."""
        net = psutil.net_io_counters()
        return (
            self._clock() // SECOND,
            psutil.cpu_percent(None),
            psutil.virtual_memory().percent,
            psutil.disk_usage("/").percent,
            net.bytes_recv,
            net.bytes_sent,
            round(os.getloadavg()[0], 2),
        )

    def samples(self, since: int = 0, step: int = 0) -> list[Sample]:
        """The samples after an instant (UNIX seconds), at most one in so many seconds."""
        found: list[Sample] = []
        for sample in self._samples:
            if sample[0] > since and (not found or sample[0] - found[-1][0] >= step):
                found.append(sample)
        return found


def about() -> dict[str, Any]:
    """What does not change often: processors, memory, disks, interfaces. Sizes are bytes."""
    memory, swap = psutil.virtual_memory(), psutil.swap_memory()
    return {
        "cpu": {"model": _model(), "cores": os.cpu_count() or 1},
        "memory": {"total": memory.total, "available": memory.available},
        "swap": {"total": swap.total, "used": swap.used},
        "disks": list(_disks()),
        "interfaces": [
            {"name": name, "addresses": [each.address for each in rows if each.family in _FAMILIES]}
            for name, rows in psutil.net_if_addrs().items()
        ],
        "boot_time": int(psutil.boot_time()),
    }


_FAMILIES = (socket.AF_INET, socket.AF_INET6)


def _disks() -> list[dict[str, Any]]:
    found = []
    for part in psutil.disk_partitions():
        try:
            usage = psutil.disk_usage(part.mountpoint)
        except OSError:  # it went, or may not be looked at
            continue
        found.append({"path": part.mountpoint, "type": part.fstype, "total": usage.total, "used": usage.used})
    return found


def _model() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            return next((line.partition(":")[2].strip() for line in file if line.startswith("model name")), "")
    except OSError:
        return platform.processor()
