"""What goes from this terminal to a run while its output is followed: keys or a file, signals, the window's size.

Each hand is a thread with a connection of its own, so that a run that does not read keeps nobody from ending it.
"""

import os
import queue
import threading
import time
from collections.abc import Callable
from typing import Any

from treadle.client import asking
from treadle.client.asking import Ask
from treadle.client.errors import ClientError, Conflict, NoServer, NotFound, Refused, Unreachable, WrongState
from treadle.client.finding import Finder
from treadle.client.nouns import ENDED
from treadle.client.plain import Plain
from treadle.client.retrying import HEALS, backoff
from treadle.client.runs import Window

from .printing import note
from .terminal import Keys

PIECE = 64 * 1024
"""Bytes of input in one request. A run takes such a piece, if need be later, or refuses it whole."""
AGAIN_SECONDS = 0.5
"""The longest pause before input is offered again to a run that does not take it yet."""
PASSING = HEALS | {"unreachable"}
"""Refusals after which nothing was done and the same may work; the last one says that the run's node is away."""


class Orders:
    """Signals and sizes, in the order in which they were given. `patience` is how long each waits for a server."""

    def __init__(self, finder: Finder, id: str, patience: float) -> None:
        self._plain, self._id, self._patience = Plain(finder), id, patience
        self._waiting: queue.SimpleQueue[Ask[Any]] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def signal(self, name: str, grace: float | None = None) -> None:
        self._give(asking.signal(self._id, name, grace))

    def resize(self, window: Window) -> None:
        self._give(asking.resize(self._id, window))

    def _give(self, ask: Ask[Any]) -> None:
        self._waiting.put(ask)
        if self._thread is None:
            self._thread = threading.Thread(target=self._carry_out, name="orders", daemon=True)
            self._thread.start()

    def _carry_out(self) -> None:
        while True:
            ask = self._waiting.get()
            try:
                self._plain.ask(ask, patience=self._patience)
            except (WrongState, NotFound):
                pass  # it has ended, or not begun: then it gets its size when it does
            except ClientError as error:
                if ask.path.endswith("/signal"):
                    note(f"treadle: {error}")


class Feeder:
    """Passes on what is typed or piped in until it ends; `left` is called when a person types that he leaves."""

    def __init__(
        self,
        finder: Finder,
        id: str,
        *,
        keys: Keys | None,
        patience: float,
        left: Callable[[], None],
        descriptor: int = 0,
    ) -> None:
        self._plain, self._id, self._keys, self._patience = Plain(finder), id, keys, patience
        self._left, self._descriptor = left, descriptor
        threading.Thread(target=self._feed, name="input", daemon=True).start()

    def _feed(self) -> None:
        try:
            while data := os.read(self._descriptor, PIECE):
                if self._keys is not None:
                    data, leaves = self._keys.typed(data)
                    if leaves:
                        self._left()
                        return
                if data and not self._give(asking.feed(self._id, data, eof=False)):
                    return
            self._give(asking.feed(self._id, b"", eof=True))
        except OSError as error:  # the terminal is gone
            note(f"treadle: what was to be read is gone: {error.strerror}")
        except ClientError as error:
            note(f"treadle: the run gets no more input: {error}")

    def _give(self, ask: Ask[None]) -> bool:
        """Until the run has taken it; False when it has ended or wants no more. Raises ClientError."""
        attempt, until = 0, time.monotonic() + self._patience
        while True:
            try:
                self._plain.ask(ask)
            except (NotFound, WrongState):
                if self._plain.ask(asking.get(self._id), patience=self._patience).state in ENDED:
                    return False
                until = time.monotonic() + self._patience  # it has not begun yet
            except Conflict as error:
                if not error.message.endswith("does not read its input"):
                    return False  # it has closed its input, as `head` does
                until = time.monotonic() + self._patience
            except (NoServer, Unreachable, Refused) as error:
                passes = isinstance(error, NoServer) or (isinstance(error, Unreachable) and not error.sent)
                passes = passes or (isinstance(error, Refused) and error.code in PASSING)
                if not passes or time.monotonic() > until:
                    raise
            else:
                return True
            time.sleep(backoff(attempt, AGAIN_SECONDS))
            attempt += 1
