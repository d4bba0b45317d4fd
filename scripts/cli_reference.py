"""Writes docs/reference/cli.md from the commands' own help, so that the page cannot lie.

usage: python scripts/cli_reference.py          a test fails where the page is out of date
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "cli.md"
HEAD = """# Command line

Made by `scripts/cli_reference.py` from the commands' help. Each option of `runoff solve` and `runoff batch` can also be
set by a variable (`RUNOFF_SAMPLES=3`) or a line of `runoff.toml` (`samples = 3`) in the folder where it is called; options
win over variables, variables over the file, the file over the default, which stands in brackets. `runoff solve
--show-settings` prints every value with its source.

Exit codes: 0 done, 1 finished without a patch, 2 bad input or settings (nothing was spent), 3 budget reached, 4
infrastructure failed, 130 interrupted (after these three: `runoff resume`). Errors go to standard error in three lines:
what, where, the next command.
"""


def page() -> str:
    """The page as it should be."""
    os.environ.update(COLUMNS="120", TERMINAL_WIDTH="120", NO_COLOR="1")
    from typer.main import get_command
    from typer.testing import CliRunner

    from agent.cli.app import app

    sections = []
    for words in commands(get_command(app)):
        text = CliRunner().invoke(app, [*words, "--help"], prog_name="runoff").output
        sections.append(f"## runoff {' '.join(words)}\n\n```text\n{text.strip()}\n```\n")
    return HEAD + "\n" + "\n".join(sections)


def commands(group: Any) -> Iterator[list[str]]:
    """The words of each command; a group stands before its own."""
    for name in group.list_commands(None):
        yield [name]
        command = group.get_command(None, name)
        if hasattr(command, "list_commands"):
            yield from ([name, *words] for words in commands(command))


if __name__ == "__main__":
    PAGE.write_text(page())
