"""What execute runs: the operator's argument list with the path and the caller's words in it. No shell reads any."""

import os
import re
import shlex
from collections.abc import Iterable, Sequence

from treadle.core.errors import Denied, Fault, Invalid
from treadle.core.runs import Command, Window
from treadle.faces.console.options import Options
from treadle.faces.console.paths import Place

ARGS, PATH = "{args}", "{path}"
SHELL = "/bin/sh"
MASK = "***"

_SECRET_OPTION = re.compile(
    r"--?[\w-]*(?:password|passwd|passphrase|secret|token|api[_-]?key|credentials?)[\w-]*", re.IGNORECASE
)
_PASSWORD_IN_URL = re.compile(r"(?<=://)([^/@\s:]*):[^/@\s]+@")


def check(template: Sequence[str]) -> None:
    """Raises ValueError for a template that cannot be meant as it is."""
    if template and template[0] in (ARGS, ""):
        raise ValueError("[console] command begins with a program; the caller never chooses it")
    if any(ARGS in element and element != ARGS for element in template):
        raise ValueError(f"[console] command: {ARGS} is an element of its own, for it becomes several words")


def split(args: str) -> list[str]:
    """The words of an argument line, as a POSIX shell splits them, and nothing more. Raises Invalid."""
    try:
        return shlex.split(args)
    except ValueError as error:
        raise Invalid(Fault("args", f"cannot be split into words: {str(error).lower()}")) from None


def argv_of(options: Options, place: Place, words: Sequence[str]) -> tuple[str, ...]:
    """The argument list for a path. Raises Invalid and Denied."""
    if not options.command:
        if place.is_folder:
            return (options.shell or SHELL, "-i", *words)
        if not os.access(f"/proc/self/fd/{place.handle}", os.X_OK):
            raise Denied("This file cannot be run: it is not executable for the server's user")
        return (place.path, *words)
    if words and ARGS not in options.command:
        raise Invalid(Fault("args", "are not taken by the command of this server"))
    argv: list[str] = []
    for element in options.command:
        argv += words if element == ARGS else (element.replace(PATH, place.path),)
    return tuple(argv)


def command_of(options: Options, place: Place, words: Sequence[str]) -> Command:
    """The run for a path: in the folder, or in the folder of the file."""
    return Command(
        argv=argv_of(options, place, words),
        cwd=place.path if place.is_folder else os.path.dirname(place.path),
        pty=Window(options.columns, options.rows, echo=options.echo) if options.pty else None,
        stdin=True,
        grace=float(options.kill_seconds),
    )


def masked(argv: Iterable[str]) -> tuple[str, ...]:
    """The argument list as it may be shown: what stands behind options like `--token` and in addresses is hidden."""
    shown: list[str] = []
    hide = False
    for word in argv:
        option = _SECRET_OPTION.match(word)
        if hide and not word.startswith("-"):
            word = MASK
        elif option and option.end() < len(word) and word[option.end()] == "=":
            word = f"{option.group()}={MASK}"
        hide = option is not None and option.end() == len(word)
        shown.append(_PASSWORD_IN_URL.sub(rf"\1:{MASK}@", word))
    return tuple(shown)
