"""What a model can ask to be changed, and the closed list of what can be wrong with that.

Nothing here is an exception: a fault is a value that goes back to the model in words (`diagnose`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from agent.encodings import Text
from agent.repository import SourceFile

Lines = tuple[str, ...]
"""Lines without their ends."""


@dataclass(frozen=True, slots=True)
class Replace:
    """Put some lines in the place of others, which the file must have exactly once."""

    number: int
    """Which block of the reply this is, from 1."""
    path: str
    halves: tuple[tuple[Lines, Lines], ...]
    """(search, replace). Several where more than one line could be the divider; the file decides."""


@dataclass(frozen=True, slots=True)
class Create:
    """A new file."""

    number: int
    path: str
    lines: Lines


@dataclass(frozen=True, slots=True)
class Rewrite:
    """A file's whole new text; a new file if there is none at the path."""

    number: int
    path: str
    lines: Lines


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove a file."""

    number: int
    path: str


Edit = Replace | Create | Rewrite | Delete


class FaultKind(StrEnum):
    """What is wrong with a block."""

    NO_BLOCK = "no block found"
    MALFORMED = "malformed block"
    BAD_PATH = "path that cannot be used"
    EMPTY_SEARCH = "empty search"
    UNKNOWN_PATH = "no such file"
    OUTSIDE_CONTEXT = "file that you have not seen"
    SEEN_IN_PART = "file that you have not seen whole"
    FILE_EXISTS = "file exists already"
    FILE_MISSING = "file to delete does not exist"
    NOT_FOUND = "lines not found"
    WHITESPACE = "white space differs"
    ALREADY_APPLIED = "already applied"
    AMBIGUOUS = "lines found more than once"
    OVERLAP = "overlap"
    NO_CHANGE = "no change"
    NOT_ENCODABLE = "character that the file cannot hold"


@dataclass(frozen=True, slots=True)
class Nearest:
    """Lines of a file that come close to what was searched for."""

    path: str
    first: int
    """Number of the first line, from 1."""
    lines: Lines


@dataclass(frozen=True, slots=True)
class EditFault:
    """One thing that is wrong with one block."""

    kind: FaultKind
    block: int
    """Number of the block, from 1; 0 for the reply as a whole."""
    message: str
    """In words, for the model."""
    path: str = ""
    echo: str = ""
    """The search lines or the block, bounded."""
    nearest: Nearest | None = None
    other_file: str = ""
    """Another file of the context in which the lines are."""


@dataclass(frozen=True, slots=True)
class Faults:
    """Why there is no patch."""

    feedback: str
    """What the model is told."""
    faults: tuple[EditFault, ...]

    shown: tuple[str, ...] = ()
    """Files outside the context whose text is in the feedback: from now on the model may edit them."""


class Tree(Protocol):
    """What edits need of `agent.repository.Repository`."""

    @property
    def special(self) -> frozenset[str]:
        """Paths of symbolic links and submodules."""
        ...

    def files(self) -> Sequence[SourceFile]:
        """All regular files."""
        ...

    def entry(self, path: str) -> SourceFile | None:
        """The regular file at a path."""
        ...

    def decode(self, path: str) -> Text:
        """A file's text with its encoding."""
        ...

    def read_bytes(self, path: str) -> bytes:
        """A file's content."""
        ...
