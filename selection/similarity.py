"""How alike two patches are, from 0 to 1: by the code that they add and remove, and by the files that they touch.

Every comparison is the share of two bags' common content (weighted Jaccard). Bags of single tokens forgive another order
and other names, bags of neighbouring tokens see structure; both are compared with and without counts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache

from selection.changes import essence
from selection.code import code, code_lines

_CACHED = 20_000
_EDGE = ""
"""Stands before the first token of a line and after the last one."""

Bag = Mapping[Hashable, int]


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
    return Profile(**bags, files=frozenset(change.path for change in changes))


def _defined(tokens: tuple[str, ...]) -> str:
    words = tokens[1:] if tokens[0] == "async" else tokens
    return words[1] if len(words) > 1 and words[0] in ("def", "class") else ""


def common(one: Bag, other: Bag) -> float:
    """The share of what two bags have in common, with counts; 0 if one is empty."""
    if not one or not other:
        return 0.0
    small, large = (one, other) if len(one) <= len(other) else (other, one)
    both = sum(min(count, large.get(item, 0)) for item, count in small.items())
    return both / (sum(one.values()) + sum(other.values()) - both)


def overlap(one: Bag | frozenset[str], other: Bag | frozenset[str]) -> float:
    """The share of what two sets have in common; 0 if one is empty."""
    if not one or not other:
        return 0.0
    both = len(
        one.keys() & other.keys() if isinstance(one, Mapping) and isinstance(other, Mapping) else set(one) & set(other)
    )
    return both / (len(one) + len(other) - both)


def code_likeness(one: Profile, other: Profile) -> float:
    """The mean share of common tokens and pairs of tokens, with counts and without."""
    shares = (
        common(one.tokens, other.tokens),
        overlap(one.tokens, other.tokens),
        common(one.pairs, other.pairs),
        overlap(one.pairs, other.pairs),
    )
    return sum(shares) / len(shares)


def likeness(one: Profile, other: Profile) -> float:
    """The likeness of the code, halved where the two touch entirely different files."""
    return code_likeness(one, other) * (1 + overlap(one.files, other.files)) / 2
