"""The steps of `runoff solve`'s chain that rest on its execution matrix: who applies, and who has the most votes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from selection.chain import Contest, Placed, Ruling
from selection.outcomes import counted, line_of
from selection.ranking import rank
from selection.votes import Tally


@dataclass(frozen=True, slots=True)
class Applies:
    """Drops what could not be put on the tree."""

    tallies: Mapping[str, Tally]
    """By candidate."""
    name: str = "applies"

    async def __call__(self, contest: Contest) -> Ruling:
        """Keeps the order."""
        faults = {one.id: self.tallies[one.id].apply_error for one in contest.candidates}
        kept = tuple(Placed(one, "it applies") for one in contest.candidates if not faults[one.id])
        stuck = [one for one in contest.candidates if faults[one.id]]
        return Ruling(kept, tuple(Placed(one, f"does not apply: {line_of(faults[one.id])}") for one in stuck))


@dataclass(frozen=True, slots=True)
class Votes:
    """Puts first whom the most scripts vote for, then the bigger class, the shorter patch (`selection.ranking`)."""

    tallies: Mapping[str, Tally]
    """By candidate."""
    voters: int
    """Scripts that vote."""
    name: str = "votes"

    async def __call__(self, contest: Contest) -> Ruling:
        """A candidate's score is its votes. The order so far has no influence."""
        ranked = rank(contest.candidates, self.tallies)
        kept = tuple(Placed(one.candidate, counted(one.votes, "vote"), one.votes) for one in ranked)
        return Ruling(kept, note=f"{counted(self.voters, 'script')} voted" if self.voters else "no script may vote")
