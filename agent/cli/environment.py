"""From an instance to an environment that is fit to spend money on: what was asked for, else what was found in the files.

Of several candidates for the set-up the first one is taken that builds, is healthy, and in which the tests start; each
that does not is told, with the reason. Whether the tests pass is told too and decides nothing: a repository with an
issue may well fail some.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from agent.cli.inputs import Inputs, words
from agent.cli.limits import bounded_by, limits_of
from agent.cli.settings import SolveSettings
from agent.environments.proposal import Found, PythonRange, Recorded, shown
from sandbox import interpreters
from sandbox.api import Environment, EnvironmentSpec, Sandbox
from sandbox.errors import EnvironmentBuildError, InputError
from sandbox.health import Baseline, check_baseline
from sandbox.images import BASE_PYTHON

FOUND_TEST_SECONDS = 60.0
"""How long a test command that nobody asked for may take: a whole suite can take an hour."""

FAULT = re.compile(r"(error|fatal|e): |[\w.]*(error|exception)\b.*:", re.IGNORECASE)
"""How a line begins that names what went wrong."""
NEWEST = 15
"""Minor version of Python up to which interpreters are looked for."""
Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Settled:
    """A healthy environment, and the inputs with what it was made from."""

    environment: Environment
    baseline: Baseline
    inputs: Inputs


async def prepare(sandbox: Sandbox, inputs: Inputs, settings: SolveSettings, tell: Tell) -> Settled:
    """Build and check. Raises EnvironmentBuildError if no candidate will do, with the log's tail of the last one."""
    spec = inputs.instance.environment
    if spec is None:
        raise InputError(
            "the instance names no environment", where=inputs.instance.id, hint="name one with --image or --setup"
        )
    if not spec.about:
        spec = replace(spec, about=inputs.instance.about)
    for line in inputs.told:
        tell(shown(line))
    if inputs.wanted_python:
        spec = replace(spec, python=_python_for(sandbox, inputs.wanted_python, tell))
    trial = _Trial(sandbox, inputs, settings, tell)
    if inputs.recorded or not inputs.setups:
        return await trial.attempt(spec, inputs.recorded.setup if inputs.recorded else Found(spec.setup, ""))
    _announce(sandbox, inputs, tell)
    return await trial.first_that_works(spec, inputs.setups)


class _Trial:
    """One candidate after the other."""

    def __init__(self, sandbox: Sandbox, inputs: Inputs, settings: SolveSettings, tell: Tell) -> None:
        self._sandbox = sandbox
        self._inputs = inputs
        self._tell = tell
        self._test = inputs.test
        self._limits = limits_of(bounded_by(settings, inputs.instance.environment))
        seconds = min(FOUND_TEST_SECONDS, self._limits.seconds) if self._test.evidence else self._limits.seconds
        self._test_limits = replace(self._limits, seconds=seconds)

    async def first_that_works(self, spec: EnvironmentSpec, candidates: tuple[Found, ...]) -> Settled:
        """The first candidate in which the tests start, else the first that is healthy at all."""
        spare: Settled | None = None
        last: EnvironmentBuildError | None = None
        tried = 0
        for number, candidate in enumerate(candidates, 1):
            more = f"; {len(candidates) - number} more to try" if number < len(candidates) else ""
            tried = number
            try:
                settled = await self.attempt(replace(spec, setup=candidate.value), candidate)
            except EnvironmentBuildError as error:
                if last is not None and error.message == last.message:
                    break
                last = error
                self._tell(f"that set-up will not do: {_short(error)}{more}")
                continue
            if settled.baseline.tests_start:
                return settled
            spare = spare or settled
            self._tell(f"{settled.baseline.warning}{more}")
        if spare is not None:
            chosen = spare.inputs.recorded.setup if spare.inputs.recorded else candidates[0]
            self._tell(f"going on with: {words(chosen)}")
            return spare
        raise _none_works(last, tried, len(candidates), spec)

    async def attempt(self, spec: EnvironmentSpec, setup: Found) -> Settled:
        """Build and check one. Raises EnvironmentBuildError."""
        if setup.evidence and not self._inputs.recorded:
            self._tell(f"set-up: {words(setup)}; another: --setup")
        environment = await self._sandbox.build(spec, self._tell)
        baseline = await check_baseline(
            self._sandbox,
            environment,
            base_commit=self._inputs.instance.base_commit,
            test_command=self._test.value,
            limits=self._limits,
            test_limits=self._test_limits,
        )
        instance = replace(self._inputs.instance, environment=spec)
        found = Recorded(setup, self._test) if setup.evidence or self._test.evidence else None
        recorded = self._inputs.recorded or found
        return Settled(environment, baseline, replace(self._inputs, instance=instance, recorded=recorded))


