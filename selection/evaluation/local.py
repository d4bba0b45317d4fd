"""Judges patches in runoff's own sandbox where the official images are not to be had. Not the official evaluation.

The same labels, the same tests, the same parsers and grading; another environment, made of install specs. So before
anything is said of a patch, the environment has to show once that the tests behave in it as the labels say: without a
patch every FAIL_TO_PASS test fails, and with the project's own fix everything passes.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import assert_never

from sandbox.api import Environment, Execution, Limits, Patch, Sandbox
from sandbox.errors import InfrastructureError, InputError
from sandbox.patching import check
from selection.evaluation.commands import Region, command_of, region, trial
from selection.evaluation.harness import Parsers
from selection.evaluation.verdicts import Graded, Judgement, Outcome, Score
from selection.gold import GoldLabels

NAMED = 20
"""Failed tests that a judgement names."""
LIMITS = Limits(seconds=1800.0, memory_mb=4096, processes=1024, disk_mb=2048, output_chars=50_000_000)
"""As long as the official harness waits; room for the log of a whole test suite."""

NOT_STARTED = "the tests of the fix could not be put on the patched tree"
FORCED = "git refuses the patch; it was put on the tree by `patch --batch`, as swebench 4.1 does"

Log = Callable[[str, str], str]
"""(name, text): keeps an output, and says where."""


@dataclass(frozen=True, slots=True)
class Bench:
    """Where an instance's tests run."""

    environment: Environment
    test: str
    """The repository's test command, with or without the files to test; empty if nothing names one."""


class LocalJudge:
    """Judges patches on one instance; what it finds out about the environment is found out once."""

    def __init__(
        self,
        labels: GoldLabels,
        prepare: Callable[[], Awaitable[Bench]],
        sandbox: Sandbox,
        parsers: Parsers,
        *,
        limits: Limits = LIMITS,
        log: Log = lambda name, text: "",
    ) -> None:
        """`prepare` builds the environment at the first patch; raises RunoffError if it cannot."""
        self._labels = labels
        self._prepare = prepare
        self._sandbox = sandbox
        self._parsers = parsers
        self._limits = limits
        self._log = log
        self._ready = asyncio.Lock()
        self._bench: Bench | None = None
        self._objection: Judgement | None = None

    async def judge(self, patch: Patch) -> Judgement:
        """What becomes of the patch. Faults of the infrastructure are values too; raises what is no RunoffError."""
        try:
            async with self._ready:
                if self._bench is None and self._objection is None:
                    await self._check()
            if self._objection is not None:
                return self._objection
            return await self._tried(patch, patch.digest[:12])
        except InfrastructureError as error:
            return Judgement(Outcome.INFRASTRUCTURE, str(error))

    async def _check(self) -> None:
        """Whether the tests behave here as the labels say."""
        try:
            self._bench = await self._prepare()
            self._bench = replace(self._bench, test=command_of(self._labels, self._bench.test))
        except InputError as error:
            self._objection = Judgement(Outcome.ENVIRONMENT, str(error))
            return
        bare = await self._tried(None, "unpatched")
        gold = await self._tried(self._labels.patch, "gold") if self._labels.patch else None
        if reason := _objection(bare, gold):
            log = (gold or bare).log
            self._objection = Judgement(Outcome.ENVIRONMENT, reason, bare.fail_to_pass, (gold or bare).pass_to_pass, log=log)

    async def _tried(self, patch: Patch | None, name: str) -> Judgement:
        """What the tests say of the patch."""
        judgement, refused = await self._once(patch, name)
        if not refused or patch is None or not self._parsers.harness.forces_patches or check(patch.diff):
            return judgement
        forced, _ = await self._once(None, name, patch.diff)
        if forced.reason == NOT_STARTED:
            return judgement
        return replace(forced, reason=f"{forced.reason or 'resolved'}; {FORCED}")

    async def _once(self, patch: Patch | None, name: str, forced: str = "") -> tuple[Judgement, bool]:
        """The judgement, and whether the patch was refused."""
        assert self._bench is not None  # noqa: S101  seen to by the callers
        mark = f"runoff-tests-{secrets.token_hex(8)}"
        script = trial(self._labels, self._bench.test, mark, forced=forced)
        execution = await self._sandbox.execute(self._bench.environment, script, patch, self._limits)
        kept = self._log(name, f"{execution.apply_error}\n{execution.output}" if execution.apply_error else execution.output)
        seen = region(execution.output, mark)
        if ended := _ended(execution, seen, self._limits):
            return replace(ended, seconds=execution.seconds, log=kept), bool(execution.apply_error)
        graded = await self._parsers.grade(self._labels, seen.text)
        return replace(_judged(execution, graded, self._labels), seconds=execution.seconds, log=kept), False


