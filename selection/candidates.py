"""From the patches that trajectories end with to distinct candidates: equal changes become one, empty ones are dropped.

How many samples came to the same change is evidence of its own (its class size), so merging must not lose it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from unidiff.errors import UnidiffParseError
from unidiff.patch import PatchSet

from sandbox.api import Patch

ID_LENGTH = 10
"""Hexadecimal digits of a patch's digest that name its candidate: 40 bits, ample for thousands of candidates."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A distinct change that one or more samples proposed."""

    id: str
    """The start of the patch's digest: the same change has the same name in every run."""
    patch: Patch
    """The member of the class with the smallest digest; the others differ from it in noise only."""
    origins: tuple[str, ...]
    """Every sample that produced it, such as `editing/3`, in the order given."""

    @property
    def class_size(self) -> int:
        """How many samples came to this change."""
        return len(self.origins)

    @property
    def paths(self) -> tuple[str, ...]:
        """The files that it touches; of a renamed file both names."""
        return tuple(dict.fromkeys((*self.patch.paths, *self.patch.renamed)))

    @property
    def changed_lines(self) -> int:
        """Lines added plus lines removed."""
        return changed_lines(self.patch.diff)


@dataclass(frozen=True, slots=True)
class Dropped:
    """A sample whose result is no candidate."""

    origin: str
    reason: str


def gather(patches: Sequence[tuple[str, Patch | None]]) -> tuple[tuple[Candidate, ...], tuple[Dropped, ...]]:
    """The distinct candidates among (origin, patch), ordered by id, and what was dropped, with reasons.

    None stands for a trajectory that ended without a patch.
    """
    classes: dict[str, list[tuple[str, Patch]]] = {}
    dropped: list[Dropped] = []
    for origin, patch in patches:
        if patch is None:
            dropped.append(Dropped(origin, "the trajectory ended without an edit"))
        elif not patch.diff.strip():
            dropped.append(Dropped(origin, "the patch is empty: the edits change nothing"))
        else:
            classes.setdefault(normalize(patch.diff), []).append((origin, patch))
    candidates = (_candidate(members) for members in classes.values())
    return tuple(sorted(candidates, key=lambda candidate: candidate.id)), tuple(dropped)


def _candidate(members: Sequence[tuple[str, Patch]]) -> Candidate:
    patch = min((patch for _, patch in members), key=lambda patch: patch.digest)
    return Candidate(patch.digest[:ID_LENGTH], patch, tuple(dict.fromkeys(origin for origin, _ in members)))


def normalize(diff: str) -> str:
    """What two diffs of the same change have in common.

    Leaves out what git derives from the trees (`index` lines, the name of the function behind a hunk's range) and white
    space on lines that are otherwise blank. Two diffs with equal normal forms are one candidate.
    """
    kept = [_normal_line(line) for line in diff.split("\n") if not line.startswith("index ")]
    return "\n".join(kept).strip()


def _normal_line(line: str) -> str:
    hunk = re.match(r"@@ -\S+ \+\S+ @@", line)
    if hunk:
        return hunk.group()
    if not line.strip():
        return " "
    if line[0] in "+- " and not line[1:].strip():
        return line[0]
    return line


def changed_lines(diff: str) -> int:
    """Lines added plus lines removed; for a diff that does not parse, the lines that begin with either mark."""
    try:
        files = PatchSet(diff)
    except UnidiffParseError:
        return sum(line.startswith(("+", "-")) for line in diff.split("\n"))
    return sum(file.added + file.removed for file in files)
