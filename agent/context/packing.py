"""Fills a token budget with files in order of need, and writes them the way that prompts show them.

After CodeMonkeys (arXiv 2501.14723, section 3.2): the longest prefix of the ranking that fits. Of a file that is larger than
the whole budget, which is small where a model's window is, parts are shown.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from agent.llm.tokens import estimate
from agent.prompts.render import fence

Overflow = Literal["skip", "stop"]
Cut = Callable[[str, str, int], str]
"""(path, text, tokens): parts of the text within so many estimated tokens; empty if there are none."""
_PART_SHARE = 2 / 3
"""Of the room that is left, what a file that is shown in parts may take, unless it is the last."""


@dataclass(frozen=True, slots=True)
class ContextFile:
    """A file that trajectories see."""

    path: str
    text: str
    """What is shown of it."""
    tokens: int
    """Estimated tokens of what prompts hold of it, its tags included."""
    whole: bool = True


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
    def in_part(self) -> tuple[str, ...]:
        """Paths of the files that are not shown whole."""
        return tuple(file.path for file in self.files if not file.whole)

    @property
    def paths(self) -> tuple[str, ...]:
        """Paths of the files, in order."""
        return tuple(file.path for file in self.files)


def pack(
    paths: Sequence[str], *, read: Callable[[str], str], budget: int, overflow: Overflow = "skip", cut: Cut | None = None
) -> Context:
    """Take files in order while they fit into `budget` tokens.

    A file that is too large for what is left ends the context (`stop`, as in the paper) or is passed over (`skip`). With
    `skip` and `cut`, one that is larger than the whole budget is shown in part.
    """
    files: list[ContextFile] = []
    left_out: list[LeftOut] = []
    left = budget
    for path in paths:
        text = read(path)
        tokens = estimate(render_file(path, text))
        file: ContextFile | None = None
        if tokens <= left and not (overflow == "stop" and left_out):
            file = ContextFile(path, text, tokens)
        elif tokens > budget and overflow == "skip" and cut:
            file = _part(path, text, left if path == paths[-1] else int(left * _PART_SHARE), cut)
        if file is None:
            left_out.append(LeftOut(path, tokens))
        else:
            files.append(file)
            left -= file.tokens
    return Context(tuple(files), tuple(left_out))


def _part(path: str, text: str, room: int, cut: Cut) -> ContextFile | None:
    shown = cut(path, text, room - estimate(render_file(path, "", whole=False)))
    if not shown:
        return None
    tokens = estimate(render_file(path, shown, whole=False))
    return ContextFile(path, shown, tokens, whole=False) if tokens <= room else None


def render_file(path: str, text: str, *, whole: bool = True) -> str:
    """One file between its tags, content verbatim but for tags of the same name."""
    return fence(text, "file", path=path, **({} if whole else {"shown": "in part"})) + "\n"


def render_files(context: Context) -> str:
    """All files of a context, the same bytes wherever a prompt holds them."""
    return "".join(render_file(file.path, file.text, whole=file.whole) for file in context.files)
