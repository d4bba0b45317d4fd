"""Each test takes one protection away and sees a promise broken by the very script that the suite runs: so the suite can fail.

The sandboxes are changed for these tests only: copies of the sources that run inside have one line less, or the plan that they
are given is another. What a test breaks is thrown away with its sandbox.
"""

from __future__ import annotations

import shutil
import socket
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from sandbox import docker_worker, jobs, local_sandbox, patching, seccomp
from sandbox.api import Environment, Execution, Patch, Sandbox, Script
from sandbox.errors import SandboxError
from tests.sandbox import hostile, hostile_reach

LINK = Patch(
    "diff --git a/link b/link\nnew file mode 120000\n--- /dev/null\n+++ b/link\n@@ -0,0 +1 @@\n+/etc\n\\ No newline at end of file\n"
)
Without = Callable[[str, str, str], None]


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Without:
    """Changes what runs inside all sandboxes that are made from here on: in a module's source, a text for another."""

    def change(module: str, text: str, instead: str) -> None:
        place = tmp_path / "sandbox"
        place.mkdir()
        for name in docker_worker.MODULES:
            shutil.copyfile(jobs.SOURCES / f"{name}.py", place / f"{name}.py")
        source = (place / f"{module}.py").read_text()
        assert source.count(text) == 1, f"{module}.py does not hold what this test takes away: {text}"
        (place / f"{module}.py").write_text(source.replace(text, instead))
        monkeypatch.setattr(jobs, "SOURCES", place)

    return change


@pytest.fixture
def shared() -> Iterator[Path]:
    """A directory that every user may write to."""
    with tempfile.TemporaryDirectory(prefix="runoff-shared-") as name:
        Path(name).chmod(0o1777)
        yield Path(name)


@pytest_asyncio.fixture
async def sandbox(make_sandbox: Callable[[int], Sandbox]) -> AsyncIterator[Sandbox]:
    made = make_sandbox(1)
    yield made
    await made.close()


async def run(sandbox: Sandbox, environment: Environment, text: str, patch: Patch | None = None) -> Execution:
    return await sandbox.execute(environment, Script(text), patch, hostile.SMALL)


def of(*backends: str) -> Any:
    """Only for these backends: in the others something else holds too."""
    marks = {"docker": [pytest.mark.docker], "fast": [pytest.mark.docker], "local": []}
    params = [pytest.param(backend, marks=marks[backend]) for backend in backends]
    return pytest.mark.parametrize("backend", params, indirect=True, scope="session")


@of("fast", "local")
async def test_without_the_filter_of_calls(
    sandbox: Sandbox, environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seccomp, "program", lambda machine="": b"")
    broken = await run(sandbox, environment, hostile_reach.BREAK_OUT)
    assert "made a namespace: user" in broken.output.splitlines()
    with pytest.raises(SandboxError):  # the script ends the runner, and with it the run
        await run(sandbox, environment, hostile.STARVE_RUNNER)


@of("docker", "fast", "local")
async def test_of_a_runner_that_can_be_traced(sandbox: Sandbox, environment: Environment, without: Without) -> None:
    without("runner", "(PR_SET_DUMPABLE, 0)", "(PR_SET_DUMPABLE, 1)")
    try:
        broken = await run(sandbox, environment, hostile.FORGE_RESULT)
    except SandboxError:
        return  # what was forged stands where the runner's answer should
    assert "opened descriptor" in broken.output


@of("local")
async def test_without_a_network_namespace(sandbox: Sandbox, environment: Environment, without: Without) -> None:
    without("namespaces", '(0 if plan["network"] else CLONE_NEWNET)', "0")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        broken = await run(sandbox, environment, hostile_reach.REACH_OUT.format(port=port, abstract="none"))
    assert "TCP to the host's loopback" in broken.output.splitlines()


@of("fast", "local")
async def test_without_a_size_of_the_scratch_space(sandbox: Sandbox, environment: Environment, without: Without) -> None:
    without("namespaces", "mode=755,size={plan['disk_mb']}m,nr_inodes={plan['inodes']}", "mode=755")
    broken = await run(sandbox, environment, hostile.FILL_DISK.format(place="/testbed", rest=0))
    assert (broken.limit, broken.output) == (None, "wrote three times what is allowed\n")


@of("fast")
async def test_of_devices_that_can_be_changed(sandbox: Sandbox, environment: Environment, without: Without) -> None:
    without(
        "namespaces",
        'bind(f"/dev/{name}", f"{root}/dev/{name}")',
        'bind(f"/dev/{name}", f"{root}/dev/{name}", writable=True)',
    )
    await run(sandbox, environment, "import os\nos.chmod('/dev/full', 0)")
    look = "import os\nprint(oct(os.stat('/dev/full').st_mode & 0o777))"
    assert (await run(sandbox, environment, look)).output == "0o0\n"


@of("local")
async def test_of_a_shared_tmp(
    sandbox: Sandbox, environment: Environment, monkeypatch: pytest.MonkeyPatch, shared: Path
) -> None:
    bounded = local_sandbox.LocalSandbox._bounded
    monkeypatch.setattr(local_sandbox.LocalSandbox, "_bounded", lambda *given: {**bounded(*given), "tmp": str(shared)})
    await run(sandbox, environment, hostile.LEAVE_STATE)
    assert "/tmp: ['home', 'left'], not ['home']" in (await run(sandbox, environment, hostile.INNOCENT)).output.splitlines()


@of("docker", "fast", "local")
async def test_without_a_look_at_the_patch(
    sandbox: Sandbox, environment: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "import os\nprint(os.path.islink('link'))"
    held = await run(sandbox, environment, text, LINK)
    assert "symbolic link" in held.apply_error
    monkeypatch.setattr(patching, "check", lambda diff: "")
    assert (await run(sandbox, environment, text, LINK)).output == "True\n"


@of("docker", "fast", "local")
async def test_of_a_runner_that_believes_every_signal(sandbox: Sandbox, environment: Environment, without: Without) -> None:
    without("runner", "if info.si_code == 0 and info.si_pid == 0:", "if True:")
    assert (await run(sandbox, environment, hostile.SIGNAL_RUNNER)).limit in ("disk", "inodes")
