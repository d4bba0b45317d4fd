"""Code fences that a model puts around lines out of habit."""

from __future__ import annotations

import re

from agent.edits.types import Lines

FENCE = re.compile(r"^\s*(```+|~~~+)[\w+.-]*\s*$")
_PROSE = (".md", ".markdown", ".mdx", ".rst", ".txt")


def unfenced(lines: Lines, path: str) -> Lines:
    """Without a code fence around all lines; in Markdown and its like a fence is content."""
    if path.endswith(_PROSE) or len(lines) < 2:  # noqa: PLR2004  a fence has two ends
        return lines
    return lines[1:-1] if FENCE.match(lines[0]) and lines[-1].strip() in ("```", "~~~") else lines
