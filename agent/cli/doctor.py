"""`runoff doctor`: what works on this machine, what does not, and the command that mends it."""

from __future__ import annotations

import os
import sys

from rich.console import Console
from rich.markup import escape

from sandbox.probe import probe

EXAMPLE = "Example: runoff doctor"
KEYS = ("ANTHROPIC_API_KEY", "OPENAI_API_KEY")


def command() -> None:
    """Say what works on this machine, what does not, and the command that mends it."""
    console = Console()
    findings = probe()
    for finding in findings:
        _line(console, finding.name, finding.works, finding.words, finding.hint)
    for key in KEYS:
        works = bool(os.environ.get(key))
        _line(
            console,
            key,
            works,
            "set" if works else "not set",
            "" if works else f"export {key}=... or use --model openai:MODEL@URL",
        )
    sys.exit(0 if any(finding.works for finding in findings) else 4)


def _line(console: Console, name: str, works: bool, words: str, hint: str) -> None:  # noqa: FBT001  a row of the table
    mark = "[green]works[/]" if works else "[yellow]does not work[/]"
    console.print(f"{escape(name)}: {mark}: {escape(words)}", highlight=False, soft_wrap=True)
    if hint:
        console.print(f"  next: {escape(hint)}", highlight=False, soft_wrap=True)
