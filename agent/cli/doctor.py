"""`runoff doctor`: what works on this machine, what does not, and the command that mends it."""

from __future__ import annotations

import os
import sys

from rich.console import Console
from rich.markup import escape

from agent.cli import interrupts
from sandbox.probe import Finding, probe

EXAMPLE = "Example: runoff doctor"
KEYS = ("ANTHROPIC_API_KEY", "OPENAI_API_KEY")


def command() -> None:
    """Say what works on this machine, what does not, and the command that mends it."""
    errors = Console(stderr=True)
    sys.exit(interrupts.run(lambda interrupt: _report(Console()), errors))


async def _report(console: Console) -> int:
    findings = await probe()
    for finding in findings:
        _line(console, finding)
    for key in KEYS:
        found = bool(os.environ.get(key))
        hint = "" if found else f"export {key}=..., or name a server of yours with --model openai:MODEL@URL"
        _line(console, Finding(key, found, "set" if found else "not set", hint))
    return 0 if any(finding.works for finding in findings) else 4


def _line(console: Console, finding: Finding) -> None:
    mark = "[green]works[/]" if finding.works else "[yellow]does not work[/]"
    console.print(f"{escape(finding.subject)}: {mark}: {escape(finding.words)}", highlight=False, soft_wrap=True)
    if finding.hint:
        console.print(f"  next: {escape(finding.hint)}", highlight=False, soft_wrap=True)
