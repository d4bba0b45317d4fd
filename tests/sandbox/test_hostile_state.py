"""State of an earlier execution is never seen, and nothing of it outlives its time: asked of all real backends."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from sandbox.api import Execution, Limits, Patch, Verdict
from tests.sandbox import hostile

pytestmark = pytest.mark.asyncio(loop_scope="module")
Attack = Callable[..., Awaitable[Execution]]


async def test_marks_in_every_place(attack: Attack) -> None:
    execution = await attack(hostile.LEAVE_STATE)
    assert (execution.output, execution.exit_code) == ("left its marks\n", 3)


async def test_writes_outside_the_tree(attack: Attack, backend: str) -> None:
    execution = await attack(hostile.WRITE_OUTSIDE)
    assert execution.exit_code == 3
    if backend != "docker":  # there a container's own layer takes them, and is thrown away
        assert execution.output == ""


async def test_poisoned_bytecode(attack: Attack) -> None:
    execution = await attack(hostile.POISON_BYTECODE)
    assert "poisoned" in execution.output
    assert (await attack("import pkg.core; print(pkg.core.double(2))")).output == "5\n"


@pytest.mark.parametrize("name", ["sitecustomize.py", "usercustomize.py"])
async def test_module_that_python_runs_unasked(attack: Attack, name: str) -> None:
    brought = (
        "import json  # the patch's own\n"
        + hostile.FORGE_RESULT.replace("sys.exit(3)", "")
        + hostile.SIGNAL_RUNNER.replace("sys.exit(3)", "")
    )
    execution = await attack("raise SystemExit(2)", patch=hostile.adding({name: brought}))
    assert (execution.exit_code, execution.verdict, execution.limit) == (2, Verdict.ISSUE, None)
    assert execution.output in ("", f"\n{hostile.FORGED}\n")  # the second module is run only where the user has a site


async def test_conftest_of_the_patch(attack: Attack) -> None:
    patch = hostile.adding(
        {"conftest.py": hostile.LEAVE_STATE.replace("sys.exit(3)", ""), "pkg/conftest.py": "raise SystemExit(0)"}
    )
    execution = await attack("import conftest, sys\nsys.exit(2)", patch=patch)
    assert (execution.exit_code, execution.output) == (2, "left its marks\n")


async def test_bytecode_of_the_patch(attack: Attack) -> None:
    execution = await attack("import pkg.ghost", patch=hostile.adding({"pkg/ghost.pyc": "raise SystemExit(0)"}))
    assert execution.verdict is Verdict.BROKEN
    binary = Patch("diff --git a/pkg/core.pyc b/pkg/core.pyc\nGIT binary patch\nliteral 0\n")
    assert "binary" in (await attack("raise SystemExit(0)", patch=binary)).apply_error


async def test_time_out_of_what_hides_from_it(attack: Attack, token: str, alive: Callable[[str], bool]) -> None:
    limits = Limits(seconds=1.5, memory_mb=256, disk_mb=16, processes=64)
    execution = await attack(hostile.HIDE_FROM_TIME_OUT.format(token=token), limits)
    assert (execution.timed_out, execution.limit, execution.verdict) == (True, "seconds", Verdict.BROKEN)
    assert (execution.output, execution.limit_words) == ("before\n", "1.5 seconds")
    assert 1.5 <= execution.seconds < 10
    assert not alive(token)


async def test_daemon_that_holds_the_output_open(attack: Attack, token: str, alive: Callable[[str], bool]) -> None:
    execution = await attack(hostile.DAEMON.format(token=token))
    assert (execution.exit_code, execution.limit) == (3, None)
    assert execution.seconds < 10
    assert not alive(token)


async def test_two_environments_share_nothing(attack: Attack, kept: Any, environment: Any) -> None:
    look = "import os; print(os.environ.get('LEFT'), os.environ['GIVEN'])"
    await attack(hostile.LEAVE_STATE)
    assert (await attack(look)).output == "None by the environment\n"
