"""A run in the foreground of this terminal: what it prints comes here, what is typed here goes to it, until it ends."""

import os
import signal
import sys
import threading
from collections.abc import Callable
from time import monotonic
from typing import Any

from treadle.client import asking
from treadle.client.errors import ClientError
from treadle.client.finding import Finder
from treadle.client.nouns import State
from treadle.client.plain import Plain
from treadle.client.runs import Chunk, Node, Run, RunEnd, Window

from . import Stop
from .endings import FAILED, stop
from .hands import Feeder, Orders
from .printing import visible
from .showing import exit_code, show, why
from .terminal import Keys, Raw, window

PATIENCE = 600.0
"""Seconds that a server may be away before a command that waits for a run gives up."""
GRACE = 5.0
LOOK_AFTER = 1.0
"""Seconds without a word from a new run after which it is worth asking why."""
TOLD_AFTER = 2.0
LADDER = (("INT", None), ("TERM", GRACE), ("KILL", None))
"""What one Ctrl-C after the other sends."""
NOBODY = "no node is present that could run this; start `treadle up` or `treadle node`"


class Left(Exception):
    """This program goes and the run may go on: with this code, and a line that says why."""

    def __init__(self, code: int, line: str) -> None:
        self.code, self.line = code, line
        super().__init__(line)


