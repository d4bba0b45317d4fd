"""Lines as git sees them, and code fences that a model puts around them out of habit."""

from __future__ import annotations

import re

from agent.edits.types import Lines

FENCE = re.compile(r"^\s*(```+|~~~+)[\w+.-]*\s*$")
_PROSE = (".md", ".markdown", ".mdx", ".rst", ".txt")


def split_lines(text: str) -> list[str]:
    """Lines with their ends; only a line feed ends a line, as in git."""
    lines = text.split("\n")
    return [line + "\n" for line in lines[:-1]] + ([lines[-1]] if lines[-1] else [])


def bare(line: str) -> str:
    """A line without its end."""
    return line.removesuffix("\n").removesuffix("\r")


def unfenced(lines: Lines, path: str) -> Lines:
    """Without a code fence around all lines; in Markdown and its like a fence is content."""
    if path.endswith(_PROSE) or len(lines) < 2:  # noqa: PLR2004  a fence has two ends
        return lines
    return lines[1:-1] if FENCE.match(lines[0]) and lines[-1].strip() in ("```", "~~~") else lines
