"""The label-free ways of choosing that `eval_selection.py` compares: those that runoff ships, and those that did not help.

A method maps what the members of a set propose, over all instances at once, to a score for each proposal.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from agent.instances import Instance
from sandbox.api import Patch
from selection.chain import Chain, parse_chain
from selection.consensus import Likeness, Pair, Split
from selection.equivalence import Level, classes
from selection.patches.changes import essence
from selection.patches.similarity import Bag, Profile, code_likeness, likeness, overlap, profile, shares
from selection.steps.plain import label_free

Proposed = Mapping[str, Sequence[tuple[str, Patch | None]]]
Scores = Mapping[str, Mapping[str, float]]
"""By instance and member; a member without a patch has none."""
Method = Callable[[Proposed], Scores]
_CACHED = 2_000_000


def shipped(selector: str) -> Method:
    """What `runoff ensemble --selector SELECTOR` chooses: 1 for every member that proposed exactly the chosen patch."""

    def method(proposed: Proposed) -> Scores:
        members = list(dict.fromkeys(member for offers in proposed.values() for member, _ in offers))
        chain = parse_chain(selector, label_free(Split(proposed, like=cached(likeness)), members))
        return asyncio.run(_chosen(chain, proposed))

    return method


async def _chosen(chain: Chain, proposed: Proposed) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    for instance, offers in proposed.items():
        choice = await chain(Instance(instance, "", "", ""), offers)
        chosen = choice.chosen.patch if choice.chosen else None
        found[instance] = {member: float(patch == chosen) for member, patch in offers if patch}
    return found


def agreement(like: Likeness, *, discount: bool, prior: float = 5.0) -> Method:
    """The mean likeness to the others' patches, as it is or in multiples of what is usual for the pair."""

    def method(proposed: Proposed) -> Scores:
        split = Split(proposed, like=cached(like), discount=discount, prior=prior)
        return {instance: {member: one.score for member, one in split.agreements(instance).items()} for instance in proposed}

    return method


def majority(level: Level) -> Method:
    """The size of the class."""

    def method(proposed: Proposed) -> Scores:
        return {instance: _sizes(offers, level) for instance, offers in proposed.items()}

    return method


def _sizes(offers: Sequence[tuple[str, Patch | None]], level: Level) -> dict[str, float]:
    there = [(member, patch) for member, patch in offers if patch]
    groups = classes([patch for _, patch in there], level)
    return {there[index][0]: float(len(group)) for group in groups for index in group}


def shortness(proposed: Proposed) -> Scores:
    """The fewest changed lines, of patches that change any code."""
    return {instance: {m: _shortness(patch) for m, patch in offers if patch} for instance, offers in proposed.items()}


def _shortness(patch: Patch) -> float:
    found = profile(patch.diff)
    return -math.inf if found.empty else -float(found.lines.total)


