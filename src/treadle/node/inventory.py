"""What a machine has and how much of it is used, from the system itself; what cannot be found out is left out."""

import os
import platform
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

CHASSIS = {8: "laptop", 9: "laptop", 10: "laptop", 14: "laptop", 30: "tablet", 31: "laptop", 32: "laptop"}
"""SMBIOS chassis types that say more than "desktop"."""
SERVERS = frozenset({17, 23, 25, 28, 29})


class Inventory:
    """Facts of this machine. `folder` says which disk counts; bytes, percent and degrees Celsius throughout."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._gpus = _Gpus()
        psutil.cpu_percent()  # the first call only begins to measure

    def facts(self) -> dict[str, Any]:
        """What does not change while the machine runs."""
        return {
            "hostname": platform.node(),
            "os": {"system": platform.system(), "release": platform.release(), "name": _pretty_name()},
            "architecture": platform.machine(),
            "device_type": device_type(),
            "python": platform.python_version(),
            "cpu": {"model": _cpu_model(), "cores": psutil.cpu_count(logical=False), "threads": os.cpu_count()},
            "memory": {"total": psutil.virtual_memory().total},
            "disk": {"total": shutil.disk_usage(self._folder).total},
            "gpus": self._gpus.facts(),
            "battery": psutil.sensors_battery() is not None,
        }

    def load(self) -> dict[str, Any]:
        """What is used now."""
        memory, disk = psutil.virtual_memory(), shutil.disk_usage(self._folder)
        load: dict[str, Any] = {
            "cpu_percent": psutil.cpu_percent(),
            "load_average": list(os.getloadavg()),
            "memory_used": memory.total - memory.available,
            "disk_used": disk.total - disk.free,
            "gpus": self._gpus.load(),
        }
        battery = psutil.sensors_battery()
        if battery is not None:
            load["battery"] = {"percent": battery.percent, "plugged": battery.power_plugged}
        return load


class _Gpus:
    """NVIDIA's devices through its management library, where a driver is there; else none."""

    def __init__(self) -> None:
        self._library: Any = None
        self._handles: list[Any] = []
        with suppress(ImportError):
            import pynvml  # type: ignore[import-untyped]  # it has no annotations

            with suppress(pynvml.NVMLError):
                pynvml.nvmlInit()
                self._library = pynvml
                self._handles = [pynvml.nvmlDeviceGetHandleByIndex(n) for n in range(pynvml.nvmlDeviceGetCount())]

    def facts(self) -> list[dict[str, Any]]:
        return [
            {
                "name": _text(self._library.nvmlDeviceGetName(handle)),
                "memory": self._library.nvmlDeviceGetMemoryInfo(handle).total,
                "uuid": _text(self._library.nvmlDeviceGetUUID(handle)),
                "driver": _text(self._library.nvmlSystemGetDriverVersion()),
            }
            for handle in self._handles
        ]

    def load(self) -> list[dict[str, Any]]:
        loads = []
        for handle in self._handles:
            load: dict[str, Any] = {}
            with suppress(self._library.NVMLError):  # some devices do not measure all of these
                load["memory_used"] = self._library.nvmlDeviceGetMemoryInfo(handle).used
                load["percent"] = self._library.nvmlDeviceGetUtilizationRates(handle).gpu
                load["temperature"] = self._library.nvmlDeviceGetTemperature(handle, 0)
            loads.append(load)
        return loads


def device_type(root: Path = Path("/")) -> str:
    """`container`, `vm`, `laptop`, `tablet`, `server`, `board` or `desktop`."""
    if any((root / mark).exists() for mark in (".dockerenv", "run/.containerenv", "run/systemd/container")):
        return "container"
    if "hypervisor" in _cpu_field(root, "flags").split():
        return "vm"
    if (root / "proc/device-tree/model").exists():
        return "board"
    try:
        chassis = int((root / "sys/class/dmi/id/chassis_type").read_text())
    except (OSError, ValueError):
        return "desktop"
    return "server" if chassis in SERVERS else CHASSIS.get(chassis, "desktop")


def surroundings(own: Mapping[str, str]) -> dict[str, str]:
    """This process's environment without what belongs to it alone: its settings, and whatever looks like a secret."""
    private = ("KEY", "TOKEN", "SECRET", "PASS", "CREDENTIAL")
    return {
        name: value
        for name, value in own.items()
        if not name.startswith(("TREADLE_", "UA_", "TASKDRIVER_")) and not any(word in name.upper() for word in private)
    }


def _cpu_field(root: Path, field: str) -> str:
    with suppress(OSError), (root / "proc/cpuinfo").open() as lines:
        for line in lines:
            name, _, value = line.partition(":")
            if name.strip() == field:
                return value.strip()
    return ""


def _cpu_model() -> str:
    return _cpu_field(Path("/"), "model name") or platform.processor() or platform.machine()


def _pretty_name() -> str:
    with suppress(OSError):
        return platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    return platform.system()


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
