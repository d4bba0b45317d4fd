"""`runoff`: the commands by name. A command's module is imported when that command is called: all of them take a second.

Commands that are not built yet are not here.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup

from agent.cli import streams

COMMANDS = {
    "solve": "Resolve one issue: from its text to a patch.",
    "batch": "Resolve many issues: the instances of a data set.",
    "ensemble": "Choose one prediction for each instance among several systems'.",
    "evaluate": "Judge patches by the tests of their fixes.",
    "report": "Show what runs came to: resolved, coverage, cost, failures.",
    "resume": "Go on with whatever is unfinished in a run.",
    "show": "Show what happened and why this patch won.",
    "doctor": "Say what works on this machine, and what mends the rest.",
    "images": "Bring the images of a run here, see them, make room.",
}
"""What `runoff --help` says of each; the module of that name has the rest."""


class Commands(TyperGroup):
    """Has all commands, and loads the one that is called."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self.commands.update(dict.fromkeys(COMMANDS))  # type: ignore[arg-type]  # names now, commands as they are asked for

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command, from its module; None if there is none of that name."""
        if cmd_name in COMMANDS and self.commands[cmd_name] is None:
            self.commands[cmd_name] = _load(cmd_name)
        return super().get_command(ctx, cmd_name)

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002  the signature is Typer's
        """List them without loading them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _load(name: str) -> Any:
    module = import_module(f"agent.cli.{name}")
    if hasattr(module, "app"):
        return typer.main.get_group(module.app)
    alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    alone.command(name, epilog=module.EXAMPLE)(module.command)
    return typer.main.get_command(alone)


app = typer.Typer(
    name="runoff",
    help="Resolves GitHub issues: many trajectories draft a test and an edit, then a run-off picks the patch.",
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback()
def _commands() -> None:
    """Without this Typer takes an application that has registered no command yet for an empty one."""


def main() -> None:
    """Entry point of the `runoff` command."""
    streams.mask()
    sys.exit(app())
