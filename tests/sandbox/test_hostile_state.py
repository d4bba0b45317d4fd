"""State of an earlier execution is never seen, and nothing of it outlives its time: asked of all real backends."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from sandbox.api import Environment, EnvironmentSpec, Execution, Limits, Patch, Sandbox, Script, Verdict
from tests.sandbox import hostile
from tests.sandbox.conftest import commit, git

LOOK_AT_GIT = """
import os, subprocess
git = lambda *words: subprocess.run(["git", *words], capture_output=True, text=True).stdout
known = ("core.repositoryformatversion", "core.filemode", "core.bare", "core.logallrefupdates", "core.hookspath", "gc.auto")
print([line for line in git("config", "--local", "--list").splitlines() if not line.startswith(known)])
git("commit", "--allow-empty", "-m", "x")
status = git("status", "--porcelain", "-uall").strip()
print(os.path.exists("/tmp/ran"), os.path.exists("/testbed/ran"))
print(status)
"""


def hostile_repository(folder: Path, command: str) -> str:
    """A work tree whose settings, hooks and attributes all start the command; the commit."""
    git(folder.parent, "init", "-q", str(folder))
    found = commit(folder, "base", {"pkg/__init__.py": "", ".gitattributes": "*.txt filter=own diff=own\n", "a.txt": "a\n"})
    for name in (
        "core.fsmonitor",
        "core.pager",
        "core.editor",
        "core.sshCommand",
        "filter.own.clean",
        "filter.own.smudge",
        "diff.own.textconv",
        "diff.external",
        "uploadpack.packObjectsHook",
        "alias.status",
    ):
        git(folder, "config", name, f"!{command}" if name.startswith("alias") else command)
    for name in ("pre-commit", "post-checkout", "post-commit", "reference-transaction", "post-index-change"):
        hook = folder / ".git/hooks" / name
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(f"#!/bin/sh\n{command} < /dev/null\n")
        hook.chmod(0o755)
    return found


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


@pytest.mark.slow
async def test_tree_that_brings_settings_and_hooks_of_git(
    backend: str, make_sandbox: Callable[[int], Sandbox], tmp_path: Path, remove_built: Callable[[Environment], None]
) -> None:
    """A downloaded work tree may come with a .git/config and hooks of a stranger's."""
    marker = tmp_path / "ran on the host"
    folder = tmp_path / "hostile"
    commit = await asyncio.to_thread(hostile_repository, folder, f"touch '{marker}' /tmp/ran /testbed/ran; cat")
    sandbox = make_sandbox(1)
    built = await sandbox.build(EnvironmentSpec(commit, folder))
    try:
        patch = hostile.adding({"pkg/added.py": "ADDED = True", "added.txt": "filtered?"})
        execution = await sandbox.execute(built, Script(LOOK_AT_GIT), patch)
    finally:
        await sandbox.close()
        remove_built(built)
    assert execution.output.splitlines() == ["[]", "False False", "?? added.txt", "?? pkg/added.py"]
    assert not marker.exists()
