"""Selection by agreement alone: no model, no execution, no label.

Right patches resemble each other; wrong ones are wrong in many ways. So the patch that is most like the others' is the
best guess. But members that always agree (runs of one system, systems on one model) tell little by agreeing once more,
so each pair's likeness counts in multiples of what is usual for that pair. What is usual is measured over all
instances of the split, from the patches alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import combinations

from sandbox.api import Patch
from selection.patches.similarity import Profile, likeness, profile

Proposals = Sequence[tuple[str, Patch | None]]
"""What the members propose for one instance: (member, patch), None where it has none."""
Pair = tuple[str, str]
"""Two members, in alphabetical order."""
Likeness = Callable[[Profile, Profile], float]


@dataclass(frozen=True, slots=True)
class Agreement:
    """How much one member's patch agrees with those of the others."""

    member: str
    score: float
    """The mean over the others of likeness / usual likeness: 1 is as usual. 0 without anybody to agree with."""
    likest: tuple[tuple[str, float], ...]
    """The other members with the likeness of their patches, the most alike first."""


@dataclass(frozen=True)
class Split:
    """The proposals for all instances that are selected for together."""

    proposals: Mapping[str, Proposals]
    """By instance."""
    like: Likeness = likeness
    discount: bool = True
    """Whether a pair's likeness is measured by what is usual for it."""
    prior: float = 5.0
    """How many instances the mean over all pairs weighs in what is usual for one pair: for splits of few instances."""
    _likenesses: dict[str, dict[Pair, float]] = field(default_factory=dict, repr=False)

    @cached_property
    def usual(self) -> Mapping[Pair, float]:
        """The mean likeness of each pair that ever met, drawn towards the mean over all pairs where they met seldom."""
        met: dict[Pair, list[float]] = {}
        for instance in sorted(self.proposals):
            for pair, like in self.likenesses(instance).items():
                met.setdefault(pair, []).append(like)
        if not met:
            return {}
        every = math.fsum(map(math.fsum, met.values())) / sum(map(len, met.values())) or 1.0
        return {pair: (math.fsum(likes) + self.prior * every) / (len(likes) + self.prior) for pair, likes in met.items()}

    def likenesses(self, instance: str) -> Mapping[Pair, float]:
        """The likeness of each two proposals that change any code."""
        if instance not in self._likenesses:
            profiles = {member: profile(patch.diff) for member, patch in self.proposals[instance] if patch is not None}
            members = sorted(member for member, one in profiles.items() if not one.empty)
            self._likenesses[instance] = {
                (one, other): self.like(profiles[one], profiles[other]) for one, other in combinations(members, 2)
            }
        return self._likenesses[instance]

    def agreements(self, instance: str) -> dict[str, Agreement]:
        """The agreement of each proposal, by member; the order of members has no influence."""
        members = sorted(member for member, patch in self.proposals[instance] if patch is not None)
        return {member: self._agreement(instance, member) for member in members}

    def _agreement(self, instance: str, member: str) -> Agreement:
        found = self.likenesses(instance)
        mine = {pair: like for pair, like in found.items() if member in pair}
        parts = [like / self.usual[pair] if self.discount else like for pair, like in mine.items()]
        others = ((one if other == member else other, mine[one, other]) for one, other in mine)
        likest = tuple(sorted(others, key=lambda other: (-other[1], other[0])))
        return Agreement(member, math.fsum(parts) / len(parts) if parts else 0.0, likest)
