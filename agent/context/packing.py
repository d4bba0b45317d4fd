"""Fills a token budget with files in order of need, and writes them the way that prompts show them.

After CodeMonkeys (arXiv 2501.14723, section 3.2): the longest prefix of the ranking that fits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from agent.llm.tokens import estimate
from agent.prompts.render import fence

Overflow = Literal["skip", "stop"]


@dataclass(frozen=True, slots=True)
class ContextFile:
    """A file that trajectories see."""

    path: str
    text: str
    tokens: int
    """Estimated tokens of what prompts hold of it, its tags included."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A file that did not fit."""

    path: str
    tokens: int


@dataclass(frozen=True, slots=True)
class Context:
    """What trajectories see of the repository, in order of need."""

    files: tuple[ContextFile, ...]
    left_out: tuple[LeftOut, ...] = ()

    @property
    def tokens(self) -> int:
        """Estimated tokens of all files, at most the budget."""
        return sum(file.tokens for file in self.files)

    @property
    def paths(self) -> tuple[str, ...]:
        """Paths of the files, in order."""
        return tuple(file.path for file in self.files)


def pack(paths: Sequence[str], *, read: Callable[[str], str], budget: int, overflow: Overflow = "skip") -> Context:
    """Take files in order while they fit into `budget` tokens.

    A file that is too large for what is left ends the context (`stop`, as in the paper) or is passed over (`skip`).
    """
    files: list[ContextFile] = []
    left_out: list[LeftOut] = []
    left = budget
    for path in paths:
        text = read(path)
        tokens = estimate(render_file(path, text))
        if tokens > left or (overflow == "stop" and left_out):
            left_out.append(LeftOut(path, tokens))
            continue
        files.append(ContextFile(path, text, tokens))
        left -= tokens
    return Context(tuple(files), tuple(left_out))


def render_file(path: str, text: str) -> str:
    """One file between its tags, content verbatim but for tags of the same name."""
    return fence(text, "file", path=path) + "\n"


def render_files(context: Context) -> str:
    """All files of a context, the same bytes wherever a prompt holds them."""
    return "".join(render_file(file.path, file.text) for file in context.files)
