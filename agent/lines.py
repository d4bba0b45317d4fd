"""Lines as git sees them: `str.splitlines` also breaks at form feeds and other characters that are content."""

from __future__ import annotations


def split_lines(text: str) -> list[str]:
    """Lines with their ends; only a line feed ends a line, as in git."""
    lines = text.split("\n")
    return [line + "\n" for line in lines[:-1]] + ([lines[-1]] if lines[-1] else [])


def left_out(first: int, last: int) -> str:
    """A line that stands for the lines `first` to `last` (from 1) of a text that is shown in part."""
    return f"... (lines {first}-{last} left out)\n"


def bare(line: str) -> str:
    """A line without its end."""
    return line.removesuffix("\n").removesuffix("\r")
