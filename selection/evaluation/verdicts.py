"""What evaluating a patch can come to, and why faults of the infrastructure are none of the patch's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any


class Outcome(StrEnum):
    """Closed: everything that is counted is one of these."""

    RESOLVED = "resolved"
    UNRESOLVED = "unresolved"
    NO_PATCH = "no patch"
    NOT_APPLIED = "patch does not apply"
    TIME_OUT = "time-out"
    LIMIT = "limit"
    """Memory, disk or processes that the tests of the gold patch did not need."""
    INFRASTRUCTURE = "infrastructure"
    """Not judged: an engine, an image, a disk or a harness failed. Tried again by the next call."""
    ENVIRONMENT = "environment"
    """Not judged: without the patch the tests here do not behave as the labels say, so nothing can be said of it."""

    @property
    def judged(self) -> bool:
        """Whether it says something about the patch."""
        return self not in (Outcome.INFRASTRUCTURE, Outcome.ENVIRONMENT)


@dataclass(frozen=True, slots=True)
class Score:
    """How many tests of a list passed."""

    passed: int
    total: int

    @property
    def all(self) -> bool:
        """Whether none failed."""
        return self.passed == self.total


@dataclass(frozen=True, slots=True)
class Judgement:
    """What became of one patch on one instance."""

    outcome: Outcome
    reason: str = ""
    """In words; empty where the outcome says it all."""
    fail_to_pass: Score | None = None
    """None if no tests were seen."""
    pass_to_pass: Score | None = None
    failed: tuple[str, ...] = ()
    """Tests that should have passed, the first of them."""
    seconds: float = 0.0
    log: str = ""
    """Where the output lies, relative to the folder of the evaluation."""

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, held: Mapping[str, Any]) -> Judgement:
        """The inverse of `to_json`. Raises KeyError, TypeError or ValueError for what is something else."""
        counts = {name: Score(**held[name]) if held[name] else None for name in ("fail_to_pass", "pass_to_pass")}
        return cls(**{**held, **counts, "outcome": Outcome(held["outcome"]), "failed": tuple(held["failed"])})


NO_PATCH = Judgement(Outcome.NO_PATCH)


@dataclass(frozen=True, slots=True)
class Graded:
    """What the harness's own parser and grading make of a test log."""

    resolved: bool
    ran: bool
    """Whether anything in the log says that tests ran."""
    statuses: Mapping[str, str] = field(default_factory=dict)
    """By test id: PASSED, FAILED, SKIPPED, ERROR or XFAIL."""
    fail_to_pass: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
    """(passed, failed)."""
    pass_to_pass: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
    """(passed, failed)."""

    @property
    def failures_seen(self) -> bool:
        """Whether the log tells of any test that failed."""
        return any(status in ("FAILED", "ERROR") for status in self.statuses.values())
