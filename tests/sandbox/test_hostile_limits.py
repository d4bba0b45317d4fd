"""Memory, processes, disk, files and output are bounded, and the result names the bound: asked of all real backends."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from sandbox.api import Environment, Execution, Limits, Script, Verdict
from tests.sandbox import hostile

pytestmark = pytest.mark.asyncio(loop_scope="module")
Attack = Callable[..., Awaitable[Execution]]
TIGHT = Limits(seconds=60, memory_mb=128, disk_mb=512, processes=64)


@pytest.mark.parametrize("kind", sorted(hostile.MEMORY))
async def test_memory(attack: Attack, kind: str) -> None:
    execution = await attack(hostile.MEMORY[kind], TIGHT)
    assert (execution.oom, execution.limit, execution.verdict) == (True, "memory", Verdict.BROKEN)
    assert execution.limit_words == "128 MiB of memory"


@pytest.mark.parametrize("text", [hostile.FORK_BOMB, hostile.THREAD_BOMB], ids=["processes", "threads"])
async def test_bomb(attack: Attack, text: str) -> None:
    execution = await attack(text)
    assert (execution.limit, execution.verdict) == ("processes", Verdict.BROKEN)
    assert execution.limit_words == "64 processes"


@pytest.mark.parametrize("place", ["/testbed", "/tmp", "/dev/shm", "/var/tmp"])
async def test_disk(attack: Attack, place: str, backend: str) -> None:
    if (backend, place) == ("local", "/var/tmp"):
        place = "/script/.."  # there is no /var in its root, and the root itself takes nothing
        execution = await attack(hostile.FILL_DISK.format(place=place, rest=0))
        assert (execution.exit_code, execution.output) == (3, "")
        return
    execution = await attack(hostile.FILL_DISK.format(place=place, rest=20))
    assert (execution.limit, execution.verdict) == ("disk", Verdict.BROKEN)
    assert execution.limit_words == "16 MiB of disk"


@pytest.mark.parametrize("place", ["/testbed", "/tmp"])
async def test_inodes(attack: Attack, place: str) -> None:
    execution = await attack(hostile.FILL_INODES.format(place=place, count=6000), replace(hostile.SMALL, inodes=2000))
    assert (execution.limit, execution.verdict) == ("inodes", Verdict.BROKEN)
    assert execution.limit_words == "2000 new files"


async def test_files_that_no_directory_shows(
    attack: Attack, kept: Any, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if backend == "docker":  # what the portable path cannot see it notices by what is left of the engine's disk
        free = (await asyncio.to_thread(kept.engine.disk_limit)).free()
        monkeypatch.setattr(kept.engine, "keep_free", free - (96 << 20))
    execution = await attack(hostile.FILL_UNSEEN)
    assert (execution.limit, execution.verdict) == ("disk", Verdict.BROKEN)


async def test_gigabyte_of_output(attack: Attack) -> None:
    execution = await attack(hostile.GIGABYTE, replace(hostile.SMALL, output_chars=1000))
    assert (execution.exit_code, execution.limit) == (3, "output")
    assert len(execution.output) <= 1000
    assert execution.output.endswith("ends\n")
    assert execution.seconds < 20


async def test_deep_folders(attack: Attack) -> None:
    text = "import os\nfor _ in range(1500):\n    os.mkdir('d')\n    os.chdir('d')\n" + hostile.ENDS
    assert (await attack(text)).exit_code == 3


async def test_patch_that_takes_all_memory(attack: Attack) -> None:
    patch = hostile.adding({"large.txt": "\n".join(["x" * 1000] * 40_000)})
    limits = replace(TIGHT, memory_mb=64)
    for _ in range(2):  # the second time it could be found as if it had been put on the tree
        execution = await attack("raise SystemExit(0)", limits, patch=patch)
        assert (execution.limit, execution.verdict) == ("memory", Verdict.BROKEN)


async def test_neighbour_of_what_fills_the_disk(
    make_sandbox: Callable[[int], Any], environment: Environment, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox = make_sandbox(2)
    if backend == "docker":
        free = (await asyncio.to_thread(sandbox.engine.disk_limit)).free()
        monkeypatch.setattr(sandbox.engine, "keep_free", free - (96 << 20))
    texts = (hostile.FILL_UNSEEN, "import time\ntime.sleep(6)\nprint('innocent')\nraise SystemExit(2)")
    try:
        filling, innocent = await asyncio.gather(
            *(sandbox.execute(environment, Script(text), None, hostile.SMALL) for text in texts)
        )
    finally:
        await sandbox.close()
    assert (filling.limit, filling.verdict) == ("disk", Verdict.BROKEN)
    assert (innocent.output, innocent.exit_code, innocent.limit) == ("innocent\n", 2, None)
