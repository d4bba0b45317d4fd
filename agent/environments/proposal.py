"""What was found out about a repository: commands, each with the evidence for it in words."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Self

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

SHOWN = 300
"""Characters of a command that are shown."""
SLACK = 2
"""Minor versions of Python that code is taken to survive beyond those it was tested with."""


@dataclass(frozen=True, slots=True)
class Found:
    """A command and why it is believed."""

    value: str
    """A shell command; for a set-up, empty if there is nothing to install."""
    evidence: str
    """Such as `[project.optional-dependencies] test in pyproject.toml`."""


@dataclass(frozen=True, slots=True)
class PythonRange:
    """The interpreters that a repository is written for."""

    requires: str
    """A specifier (PEP 440) such as `>=3.8`; empty if none is stated."""
    requires_evidence: str
    tested: tuple[str, ...]
    """Versions `3.N` that it is tested with, oldest first; empty if unknown."""
    tested_evidence: str

    def objection(self, version: str) -> str:
        """Why an interpreter of this version (`3.11.2`) may not do, in words; empty if it should."""
        if self.requires and not _contains(self.requires, version):
            return f"the repository needs Python {self.requires} ({self.requires_evidence}), this is {version}"
        if self.tested and minor(version)[1] > minor(self.tested[-1])[1] + SLACK:
            return f"the repository is tested up to Python {self.tested[-1]} ({self.tested_evidence}), this is {version}"
        return ""


@dataclass(frozen=True, slots=True)
class Proposal:
    """How to set a repository up and how to test it."""

    setups: tuple[Found, ...] = ()
    """Candidates, the likeliest first; empty if nothing was found."""
    test: Found | None = None
    python: PythonRange | None = None


@dataclass(frozen=True, slots=True)
class Recorded:
    """What a run found and uses; kept with the instance, so that resuming guesses nothing."""

    setup: Found
    test: Found

    def to_json(self) -> dict[str, Any]:
        """For instance.json."""
        return {
            "setup": {"value": self.setup.value, "evidence": self.setup.evidence},
            "test": {"value": self.test.value, "evidence": self.test.evidence},
        }

    @classmethod
    def from_json(cls, recorded: dict[str, Any]) -> Self:
        """From what `to_json` made."""
        return cls(Found(**recorded["setup"]), Found(**recorded["test"]))


def minor(version: str) -> tuple[int, int]:
    """(3, 11) for `3.11.2`; (0, 0) for what is no version."""
    try:
        parsed = Version(version)
    except InvalidVersion:
        return (0, 0)
    return (parsed.major, parsed.minor)


def shown(command: str) -> str:
    """A command from a stranger's file on one line: nothing in it can move the cursor, and it has a bounded length."""
    plain = "".join(char if char.isprintable() else json.dumps(char)[1:-1] for char in command[: SHOWN + 1])
    return plain if len(command) <= SHOWN else plain[:SHOWN] + " ..."


def _contains(specifier: str, version: str) -> bool:
    try:
        return SpecifierSet(specifier).contains(version, prereleases=True)
    except (InvalidSpecifier, InvalidVersion):
        return True
