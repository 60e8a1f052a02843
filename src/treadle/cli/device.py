"""`treadle device`: this machine as a device of an agent server, in the foreground."""

import asyncio
import logging
import os
import shlex
import sys
from pathlib import Path
from typing import Annotated

from typer import Option

from treadle.settings.reading import Wrong as WrongSetting
from treadle.settings.reading import read

from . import Stop

TOKEN = "TREADLE_DEVICE_TOKEN"  # noqa: S105  # the name of a variable


# No docstring: the line in the table of commands describes it.
def device(
    server: Annotated[str, Option("--server", metavar="URL", help="ws://HOST:PORT/ws, or wss:// with TLS.")],
    id: Annotated[str, Option("--id", metavar="NAME", help="What the device is called there.")],
    platform: Annotated[str, Option(metavar="NAME", help="What the server is to treat it as.")] = "linux",
    root: Annotated[
        list[str] | None, Option(metavar="DIR", help="Let the server read and write files in this folder.")
    ] = None,
    mcp: Annotated[
        str | None, Option("--mcp", metavar="FILE", help='JSON: {"mcpServers": {NAME: {"command": …, "args": […]}}}.')
    ] = None,
    executes: Annotated[
        bool, Option("--executes", help="Carry out requests here, with --executor, not by the server's agent.")
    ] = False,
    executor: Annotated[
        str | None, Option(metavar="COMMAND", help="Gets each request on stdin and prints its result; no shell.")
    ] = None,
    token: Annotated[
        str | None, Option(metavar="@FILE", help=f"The file with the server's key; or set {TOKEN}.")
    ] = None,
    tls_ca: Annotated[str | None, Option(metavar="FILE", help="Believe only these authorities (PEM).")] = None,
    tls_pin: Annotated[
        str | None, Option(metavar="SHA256", help="Believe only the certificate with this fingerprint.")
    ] = None,
    home: Annotated[
        str | None, Option(metavar="DIR", help="Keep everything in this folder, not in ~/.treadle.")
    ] = None,
    ready_file: Annotated[str | None, Option(metavar="FILE", help="Write one line here once registered.")] = None,
) -> None:
    if executes != (executor is not None):
        raise Stop("--executes needs --executor COMMAND, and the other way round", 2)
    if not id.strip():
        raise Stop("--id: must not be empty", 2)
    try:
        keep = read({"home": home} if home else {}, os.environ).settings.home
        arguments = tuple(shlex.split(executor)) if executor is not None else ()
    except WrongSetting as wrong:
        raise Stop(str(wrong), 2) from None
    except ValueError as error:
        raise Stop(f"--executor: {error}", 2) from None
    if executor is not None and not arguments:
        raise Stop("--executor: must name a program", 2)
    secret = _token(token)

    from treadle.device.address import Address, Wrong
    from treadle.device.tools.configuration import Wrong as WrongServers
    from treadle.device.tools.configuration import configured

    try:
        address = Address(server, secret, ca=Path(tls_ca) if tls_ca else None, pin=tls_pin or "")
        address.context()  # a wrong file of authorities is a mistake of now, not of later
        servers = configured(Path(mcp)) if mcp else {}
    except (Wrong, WrongServers) as wrong:
        raise Stop(str(wrong), 2) from None

    from treadle.device.serving import CannotStart, Options, serve  # the SDK's slow import, after all that can be wrong

    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.WARNING)
    logging.getLogger("treadle.device").setLevel(logging.INFO)
    logging.getLogger("websockets").setLevel(logging.CRITICAL)  # it would show whole URLs, and so the token
    options = Options(
        address=address,
        client_id=id,
        home=keep,
        platform=platform,
        roots=tuple(Path(each) for each in root or ()),
        servers=servers,
        executor=arguments,
        ready_file=Path(ready_file) if ready_file else None,
    )
    try:
        asyncio.run(serve(options, said))
    except CannotStart as why:
        raise Stop(str(why)) from None


def said(line: str) -> None:
    sys.stdout.write(f"{line}\nStop with Ctrl-C.\n")
    sys.stdout.flush()


def _token(typed: str | None) -> str:
    """The key from where it may stand: a file, or the environment; never the command line itself."""
    if typed is None:
        return os.environ.get(TOKEN, "").strip()
    if not typed.startswith("@"):
        raise Stop(f"--token: everybody on this machine can read that there; say --token @FILE or set {TOKEN}", 2)
    try:
        return Path(typed[1:]).read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Stop(f"--token: {typed[1:]} cannot be read: {getattr(error, 'strerror', None) or error}", 2) from None
