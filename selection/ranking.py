"""Ranks the candidates by their votes, and says in words how two of them stand to each other.

The reference (arXiv 2501.14723, and its code) sorts by votes, then by the length of the diff. Ours puts the class size
between the two: that several samples came to the same change is better evidence than that a diff is short. Where no
script votes, everyone has no votes, and the same order is class size, then shortness, then digest.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from selection.candidates import Candidate
from selection.votes import Tally


class Criterion(StrEnum):
    """What puts one candidate before another, the strongest first."""

    VOTES = "votes"
    CLASS_SIZE = "class size"
    SHORTNESS = "shortness"
    DIGEST = "digest"


@dataclass(frozen=True, slots=True)
class Ranked:
    """A candidate with what it is ranked by."""

    candidate: Candidate
    votes: int

    @property
    def key(self) -> tuple[int, int, int, str]:
        """Smaller is better; one entry for each Criterion, in order."""
        candidate = self.candidate
        return -self.votes, -candidate.class_size, candidate.changed_lines, candidate.patch.digest


def rank(candidates: Iterable[Candidate], tallies: Mapping[str, Tally]) -> tuple[Ranked, ...]:
    """The candidates, the best first; the order in which they come has no influence. `tallies` by candidate."""
    return tuple(sorted((Ranked(one, tallies[one.id].votes) for one in candidates), key=lambda one: one.key))


def deciding(better: Ranked, worse: Ranked) -> Criterion:
    """The first criterion in which the two differ."""
    pairs = zip(Criterion, better.key, worse.key, strict=True)
    return next((criterion for criterion, one, other in pairs if one != other), Criterion.DIGEST)


def compare(one: Ranked, other: Ranked, name: str) -> str:
    """How `one` stands to `other`, called `name`, by what decides: `fewer votes than the winner (1 against 3)`."""
    ahead = one.key < other.key
    mine, theirs = one.candidate, other.candidate
    match deciding(one, other):
        case Criterion.VOTES:
            return f"{'more' if ahead else 'fewer'} votes than {name} ({one.votes} against {other.votes})"
        case Criterion.CLASS_SIZE:
            sizes = f"{mine.class_size} against {theirs.class_size}"
            return f"found by {'more' if ahead else 'fewer'} samples than {name} ({sizes})"
        case Criterion.SHORTNESS:
            lines = f"{mine.changed_lines} changed lines against {theirs.changed_lines}"
            return f"{'shorter' if ahead else 'longer'} than {name} ({lines})"
        case Criterion.DIGEST:
            return f"level with {name} in votes, samples and length; {'first' if ahead else 'later'} by digest"
