"""Finds swebench, and asks it what a test log says: the one adapter to its parsers, bounded by version.

swebench (MIT) is an extra of runoff (`runoff[evaluate]`), or lives in an environment of its own; both 4.1 and 5 do.
Its Python API changes from version to version: what is used of it is all in `swebench_worker`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import sys
from asyncio.subprocess import PIPE, Process
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from packaging.version import InvalidVersion, Version

from sandbox.errors import InfrastructureError, InputError
from selection.evaluation.verdicts import Graded
from selection.gold import GoldLabels

OLDEST, NOT_YET = Version("4.1"), Version("6")
HINT = "pip install 'runoff[evaluate]', or name a Python that has swebench: --harness-python PATH"
WORKER = Path(__file__).with_name("swebench_worker.py")
LONGEST_LINE = 1 << 28
"""Bytes that a log or a map of statuses may take as JSON."""
_ASK = "import importlib.metadata as m; print(m.version('swebench'))"


@dataclass(frozen=True, slots=True)
class Harness:
    """An installed swebench."""

    python: str
    version: Version

    @property
    def needs_scripts(self) -> bool:
        """Whether rows must name image and eval_script: from version 5 on nothing is made of the repository's name."""
        return self.version.major >= 5  # noqa: PLR2004

    @property
    def forces_patches(self) -> bool:
        """Whether a patch that git refuses goes through `patch --batch`, which applies one in reverse if that fits."""
        return self.version.major < 5  # noqa: PLR2004


async def find_harness(python: str = "") -> Harness:
    """The swebench of this Python, or of runoff's own. Raises InputError if there is none, or of another version."""
    command = python or sys.executable
    if not shutil.which(command):
        raise InputError("there is no such interpreter", where=command, hint=HINT)
    asking = await asyncio.create_subprocess_exec(command, "-I", "-c", _ASK, stdout=PIPE, stderr=PIPE)
    out, _ = await asking.communicate()
    if asking.returncode != 0:
        raise InputError(
            "swebench is not installed: it has the harness and the parsers of test logs", where=command, hint=HINT
        )
    try:
        version = Version(out.decode().strip())
    except InvalidVersion:
        version = Version("0")
    if not OLDEST <= version < NOT_YET:
        raise InputError(f"swebench {version} is not known to work: 4.1 to 5.x are", where=command, hint=HINT)
    return Harness(command, version)


class Parsers:
    """swebench's parsers and grading, in a process that starts at the first question. A context manager."""

    def __init__(self, harness: Harness) -> None:
        self.harness = harness
        self._process: Process | None = None
        self._turn = asyncio.Lock()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._end()

    async def grade(self, labels: GoldLabels, log: str) -> Graded:
        """What the log says of the labels' tests. Raises InfrastructureError if the parsers fail on it."""
        asked = {
            "instance": labels.instance,
            "repo": labels.repo,
            "version": labels.version,
            "log_parser": labels.log_parser,
            "eval_type": labels.eval_type,
            "fail_to_pass": labels.fail_to_pass,
            "pass_to_pass": labels.pass_to_pass,
            "log": log,
        }
        async with self._turn:
            try:
                said = await self._ask(asked)
            except BaseException:
                await self._end()  # an answer that nobody waited for must not be taken for the next one's
                raise
        if fault := said.get("fault"):
            raise self._failed(str(fault), labels.instance)
        passed = {name: (tuple(said[name][0]), tuple(said[name][1])) for name in ("fail_to_pass", "pass_to_pass")}
        return Graded(said["resolved"], said["ran"], said["statuses"], **passed)

    async def _ask(self, asked: dict[str, Any]) -> dict[str, Any]:
        if self._process is None:
            self._process = await asyncio.create_subprocess_exec(
                self.harness.python,
                "-I",
                str(WORKER),
                stdin=PIPE,
                stdout=PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                limit=LONGEST_LINE,
            )
            hello = await self._answer(self._process)
            if "fault" in hello:
                raise self._failed(hello["fault"], self.harness.python)
        assert self._process.stdin is not None  # noqa: S101  a pipe
        self._process.stdin.write(json.dumps(asked).encode("ascii") + b"\n")
        await self._process.stdin.drain()
        return await self._answer(self._process)

    async def _answer(self, process: Process) -> dict[str, Any]:
        assert process.stdout is not None  # noqa: S101  a pipe
        line = await process.stdout.readline()
        if not line:
            raise self._failed("the parsers' process ended", self.harness.python)
        said: dict[str, Any] = json.loads(line)
        return said

    async def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    def _failed(self, what: str, where: str) -> InfrastructureError:
        return InfrastructureError(
            f"the parsers of swebench {self.harness.version} fail: {what}",
            where=where,
            hint="try another version: --harness-python PATH",
        )
