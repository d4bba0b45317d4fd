"""How alike two patches are, from 0 to 1: by the code that they add and remove, and by the files that they touch.

Every comparison is the share of two bags' common content (weighted Jaccard). Bags of single tokens forgive another order
and other names, bags of neighbouring tokens see structure; both are compared with and without counts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache

from selection.patches.changes import essence
from selection.patches.code import code, code_lines

_CACHED = 20_000
_EDGE = ""
"""Stands before the first token of a line and after the last one."""


@dataclass(frozen=True, slots=True, eq=False)
class Bag:
    """Content with counts."""

    counts: Mapping[Hashable, int]
    total: int
    """The sum of the counts."""

    def __bool__(self) -> bool:
        return self.total > 0


@dataclass(frozen=True, eq=False)
class Profile:
    """What of a patch is compared. Signs are part of the content: an added token is not like the same token removed.

    Compared and hashed by identity: `profile` gives one object for a diff.
    """

    tokens: Bag
    """(sign, token) with counts."""
    pairs: Bag
    """(sign, token, next token on the line) with counts."""
    lines: Bag
    """(sign, tokens of the line) with counts."""
    functions: Bag
    """(path, name of the function or class around, as far as the hunk shows it), with the number of changed lines."""
    places: Bag
    """(path, number of the old line) of removed lines, and of the lines that something is added before."""
    files: frozenset[str]

    @cached_property
    def empty(self) -> bool:
        """Whether no code is changed."""
        return not self.tokens


@lru_cache(_CACHED)
def profile(diff: str) -> Profile:
    """The profile of a diff, without tests, artefacts, scratch files, comments and docstrings."""
    bags: dict[str, Counter[Hashable]] = {name: Counter() for name in ("tokens", "pairs", "lines", "functions", "places")}
    changes = code(essence(diff))
    for change in changes:
        for hunk in code_lines(change):
            around = ""
            for one in hunk:
                sign = one.line.sign
                around = _defined(one.tokens) or around if sign != "+" else around
                if sign == " ":
                    continue
                bags["tokens"].update((sign, token) for token in one.tokens)
                bags["pairs"].update(
                    zip([sign] * (len(one.tokens) + 1), (_EDGE, *one.tokens), (*one.tokens, _EDGE), strict=True)
                )
                bags["lines"][sign, one.tokens] += 1
                bags["functions"][change.path, around] += 1
                bags["places"][change.path, one.line.old] += 1
    files = frozenset(change.path for change in changes)
    return Profile(**{name: Bag(bag, bag.total()) for name, bag in bags.items()}, files=files)


def _defined(tokens: tuple[str, ...]) -> str:
    words = tokens[1:] if tokens[0] == "async" else tokens
    return words[1] if len(words) > 1 and words[0] in ("def", "class") else ""


def shares(one: Bag, other: Bag) -> tuple[float, float]:
    """The share of what two bags have in common, with counts and without; 0 if one is empty."""
    if not one or not other:
        return 0.0, 0.0
    mine, theirs = one.counts, other.counts
    both = mine.keys() & theirs.keys()
    counted = sum(min(mine[item], theirs[item]) for item in both)
    return counted / (one.total + other.total - counted), len(both) / (len(mine) + len(theirs) - len(both))


def overlap(one: frozenset[str], other: frozenset[str]) -> float:
    """The share of what two sets have in common; 0 if one is empty."""
    return len(one & other) / len(one | other) if one and other else 0.0


def code_likeness(one: Profile, other: Profile) -> float:
    """The mean share of common tokens and pairs of tokens, with counts and without."""
    return sum((*shares(one.tokens, other.tokens), *shares(one.pairs, other.pairs))) / 4


def likeness(one: Profile, other: Profile) -> float:
    """The likeness of the code, halved where the two touch entirely different files."""
    return code_likeness(one, other) * (1 + overlap(one.files, other.files)) / 2
