"""What ends a server from outside: the first signal asks it to stop cleanly, a second one stops it at once."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable


def stop_signals(told: Callable[[str], object], at_once: Callable[[], object]) -> asyncio.Event:
    """An event that is set when the process is asked to stop. `told` hears of the signal; `at_once` runs before a
    second signal ends the process with exit code 128 and its number.

    SIGTERM and SIGINT ask to stop. SIGHUP does where it means that the terminal is gone, and is ignored elsewhere.
    """
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()

    def stop(number: signal.Signals) -> None:
        if asked.is_set():
            at_once()
            os._exit(128 + number)
        told(number.name)
        asked.set()

    loop.add_signal_handler(signal.SIGTERM, stop, signal.SIGTERM)
    loop.add_signal_handler(signal.SIGINT, stop, signal.SIGINT)
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # which is how nohup starts us
        on_terminal = sys.stdin is not None and sys.stdin.isatty()
        loop.add_signal_handler(signal.SIGHUP, stop if on_terminal else lambda _: None, signal.SIGHUP)
    return asked
