"""Whether an environment is fit to spend money on: asked before the first model call."""

from __future__ import annotations

import re
from dataclasses import dataclass

from sandbox.api import Environment, Execution, Limit, Limits, Sandbox, Script, Verdict
from sandbox.errors import EnvironmentBuildError
from sandbox.suite import counts, reached, reason, starts, uncoloured

LAST_LINES = 15
HINT = "correct --setup or --image, then: runoff doctor"
PYTHON = Script("import sys\nprint('runoff-python: %d.%d.%d' % sys.version_info[:3])\n")
TREE = Script(
    "head=$(git rev-parse HEAD) && changed=$(git status --porcelain --untracked-files=no) || exit 1\n"
    'echo "runoff-head: $head" && echo "runoff-changed: $(printf \'%s\' "$changed" | grep -c ^)"\n'
    "touch .runoff-writable && rm .runoff-writable\n",
    "bash",
)


@dataclass(frozen=True, slots=True)
class Baseline:
    """What was found out about a healthy environment."""

    python: str
    """Version of its interpreter, such as `3.11.2`."""
    test_exit: int | None = None
    """Exit code of the test command on the unpatched tree; None if none was given. Not zero is a warning, no fault."""
    test_tail: str = ""
    """Last lines of the test command's output."""
    test_limit: Limit | None = None
    """The limit that ended the test command."""
    test_seconds: float = 0.0

    @property
    def warning(self) -> str:
        """What the user should know, in words; empty if nothing."""
        counted = counts(self.test_tail)
        if self.test_limit == "seconds":
            return f"the test command did not end within {self.test_seconds:.0f} s{reached(self.test_tail)}"
        if not self.test_exit:
            return ""
        if not self.tests_start:
            return f"the tests do not start (exit code {self.test_exit}): {reason(self.test_tail)}"
        return f"the test command exits {self.test_exit} on the unpatched tree" + (f": {counted}" if counted else "")

    @property
    def tests(self) -> str:
        """What the test command counted, such as `312 passed`; empty if that cannot be read, or there is none."""
        return "" if self.test_exit is None else counts(self.test_tail)

    @property
    def tests_start(self) -> bool:
        """False where the test command ended before it ran a test; True as well where there is no test command."""
        if self.test_exit in (None, 0) or self.test_limit == "seconds":
            return True
        return starts(self.test_exit or 0, self.test_tail)


async def check_baseline(
    sandbox: Sandbox,
    environment: Environment,
    *,
    base_commit: str = "",
    test_command: str = "",
    limits: Limits = Limits(),  # noqa: B008  frozen
    test_limits: Limits | None = None,
) -> Baseline:
    """Run a trivial script of each language, and the test command once.

    `base_commit`: full id that the tree must be at, with no tracked file changed; not asked for if empty.
    `test_limits`: of the test command, where they are not `limits`.
    Raises EnvironmentBuildError if the environment cannot be used, SandboxError if the sandbox failed.
    """
    python = _healthy(await sandbox.execute(environment, PYTHON, None, limits), "a Python script", environment)
    tree = _healthy(await sandbox.execute(environment, TREE, None, limits), "a bash script in the tree", environment)
    head, changed = _said(tree, "head"), _said(tree, "changed")
    if base_commit and (head != base_commit or changed != "0"):
        found = f"the tree is at {head[:12]}" if head != base_commit else f"{changed} tracked files differ from {head[:12]}"
        raise EnvironmentBuildError(f"the tree is not at the base commit: {found}", where=environment.location, hint=HINT)
    version = _said(python, "python")
    if not test_command:
        return Baseline(version)
    tests = await sandbox.execute(environment, Script(test_command, "bash"), None, test_limits or limits)
    ended = -9 if tests.exit_code is None or tests.limit not in (None, "output") else tests.exit_code
    tail = "\n".join(uncoloured(tests.output).splitlines()[-LAST_LINES:])
    return Baseline(version, ended, tail, tests.limit, tests.seconds)


def _said(execution: Execution, name: str) -> str:
    """What a probe printed under a name; around it may stand warnings of the interpreter."""
    found = re.search(rf"^runoff-{name}: (.*)$", execution.output, re.MULTILINE)
    return found[1].strip() if found else ""


def _healthy(execution: Execution, what: str, environment: Environment) -> Execution:
    if execution.verdict is Verdict.PASS:
        return execution
    why = f"limit: {execution.limit_words}" if execution.limit else f"exit code {execution.exit_code}"
    said = execution.output.strip()[-500:]
    raise EnvironmentBuildError(
        f"the environment cannot run {what} ({why}): {said}".rstrip(": "), where=environment.location, hint=HINT
    )
