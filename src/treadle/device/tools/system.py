"""What this machine is, for whoever registers it and for whoever asks."""

import platform
from collections.abc import Mapping
from typing import Any

import psutil
from msgspec import Struct

from treadle.node.inventory import Inventory


class GetSystemInfo(Struct):
    """What `get_system_info` takes: nothing."""


def system_info(client_id: str, platform_name: str, address: str, features: list[str]) -> dict[str, Any]:
    """The stock client's description of its machine, by the names that are on the wire (spec 5.1)."""
    return {
        "device_id": client_id,
        "platform": platform_name,
        "os_version": platform.release(),
        "cpu_count": psutil.cpu_count() or 1,
        "memory_total_gb": round(psutil.virtual_memory().total / 2**30, 2),
        "hostname": platform.node(),
        "ip_address": address,
        "supported_features": features,
        "platform_type": "computer",
        "schema_version": "1.0",
        "custom_metadata": {},
    }


def features(env: Mapping[str, str], *, files: bool) -> list[str]:
    """What the machine offers, in the stock client's words."""
    found = ["cli"]
    if files:
        found.append("file_system")
    if has_display(env):
        found.append("gui")
    return found


def has_display(env: Mapping[str, str]) -> bool:
    return bool(env.get("WAYLAND_DISPLAY") or env.get("DISPLAY"))


def get_system_info(inventory: Inventory) -> dict[str, Any]:
    """The tool: what the machine has, and how much of it is used now."""
    return {"success": True, **inventory.facts(), "load": inventory.load()}