class Attached:
    """Follows one run.

    `feeds`: our stdin is its stdin. `owns`: it was started here, so what ends us ends it. `looks_on`: it hears nothing
    from us, and Ctrl-C is for us alone.
    """

    def __init__(self, finder: Finder, run: Run, *, feeds: bool, owns: bool, looks_on: bool, json: bool) -> None:
        self._finder, self._run, self._owns, self._looks_on, self._json = finder, run, owns, looks_on, json
        self._orders = Orders(finder, run.id, PATIENCE)
        self._feeds = feeds
        self._typed = feeds and run.pty and os.isatty(0)
        self._raw: Raw | None = None
        self._window: Window | None = window() if run.pty and owns else None
        self._state: State = run.state
        self._steps = 0
        self._away_since: float | None = None
        self._told_away = False
        self._leaving: Left | None = None
        self._main = threading.get_ident()
        self._following = threading.Lock()
        self._over = False

    def follow(self, plain: Plain, after: int) -> int:
        """To the end of the run, or of our part in it; the code with which to exit. Raises ClientError."""
        before = {number: signal.signal(number, handler) for number, handler in self._handlers().items()}
        look = threading.Timer(LOOK_AFTER, self._look)
        look.daemon = True
        try:
            if self._typed:
                self._raw = Raw(0)
            if self._feeds:
                keys = Keys() if self._typed else None
                Feeder(self._finder, self._run.id, keys=keys, patience=PATIENCE, left=lambda: self._leave(self._bye(0)))
            if self._state == "queued":
                look.start()
            if self._run.pty and not self._owns and not self._looks_on:
                self._fit()
            for printed in plain.follow(self._run.id, after, patience=PATIENCE, away=self._away):
                self._state = "running"
                if self._json or not isinstance(printed, RunEnd):
                    show(printed, self._json)
                if isinstance(printed, RunEnd):
                    self._tell(None if self._json else why(printed))
                    return exit_code(printed)
                if self._run.pty and not self._looks_on and isinstance(printed, Chunk):
                    self._fit()
            raise AssertionError("a stream ends with the end of its run")
        except Left as left:
            self._tell(left.line)
            return left.code
        except BrokenPipeError:
            return self._unread(plain)
        finally:
            self._over = True
            look.cancel()
            with self._following:  # whoever is about to call us away has done so
                pass
            if self._raw:
                self._raw.restore()
            for number, handler in before.items():
                signal.signal(number, handler)

    def _handlers(self) -> dict[signal.Signals, Callable[[int, Any], None]]:
        handlers = {
            signal.SIGINT: self._interrupted,
            signal.SIGTERM: self._terminated,
            signal.SIGHUP: lambda number, _: self._go(self._bye(128 + number)),
            signal.SIGUSR1: lambda number, _: self._go(self._leaving or self._bye(128 + number)),
        }
        if self._run.pty and not self._looks_on:
            handlers[signal.SIGWINCH] = lambda *_: self._fit()
        if self._typed:
            handlers[signal.SIGQUIT] = handlers[signal.SIGHUP]
            handlers[signal.SIGCONT] = self._continued
        ignored = [number for number in (signal.SIGINT, signal.SIGHUP) if signal.getsignal(number) == signal.SIG_IGN]
        return {number: handler for number, handler in handlers.items() if number not in ignored}

    def _interrupted(self, number: int, _: Any) -> None:
        """Ctrl-C goes to the run, unless we only look on or nobody can hear it."""
        if self._looks_on or self._away_since is not None or self._steps == len(LADDER):
            self._go(self._bye(128 + number))
        name, grace = LADDER[self._steps]
        self._steps += 1
        self._orders.signal(name, grace)

    def _terminated(self, number: int, _: Any) -> None:
        """A supervisor that ends us means the run, if we started it."""
        if not self._owns or self._away_since is not None or self._steps >= 2:
            self._go(self._bye(128 + number))
        self._steps = 2
        self._orders.signal("TERM", GRACE)

    def _continued(self, *_: Any) -> None:
        if self._raw:
            self._raw.enter()
        self._fit()

    def _fit(self) -> None:
        """Tell the run how large our terminal is, if that is news."""
        now = window()
        if now != self._window:
            self._window = now
            self._orders.resize(now)

    def _go(self, left: Left) -> None:
        if not self._over:
            raise left

    def _leave(self, left: Left) -> None:
        """The same from another thread."""
        with self._following:
            if not self._over:  # later nobody would catch the signal
                self._leaving = left
                signal.pthread_kill(self._main, signal.SIGUSR1)

    def _bye(self, code: int) -> Left:
        return Left(code, f"the run goes on; `treadle attach {self._run.id}` comes back to it")

    def _look(self) -> None:
        """Why there is nothing yet: nobody there who could run it, or nobody free."""
        plain = Plain(self._finder)
        try:
            run = plain.ask(asking.get(self._run.id))
            if run.state != "queued" or self._state != "queued":
                return
            if able(run.on, plain.ask(asking.nodes()).nodes):
                self._tell("waiting for a free place on a node")
            elif self._owns:
                plain.ask(asking.signal(run.id, "TERM", None))
                self._leave(Left(FAILED, NOBODY))
            else:
                self._tell(NOBODY)
        except ClientError as error:
            self._tell(str(error))
        finally:
            plain.close()

    def _away(self, error: ClientError | None) -> None:
        if error is None:
            if self._told_away:
                self._tell("the server is back")
            self._away_since, self._told_away = None, False
            return
        self._away_since = self._away_since or monotonic()
        if not self._told_away and monotonic() - self._away_since > TOLD_AFTER:
            self._told_away = True
            self._tell(f"{error}; waiting for it (Ctrl-C leaves)")

    def _unread(self, plain: Plain) -> int:
        """Nobody reads what we pass on. A program of this machine would be ended by that, and so is a run of ours."""
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        if self._owns:
            plain.close()
            plain.ask(asking.signal(self._run.id, "TERM", GRACE), patience=PATIENCE)
        return 128 + signal.SIGPIPE

    def _tell(self, line: str | None) -> None:
        """A line about the run, beside its output."""
        if line is not None:
            end = "\r\n" if self._raw else "\n"
            sys.stderr.write(f"treadle: {visible(line)}{end}")
            sys.stderr.flush()


def able(on: str, nodes: list[Node]) -> bool:
    """Whether a node is present that may take a run for `on`."""
    return any(node.state == "present" and on in ("any", node.id, node.name) for node in nodes)


def attend(
    plain: Plain,
    finder: Finder,
    run: Run,
    *,
    after: int = 0,
    feeds: bool,
    owns: bool = False,
    looks_on: bool = False,
    json: bool,
) -> None:
    """Follow the run and exit as it does."""
    attached = Attached(finder, run, feeds=feeds, owns=owns, looks_on=looks_on, json=json)
    try:
        code = attached.follow(plain, after)
    except ClientError as error:
        told = stop(error)
        raise Stop(f"{told}; `treadle attach {run.id}` comes back to the run", told.code) from error
    finally:
        plain.close()
    sys.exit(code)
