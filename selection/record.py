"""What a selection leaves behind: who was compared, with which votes, and why the winner won.

This is the `selection` of `result.json`, and all that `runoff show` needs to explain it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError

from sandbox.api import Language, Patch, Verdict
from sandbox.errors import StoreError
from selection.candidates import Dropped
from selection.chain import StepRecord
from selection.votes import Standing


class Method(StrEnum):
    """What decided."""

    TRAJECTORY = "selection trajectory"
    SINGLE = "single prompt"
    PAIRWISE = "comparison in pairs"
    CONSENSUS = "consensus"
    VOTES = "votes"
    CLASS_SIZE = "class size"
    SHORTNESS = "shortness"
    DIGEST = "digest"
    ONLY = "only candidate"
    NONE = "no candidate"


@dataclass(frozen=True, slots=True)
class Entrant:
    """A candidate and how it fared."""

    id: str
    origins: tuple[str, ...]
    diff: str
    class_size: int
    """Samples that came to this change."""
    changed_lines: int
    votes: int
    verdicts: Mapping[str, Verdict]
    """By script digest; scripts that never ran on it are not in it."""
    finalist: bool
    reason: str
    """Why it won or lost."""


@dataclass(frozen=True, slots=True)
class Trial:
    """A script of the selection trajectory and what it showed."""

    script: str
    """Its text."""
    language: Language
    baseline: Verdict
    verdicts: Mapping[str, Verdict]
    """By candidate id."""


@dataclass(frozen=True, slots=True)
class Selection:
    """The outcome of a run-off between candidates."""

    chosen: str | None
    """The winner's id; None if there was nobody to choose."""
    method: Method
    reason: str
    """Why the winner won, in a sentence."""
    vote_took_place: bool
    """Whether at least one script qualified to vote."""
    shortlist: tuple[str, ...]
    """Ids of the finalists, in the order in which they came to the first step that may ask a model."""
    candidates: tuple[Entrant, ...]
    """All candidates: the finalists, then the others by rank, then those that do not apply."""
    standings: tuple[Standing, ...]
    dropped: tuple[Dropped, ...] = ()
    calls: int = 0
    """Model calls of all steps."""
    trials: tuple[Trial, ...] = ()
    argument: str = ""
    """What the model said for its choice."""
    selector: str = ""
    """The chain; empty in the records of an older runoff, which knew votes and the selection trajectory only."""
    steps: tuple[StepRecord, ...] = ()
    """What each step said, trials and arguments aside."""
    spared: tuple[str, ...] = ()
    """Steps that an early stop left out."""
    alike: tuple[tuple[str, ...], ...] = ()
    """Candidates of different code that no script told apart: their ids in groups. For readers; nothing rests on it."""
    first_by_votes: str = ""
    """Id of the candidate that votes alone would choose; empty in older records, where it is the first of the short-list."""

    @property
    def winner(self) -> Entrant | None:
        """The chosen candidate."""
        return next((one for one in self.candidates if one.id == self.chosen), None)

    @property
    def by_votes(self) -> Entrant | None:
        """Whom votes alone would choose."""
        wanted = self.first_by_votes or next(iter(self.shortlist), None)
        return next((one for one in self.candidates if one.id == wanted), None)

    @property
    def patch(self) -> Patch | None:
        """The chosen candidate's patch."""
        return Patch(self.winner.diff) if self.winner else None

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        dumped: dict[str, Any] = _adapter().dump_python(self, mode="json")
        return dumped

    @staticmethod
    def from_json(value: Any, where: str = "") -> Selection:
        """From what `to_json` made; `where` is the file for the message. Raises StoreError if it is something else."""
        try:
            return _adapter().validate_python(value)
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(step) for step in first["loc"])
            raise StoreError(
                f"not the record of a selection: {field}: {first['msg']}",
                where=where,
                hint="restore the file, or repeat the selection: runoff resume RUN",
            ) from error


@cache
def _adapter() -> TypeAdapter[Selection]:
    return TypeAdapter(Selection)
