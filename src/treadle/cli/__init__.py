"""The command line: a table of commands, each in a module that is imported only when its command is called."""

import os
import sys
from importlib import import_module
from typing import Any, NamedTuple

from treadle import __version__


class Command(NamedTuple):
    """One command: what a person types, where it is (`module:name` of a function or a Typer), and its one line.

    A quick one is a function that declares its options by `treadle.cli.options` and is called without Typer.
    """

    name: str
    place: str
    help: str
    quick: bool = False

    def found(self) -> Any:
        module, _, name = self.place.partition(":")
        return getattr(import_module(module), name)


COMMANDS = (
    Command("up", "treadle.cli.up:up", "Run the server on this machine, in the foreground."),
    Command("serve", "treadle.cli.up:serve", "Run a replica of the server, without a node of its own."),
    Command("run", "treadle.cli.run:run", "Run a command on a node, as if it ran here.", quick=True),
    Command("attach", "treadle.cli.attach:attach", "See what a run prints and type what it reads.", quick=True),
    Command("ps", "treadle.cli.ps:ps", "Runs: those that go on, or all.", quick=True),
    Command("logs", "treadle.cli.logs:logs", "What a run printed.", quick=True),
    Command("kill", "treadle.cli.kill:kill", "End runs, or send them a signal.", quick=True),
    Command("top", "treadle.cli.top:top", "Nodes and runs, live.", quick=True),
    Command("node", "treadle.cli.node:node", "Be a machine that runs things for a server elsewhere."),
    Command("device", "treadle.cli.device:device", "Be a device of an agent server: run the tools it asks for."),
    Command("status", "treadle.cli.status:status", "What runs where, and the projects."),
    Command("projects", "treadle.cli.projects:app", "Projects: named pools of work."),
    Command("types", "treadle.cli.types:app", "Task types: templates and their policies."),
    Command("tasks", "treadle.cli.tasks:app", "Tasks: submit, list, show, cancel, requeue, delete, watch."),
    Command("work", "treadle.cli.work:app", "Work on tasks with a command."),
    Command("mcp", "treadle.cli.mcp:mcp", "Speak MCP on stdin and stdout, for agents on this machine."),
    Command("settings", "treadle.cli.settings:settings", "Show every setting, where it comes from and what it means."),
)


class Stop(Exception):
    """Ends the program with one line on stderr and this exit code: 1 failed, 2 wrongly asked, 3 no server runs."""

    def __init__(self, message: str, code: int = 1) -> None:
        self.code = code
        super().__init__(message)


def main() -> None:
    """What `treadle` and `python -m treadle` run. Never returns normally: it ends in SystemExit."""
    if sys.argv[1:] == ["--version"]:
        print(f"treadle {__version__}")  # noqa: T201  # not worth importing a parser for
        sys.exit(0)
    try:
        if not called(sys.argv[1:]):
            program()(prog_name="treadle")
    except Stop as stop:
        sys.stderr.write(f"treadle: {stop}\n")
        sys.exit(stop.code)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # whoever read our output has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(1)
    sys.exit(0)


def called(words: list[str]) -> bool:
    """Call a quick command without importing Typer, unless something about these words is for Typer to say."""
    row = next((row for row in COMMANDS if row.quick and row.name in words[:1]), None)
    if row is None:
        return False
    from .options import understood

    function = row.found()
    given = understood(function, words[1:])
    if given is None:
        return False
    function(**given)
    return True


def program() -> Any:
    """The whole program as one Typer command."""
    import typer
    from typer.core import TyperCommand, TyperGroup
    from typer.main import get_command

    class Program(TyperGroup):
        """Lists the commands from the table and imports only the one that is called."""

        def resolve_command(self, ctx: Any, args: list[str]) -> Any:
            name, found, rest = super().resolve_command(ctx, args)
            return name, found and command_at(next(each for each in COMMANDS if each.name == name)), rest

    def command_at(row: Command) -> Any:
        found = row.found()
        if not isinstance(found, typer.Typer):
            settings: dict[str, Any] = {}
            if row.quick:
                from .options import typed

                found, settings = typed(found)
            app = typer.Typer(add_completion=False)
            app.command(help=None if found.__doc__ else row.help, context_settings=settings)(found)
            found = app
        command = get_command(found)
        command.name = row.name
        return command

    def show_version(wanted: bool) -> None:
        if wanted:
            typer.echo(f"treadle {__version__}")
            raise typer.Exit

    app = typer.Typer(cls=Program, no_args_is_help=True)

    @app.callback()
    def treadle(
        version: bool = typer.Option(
            False, "--version", help="Print the version.", callback=show_version, is_eager=True
        ),
    ) -> None:
        """Machines, agents and people pull work from one durable queue. Start with `treadle up`."""

    group = get_command(app)
    assert isinstance(group, Program)
    for row in COMMANDS:
        group.add_command(TyperCommand(name=row.name, help=row.help), row.name)
    return group