def with_size(weight: float) -> Method:
    """Consensus less a penalty for a size that is far from the set's median: `weight` for each factor of e."""
    base = agreement(likeness, discount=True)

    def method(proposed: Proposed) -> Scores:
        scores = base(proposed)
        penalized: dict[str, dict[str, float]] = {}
        for instance, offers in proposed.items():
            sizes = {member: math.log1p(profile(patch.diff).lines.total) for member, patch in offers if patch}
            middle = sorted(sizes.values())[len(sizes) // 2] if sizes else 0.0
            penalized[instance] = {
                member: scores[instance][member] - weight * abs(size - middle) for member, size in sizes.items()
            }
        return penalized

    return method


def with_reliability(power: float, rounds: int = 10) -> Method:
    """Members that agree much with the weighted others, over all instances, weigh more (after Dawid and Skene, 1979)."""

    def method(proposed: Proposed) -> Scores:
        split = Split(proposed, like=cached(likeness))
        members = sorted({member for offers in proposed.values() for member, patch in offers if patch})
        weights = dict.fromkeys(members, 1.0)
        for _ in range(rounds):
            scores = {instance: _weighted(split.likenesses(instance), weights) for instance in proposed}
            means = {m: _mean([found[m] for found in scores.values() if m in found]) for m in members}
            level = _mean(list(means.values())) or 1.0
            weights = {member: (mean / level) ** power for member, mean in means.items()}
        present = {i: {m for m, patch in offers if patch} for i, offers in proposed.items()}
        return {i: {m: scores[i].get(m, 0.0) for m in present[i]} for i in proposed}

    return method


def _weighted(likenesses: Mapping[Pair, float], weights: Mapping[str, float]) -> dict[str, float]:
    sums: Counter[str] = Counter()
    whole: Counter[str] = Counter()
    for (one, other), like in likenesses.items():
        for mine, theirs in ((one, other), (other, one)):
            sums[mine] += like * weights[theirs]  # type: ignore[assignment]  # a Counter adds fractions as well
            whole[mine] += weights[theirs]  # type: ignore[assignment]  # likewise
    return {member: sums[member] / whole[member] if whole[member] else 0.0 for member in sums}


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if values else 0.0


def rare_tokens(proposals: Proposed, power: float = 1.0) -> Likeness:
    """Common tokens, each weighted by how few instances any proposal uses it on (inverse document frequency)."""
    seen: Counter[Hashable] = Counter()
    for offers in proposals.values():
        seen.update({token for _, patch in offers if patch for token in profile(patch.diff).tokens.counts})
    return _rarity(seen, len(proposals), power)


def rare_here(proposals: Proposed) -> Likeness:
    """The same, by how rare a token is in the context lines of the files that an issue's proposals touch."""
    near: Counter[Hashable] = Counter()
    for offers in proposals.values():
        for diff in {patch.diff for _, patch in offers if patch}:
            lines = (line.text for change in essence(diff) for hunk in change.hunks for line in hunk if line.sign == " ")
            near.update({word for text in lines for word in text.split()})
    return _rarity(near, max(near.values(), default=1), 1.0)


def _rarity(seen: Mapping[Hashable, int], total: int, power: float) -> Likeness:
    weight = {item: math.log(1 + total / count) ** power for item, count in seen.items()}
    most = math.log(1 + total) ** power

    def like(one: Profile, other: Profile) -> float:
        both = whole = 0.0
        mine, theirs = one.tokens.counts, other.tokens.counts
        for item in mine.keys() | theirs.keys():
            key = item if item in weight else item[1]  # type: ignore[index]  # an item is (sign, token)
            worth = weight.get(key, most)
            counts = mine.get(item, 0), theirs.get(item, 0)
            both += worth * min(counts)
            whole += worth * max(counts)
        return both / whole if whole else 0.0

    return like


def bag(name: str) -> Likeness:
    """The common share of one part of the profiles."""

    def like(one: Profile, other: Profile) -> float:
        mine, theirs = getattr(one, name), getattr(other, name)
        return overlap(mine, theirs) if isinstance(mine, frozenset) else shares(mine, theirs)[0]

    return like


def hierarchy(one: Profile, other: Profile) -> float:
    """Files, functions, places and lines, each level at the same weight."""
    levels: list[tuple[Bag, Bag]] = [(one.functions, other.functions), (one.places, other.places), (one.lines, other.lines)]
    return (overlap(one.files, other.files) + sum(shares(mine, theirs)[0] for mine, theirs in levels)) / 4


_caches: dict[Any, Likeness] = {}


def cached(like: Likeness) -> Likeness:
    """The same, remembering what it said of two profiles: sets share their pairs."""
    if like not in _caches:
        _caches[like] = lru_cache(_CACHED)(like)
    return _caches[like]


def methods(everything: Proposed) -> dict[str, Method]:
    """All methods by the name that the table shows. `everything`: the proposals of all members, for rarity of tokens."""
    parts = {name: bag(name) for name in ("files", "functions", "places", "lines", "tokens", "pairs")}
    likes: dict[str, Likeness] = {**parts, "code": code_likeness, "code and files": likeness}
    plain = {f"{name}": agreement(like, discount=False) for name, like in likes.items()}
    by_usual = {f"{name} / usual": agreement(like, discount=True) for name, like in likes.items()}
    return {
        "consensus (shipped)": shipped("consensus"),
        "majority of text": majority(Level.TEXT),
        "majority of classes": majority(Level.SYNTAX),
        "majority, then consensus": shipped("consensus | equivalence"),
        **plain,
        **by_usual,
        "files+functions+places+lines / usual": agreement(hierarchy, discount=True),
        "rare tokens": agreement(rare_tokens(everything), discount=False),
        "rare tokens / usual": agreement(rare_tokens(everything), discount=True),
        "tokens rare nearby / usual": agreement(rare_here(everything), discount=True),
        "reliability, power 1": with_reliability(1.0),
        "reliability, power 2": with_reliability(2.0),
        "size penalty 0.1": with_size(0.1),
        "size penalty 0.3": with_size(0.3),
        "shortest": shortness,
    }
