"""Command groups that list when nothing else is said: `treadle tasks` is `treadle tasks list`."""

from typing import Any

import typer
from typer.core import TyperGroup

OWN = ("--help", "-h")


class ListsByDefault(TyperGroup):
    """Puts `list` in front of arguments that begin with an option, or of none."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        unnamed = not args or (args[0].startswith("-") and args[0] not in OWN)
        if unnamed and not ctx.resilient_parsing:  # a shell that completes is told of all commands
            args = ["list", *args]
        parsed: list[str] = super().parse_args(ctx, args)
        return parsed


def group(help: str) -> typer.Typer:
    """A new group."""
    return typer.Typer(cls=ListsByDefault, help=help, add_completion=False, no_args_is_help=False)