def _ended(execution: Execution, seen: Region, limits: Limits) -> Judgement | None:
    """The judgement where the tests did not come to their end."""
    if execution.apply_error:
        return Judgement(Outcome.NOT_APPLIED, execution.apply_error.strip().splitlines()[-1][:300])
    match execution.limit:
        case "seconds":
            return Judgement(Outcome.TIME_OUT, f"the tests did not end within {limits.seconds:.0f} s")
        case "memory" | "processes" | "disk" | "inodes":
            return Judgement(Outcome.LIMIT, f"the tests reached the limit of {execution.limit}")
        case "output":
            return Judgement(Outcome.LIMIT, f"the tests printed more than {limits.output_chars:,} characters")
        case None:
            pass
        case _:
            assert_never(execution.limit)
    if not seen.started:
        return Judgement(Outcome.UNRESOLVED, NOT_STARTED)
    return None


def _judged(execution: Execution, graded: Graded, labels: GoldLabels) -> Judgement:
    fail_to_pass = Score(len(graded.fail_to_pass[0]), len(labels.fail_to_pass))
    pass_to_pass = Score(len(graded.pass_to_pass[0]), len(labels.pass_to_pass))
    failed = (*graded.fail_to_pass[1], *graded.pass_to_pass[1])[:NAMED]
    outcome, reason = (Outcome.RESOLVED, "") if graded.resolved else (Outcome.UNRESOLVED, "")
    if not graded.ran:
        outcome, reason = Outcome.UNRESOLVED, "no test result is in the log"
    elif graded.resolved and execution.exit_code != 0 and not graded.failures_seen:
        outcome = Outcome.UNRESOLVED
        reason = f"the log tells of no failure, but the test command exits {execution.exit_code}"
    elif not graded.resolved:
        wrong = (("FAIL_TO_PASS", fail_to_pass), ("PASS_TO_PASS", pass_to_pass))
        reason = ", ".join(
            f"{tests.total - tests.passed} of {tests.total} {name} fail" for name, tests in wrong if not tests.all
        )
    return Judgement(outcome, reason, fail_to_pass, pass_to_pass, failed)


def _objection(bare: Judgement, gold: Judgement | None) -> str:
    """Why nothing can be said of patches here; empty if it can."""
    if gold is not None and gold.outcome is not Outcome.RESOLVED:
        named = f" ({', '.join(gold.failed[:3])})" if gold.failed else ""
        return f"with the project's own fix: {gold.outcome}: {gold.reason}{named}"
    if bare.fail_to_pass is None or bare.pass_to_pass is None:
        hangs = gold is not None and bare.outcome in (Outcome.TIME_OUT, Outcome.LIMIT)  # the issue may be just that
        return "" if hangs else f"without a patch: {bare.outcome}: {bare.reason}"
    if bare.fail_to_pass.passed:
        return f"{bare.fail_to_pass.passed} of {bare.fail_to_pass.total} FAIL_TO_PASS tests pass without a patch"
    if gold is None and not bare.pass_to_pass.all:
        missing = bare.pass_to_pass.total - bare.pass_to_pass.passed
        return f"{missing} of {bare.pass_to_pass.total} PASS_TO_PASS tests fail without a patch"
    return ""
