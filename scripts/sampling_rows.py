"""Makes rows like SWE-bench's of fixes in clones, for `scripts/sampling_experiment.py`.

A bug is a fix and a text of ours about the symptom. Base commit, gold patch and tests come from the clone; which tests fail
before the fix and pass after it is found by running them, in the environments that the rows will be worked on and judged in.
"""

from __future__ import annotations

import secrets
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from git import GitCommandError, Repo

from agent import clones
from agent.cli.environment import prepare
from agent.cli.inputs import NOTHING, inputs_of
from agent.cli.settings import validated
from agent.context.candidates import is_test
from agent.instances import Instance
from sandbox.api import Patch, Sandbox
from sandbox.errors import InputError
from selection.evaluation.commands import command_of, region, trial
from selection.evaluation.harness import Parsers
from selection.evaluation.local import LIMITS
from selection.gold import GoldLabels

TEST_COMMAND = "python -m pytest -rA --color=no -p no:cacheprovider"
PARSER, KIND = "parse_log_pytest", "pass_and_fail"


@dataclass(frozen=True, slots=True)
class Bug:
    """One entry of the list."""

    repo: str
    """`owner/name`."""
    fix: str
    """Full id of the commit that mends it."""
    install: str
    statement: str
    fails: int
    """Tests that fail before the fix and pass after it; found by running when the list was made."""

    @property
    def id(self) -> str:
        """Such as `owner__name-0123abc`."""
        return f"{self.repo.replace('/', '__')}-{self.fix[:7]}"

    @property
    def environment(self) -> dict[str, Any]:
        """Its entry in a file of install specs."""
        return {"instance_id": self.id, "install_commands": [self.install], "test_command": TEST_COMMAND}


@dataclass(frozen=True, slots=True)
class Fix:
    """What a clone says of a bug."""

    clone: Path
    base: str
    """The commit before the fix."""
    patch: str
    """What the fix changes in Python files that are no tests."""
    tests: str
    """What it changes in tests."""


def read_bugs(path: Path) -> tuple[Bug, ...]:
    """The list. Raises InputError for one that cannot be read, or an entry that is not as the others."""
    try:
        held = tomllib.loads(path.read_text("utf-8"))["bug"]
        return tuple(Bug(**{**entry, "statement": entry["statement"].strip() + "\n"}) for entry in held)
    except (OSError, KeyError, TypeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"no list of bugs: {error}", where=str(path), hint="see class Bug in sampling_rows.py") from None


def fix_of(bug: Bug, repos: Path) -> Fix:
    """The fix in its clone. Raises InputError if there is no clone, or no such commit in it."""
    place = clones.require(repos, bug.repo)
    with Repo(place) as repo:
        try:
            base: str = repo.git.rev_parse("--verify", f"{bug.fix}^")
            paths = repo.git.diff("--name-only", "-z", base, bug.fix).split("\0")
        except GitCommandError as error:
            message = f"no commit {bug.fix[:12]} with a parent: {error.stderr.strip()}"
            raise InputError(message, where=str(place), hint="clone it with its history") from None
        tests = [path for path in paths if path and is_test(path, "exclude")]
        code = [path for path in paths if path.endswith(".py") and path not in tests]
        return Fix(place, base, *(_diff(repo, base, bug.fix, chosen) for chosen in (code, tests)))


def _diff(repo: Repo, base: str, fix: str, paths: Sequence[str]) -> str:
    options = ("--no-color", "--no-ext-diff", "--no-renames", "--binary")
    text: str = repo.git.diff(*options, base, fix, "--", *paths, strip_newline_in_stdout=False) if paths else ""
    return text


async def make_row(bug: Bug, fix: Fix, specs: Path, sandbox: Sandbox, parsers: Parsers) -> dict[str, Any]:
    """The row, with the tests that were found by running. `specs`: the install specs that have the bug's environment.

    Raises InputError where the tests do not show the fix, or not as they did when the list was made.
    """
    before, after = await _passed(bug, fix, specs, sandbox, parsers)
    mended, kept = sorted(after - before), sorted(after & before)
    if len(mended) != bug.fails or not mended:
        message = f"{len(mended)} tests fail before the fix and pass after it, the list has {bug.fails}"
        raise InputError(message, where=bug.id, hint=f"look at them: {', '.join(mended[:5])}")
    return {
        "instance_id": bug.id,
        "repo": bug.repo,
        "base_commit": fix.base,
        "version": bug.fix[:7],
        "problem_statement": bug.statement,
        "patch": fix.patch,
        "test_patch": fix.tests,
        "FAIL_TO_PASS": mended,
        "PASS_TO_PASS": kept,
        "log_parser": PARSER,
        "eval_type": KIND,
    }


async def _passed(bug: Bug, fix: Fix, specs: Path, sandbox: Sandbox, parsers: Parsers) -> tuple[set[str], set[str]]:
    """Which of the fix's tests pass without it, and which with it."""
    instance = Instance(bug.id, bug.repo, fix.base, bug.statement, bug.fix[:7])
    settings = validated({"repo": str(fix.clone), "install_specs": str(specs)})
    inputs = inputs_of(instance, settings)
    with inputs.repository:
        settled = await prepare(sandbox, replace(inputs, test=NOTHING), settings, lambda line: None)
    labels = GoldLabels(bug.id, bug.repo, bug.fix[:7], Patch(fix.tests), (), (), None, log_parser=PARSER, eval_type=KIND)
    passed = []
    for patch in (None, Patch(fix.patch)):
        mark = f"runoff-tests-{secrets.token_hex(8)}"
        script = trial(labels, command_of(labels, TEST_COMMAND), mark)
        execution = await sandbox.execute(settled.environment, script, patch, LIMITS)
        graded = await parsers.grade(labels, region(execution.output, mark).text)
        passed.append({test for test, status in graded.statuses.items() if status == "PASSED"})
    return passed[0], passed[1]