def health(baseline: Baseline) -> str:
    """What the health check found, on a line."""
    tests = baseline.warning or baseline.tests
    return f"baseline is healthy: python {baseline.python}" + (f", {tests}" if tests else "")


def _announce(sandbox: Sandbox, inputs: Inputs, tell: Tell) -> None:
    """What was found beside the set-up: the test command, and an interpreter that may not do."""
    if inputs.test.evidence:
        tell(f"test command: {words(inputs.test)}; another: --test-command")
    python = inputs.proposal.python if inputs.proposal else None
    if python is None or inputs.instance.environment is None:
        return
    version = interpreter_version(sandbox, inputs.instance.environment)
    if version and (objection := python.objection(version)):
        fitting = _fitting(sandbox, python)
        other = f"; {fitting} is here: --python {fitting}" if fitting else ""
        tell(f"{objection}; name another interpreter with --python, or an image that has one with --image{other}")


def _fitting(sandbox: Sandbox, python: PythonRange) -> str:
    """The newest interpreter of this machine that the repository has nothing against; empty if none, or of no use."""
    if sandbox.name != "local":
        return ""
    wanted = (version for number in range(NEWEST, 5, -1) if not python.objection(version := f"3.{number}"))
    return next((found for version in wanted if (found := interpreters.find(version))), "")


def _python_for(sandbox: Sandbox, version: str, tell: Tell) -> str:
    """The command of this Python where the sandbox has it, else the sandbox's own, which is told."""
    if sandbox.name == "local" and (found := interpreters.find(version)):
        return found
    own = BASE_PYTHON if sandbox.name != "local" else ".".join(interpreters.version_of("").split(".")[:2])
    if version != own:
        tell(
            f"the install spec asks for Python {version}, which the {sandbox.name} sandbox has not; going on with {own};"
            f" name another with --python, or an image: --image docker.io/library/python:{version}-bookworm"
        )
    return ""


def interpreter_version(sandbox: Sandbox, spec: EnvironmentSpec) -> str:
    """The version of Python that the environment would have; empty if that takes a build to find out."""
    if sandbox.name == "local":
        return interpreters.version_of(spec.python)
    return BASE_PYTHON if not spec.image and not spec.python else ""


def _short(error: EnvironmentBuildError) -> str:
    """The message and the line of the log that it holds which names the fault."""
    lines = [line.strip() for line in error.message.splitlines() if line.strip()]
    faults = [line for line in lines[1:] if FAULT.match(line) and "subprocess-exited" not in line]
    return lines[0].removesuffix("; its last lines:") + (f": {shown((faults or lines)[-1])}" if len(lines) > 1 else "")


def _none_works(last: EnvironmentBuildError | None, tried: int, found: int, spec: EnvironmentSpec) -> EnvironmentBuildError:
    what = "the set-up that was found does not work" if found == 1 else f"none of the {found} set-ups that were found works"
    alike = f" ({tried} were tried; the last two failed alike)"
    after = what + (alike if tried < found else "")
    return EnvironmentBuildError(
        f"{after}; of the last one: {last.message if last else ''}",
        where=last.where if last else str(spec.repository),
        hint="say how the repository is set up: --setup 'COMMAND' or --setup none, with --python or --image if need be",
    )
