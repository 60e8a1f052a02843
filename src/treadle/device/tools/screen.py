"""A picture of the screen, taken by whichever program for it is installed."""

import base64
import shutil
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from treadle.core.runs import Command, Limits

from .commands import Commands
from .files import failed

MOST_PICTURE = 64 * 1024 * 1024
SECONDS = 20.0
PNG = b"\x89PNG\r\n\x1a\n"
PROGRAMS = {
    "WAYLAND_DISPLAY": (("grim", "-"),),
    "DISPLAY": (("import", "-silent", "-window", "root", "png:-"), ("scrot", "-"), ("maim", "-f", "png")),
}
"""By the variable that names a display: programs that write it to stdout as PNG."""


class CaptureScreenshot(Struct):
    """What `capture_screenshot` takes; the names of the stock tools' arguments are ignored."""


async def capture(commands: Commands, env: Mapping[str, str]) -> dict[str, Any] | bytes:
    """The tool: the picture as PNG, or why there is none."""
    displays = [name for name in PROGRAMS if env.get(name)]
    if not displays:
        return failed("there is no display: neither WAYLAND_DISPLAY nor DISPLAY is set")
    programs = [program for name in displays for program in PROGRAMS[name]]
    chosen = next((program for program in programs if shutil.which(program[0], path=env.get("PATH"))), None)
    if chosen is None:
        names = ", ".join(program[0] for program in programs)
        return failed(f"there is no program that takes a picture of the screen; install one of: {names}")
    ran = await commands.run(Command(argv=chosen, limits=Limits(seconds=SECONDS), grace=1.0), most=MOST_PICTURE)
    if not ran.ending.ok:
        said = ran.stderr.data.decode("utf-8", "replace").strip()
        return failed(f"{chosen[0]} took no picture: {said or ran.ending.told()}")
    if ran.stdout.left_out or not ran.stdout.data.startswith(PNG):
        return failed(f"{chosen[0]} wrote something that is no picture, or one that is too large")
    return ran.stdout.data


def encoded(picture: bytes) -> str:
    """A picture as MCP carries it."""
    return base64.b64encode(picture).decode()
