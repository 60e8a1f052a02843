"""The only room that knows every room: it puts a server, or a node alone, together from what the settings say."""

import asyncio
import contextlib
import sys
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import uvloop

from treadle.compose.node import serve_node
from treadle.compose.parts import CannotStart, Show
from treadle.compose.server import serve
from treadle.core.errors import FabricError
from treadle.home import Home, Unusable
from treadle.settings import Settings
from treadle.web.log import Log, bridge, stderr_log

__all__ = ["CannotStart", "run", "run_node"]

Serve = Callable[[Settings, Home, Log], Coroutine[Any, Any, None]]


def run(settings: Settings, warnings: Sequence[str], show: Show, *, node: bool) -> int:
    """Serve, with a node of its own or without, until a signal asks to stop; the exit code."""
    return _run(settings, warnings, lambda settings, home, log: serve(settings, home, log, show, node=node))


def run_node(settings: Settings, warnings: Sequence[str], show: Show) -> int:
    """Be a node of a server elsewhere until a signal asks to stop; the exit code."""
    return _run(settings, warnings, lambda settings, home, log: serve_node(settings, home, log, show))


def _run(settings: Settings, warnings: Sequence[str], work: Serve) -> int:
    """A start that fails is one line on stderr and exit code 1."""
    log = stderr_log(level=settings.log_level, human={"human": True, "json": False}.get(settings.log_format))
    bridge(log)
    for warning in warnings:
        log.warning(warning)
    refusals: list[str] = []
    try:
        with (
            contextlib.closing(Home(settings.home)) as home,
            asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop,
        ):
            loop.run(work(settings, home, log))
    except* (FabricError, Unusable) as known:
        refusals += [" ".join(str(error).split()) for error in leaves(known)]  # drivers speak in several lines
    except* Exception as unknown:  # noqa: BLE001 - the end of the process; it is logged whole
        log.failed("the process broke", unknown)
        refusals.append("it broke; its log says how")
    log.flush()
    for refusal in refusals:
        sys.stderr.write(f"treadle: {refusal}\n")
    return 1 if refusals else 0


def leaves(error: BaseException) -> list[BaseException]:
    """The exceptions of a group, however deep."""
    if not isinstance(error, BaseExceptionGroup):
        return [error]
    return [leaf for inner in error.exceptions for leaf in leaves(inner)]
