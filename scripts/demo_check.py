"""Judges the demo's patch by what no stage of the run has seen, in the sandbox that the run used.

The patch may come from any model (`scripts/demo --live`), so it is not run on the host. The environment is the run's own:
the same specification is found in the sandbox's cache.
"""

import argparse
import asyncio
import sys
from dataclasses import dataclass
from pathlib import Path

from git import Repo

from sandbox.api import Environment, EnvironmentSpec, Patch, Sandbox, Script
from sandbox.errors import RunoffError
from sandbox.probe import Kind, choose

ACCEPTANCE = Path(__file__).parents[1] / "runs" / "demo" / "acceptance.py"


@dataclass(frozen=True, slots=True)
class Check:
    """One script on one tree, and whether it should exit 0 there; pytest exits 1 where a test fails."""

    words: str
    script: Script
    patch: Patch | None
    should_pass: bool

    async def holds(self, sandbox: Sandbox, environment: Environment) -> bool:
        """Runs the script and prints what became of it; its whole output if that is not what should be."""
        execution = await sandbox.execute(environment, self.script, self.patch)
        holds = execution.exit_code == (0 if self.should_pass else 1)
        last = execution.output.rstrip().rpartition("\n")[2]
        print(f"  {'ok ' if holds else 'NOT'} {self.words}: {last or execution.apply_error}")
        if not holds:
            print(execution.output, file=sys.stderr)
        return holds


def checks(patch: Patch, regression: str) -> list[Check]:
    """The issue's test without and with the patch, and the project's own tests with it."""
    issue = Script(ACCEPTANCE.read_text())
    return [
        Check("the issue's test fails before the patch", issue, None, should_pass=False),
        Check("the issue's test passes after the patch", issue, patch, should_pass=True),
        Check("the project's own tests pass after it", Script(regression, "bash"), patch, should_pass=True),
    ]


async def judge(kind: Kind, spec: EnvironmentSpec, todo: list[Check]) -> bool:
    """Whether all checks hold. Raises RunoffError if the sandbox fails."""
    sandbox = await choose(kind)
    try:
        environment = await sandbox.build(spec)
        return all([await check.holds(sandbox, environment) for check in todo])
    finally:
        await sandbox.close()


def main() -> int:
    """0 if the patch does what the issue asks for and breaks nothing, 1 if not, as the error says where that is unknown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--repo", type=Path, required=True)
    parser.add_argument("--setup", required=True)
    parser.add_argument("--test-command", required=True)
    parser.add_argument("--sandbox", choices=("auto", "docker", "portable", "local"), default="auto")
    parser.add_argument("--patch", type=Path, required=True)
    options = parser.parse_args()
    spec = EnvironmentSpec(Repo(options.repo).head.commit.hexsha, options.repo, setup=options.setup)
    todo = checks(Patch(options.patch.read_text()), options.test_command)
    try:
        return 0 if asyncio.run(judge(options.sandbox, spec, todo)) else 1
    except RunoffError as error:
        print(f"error: {error.message}\n  where: {error.where}\n  try:   {error.hint}", file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
