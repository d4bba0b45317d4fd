"""What the pool of containers does when its containers, their runners or its owner die, and how it keeps patches."""

from __future__ import annotations

import ast
import asyncio
import json
import os
import subprocess
import sys
import time
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from sandbox import docker_pool, probe, seccomp
from sandbox.api import Environment, Limits, Patch, Script, Verdict
from sandbox.docker_fast import FastDockerSandbox
from sandbox.docker_worker import MODULES
from sandbox.engine import Engine
from sandbox.errors import SandboxError

pytestmark = pytest.mark.docker
OWNER = """
import asyncio, sys
from sandbox.api import Environment, Script
from sandbox.docker_fast import FastDockerSandbox

async def main():
    sandbox = FastDockerSandbox(1)
    print(sandbox.engine.run, flush=True)
    text = f"import subprocess; subprocess.run(['sleep', '{sys.argv[2]}'])"
    await sandbox.execute(Environment("key", "docker", sys.argv[1]), Script(text))

asyncio.run(main())
"""
RUNNER = "for a in $(cat /proc/1/task/1/children); do cat /proc/$a/task/$a/children; done"
"""Run in a pool's container: the process ids of the runners in it."""


@pytest.fixture(scope="session")
def backend(require_docker: None) -> str:
    finding = asyncio.run(probe.probe_fast())
    if not finding.works:
        if os.environ.get("CI") == "true":
            pytest.fail(finding.words)
        pytest.skip(finding.words)
    return "fast"


@pytest.fixture(scope="module")
def environment(backend: str, repository: Any) -> Iterator[Environment]:
    """An image of its own: the one of the backends' tests may be of another backend when these tests begin."""

    async def build() -> Environment:
        sandbox = FastDockerSandbox(1)
        try:
            return await sandbox.build(repository.spec(variables={"GIVEN": "to the pool"}))
        finally:
            await sandbox.close()

    built = asyncio.run(build())
    yield built
    subprocess.run(["docker", "rmi", "-f", built.location], check=False, capture_output=True)


@pytest_asyncio.fixture
async def sandbox(backend: str) -> AsyncIterator[FastDockerSandbox]:
    made = FastDockerSandbox(1)
    yield made
    await made.close()


def docker(*arguments: str) -> str:
    return subprocess.run(["docker", *arguments], check=True, capture_output=True, text=True).stdout.strip()


def containers(run: str) -> list[str]:
    return docker("ps", "-aq", "--no-trunc", "--filter", f"label=runoff.run={run}").split()


def patch_of(text: str) -> Patch:
    lines = text.splitlines()
    body = "".join(f"+{line}\n" for line in lines)
    return Patch(
        f"diff --git a/added b/added\nnew file mode 100644\n--- /dev/null\n+++ b/added\n@@ -0,0 +1,{len(lines)} @@\n{body}"
    )


async def begins(alive: Callable[[str], bool], token: str) -> None:
    async with asyncio.timeout(30):
        while not alive(token):  # noqa: ASYNC110  another process is waited for
            await asyncio.sleep(0.05)


async def gone(alive: Callable[[str], bool], token: str) -> bool:
    for _ in range(200):
        if not alive(token):
            return True
        await asyncio.sleep(0.1)
    return False


async def test_container_is_used_again(sandbox: FastDockerSandbox, environment: Environment) -> None:
    await sandbox.execute(environment, Script("pass"))
    first = containers(sandbox.engine.run)
    for _ in range(5):
        assert (await sandbox.execute(environment, Script("raise SystemExit(2)"))).verdict is Verdict.ISSUE
    assert containers(sandbox.engine.run) == first
    assert len(first) == 1


async def test_container_killed_between_executions(sandbox: FastDockerSandbox, environment: Environment) -> None:
    for command in (["kill"], ["rm", "-f"]):
        await sandbox.execute(environment, Script("pass"))
        [container] = containers(sandbox.engine.run)
        docker(*command, container)
        assert (await sandbox.execute(environment, Script("raise SystemExit(2)"))).exit_code == 2


@pytest.mark.parametrize("victim", ["container", "runner"])
async def test_job_of_a_killed_one_runs_again(
    sandbox: FastDockerSandbox, environment: Environment, token: str, alive: Callable[[str], bool], victim: str
) -> None:
    text = f"import subprocess, sys, time\nsubprocess.Popen(['sleep', '{token}'])\ntime.sleep(3)\nsys.exit(2)"
    task = asyncio.create_task(sandbox.execute(environment, Script(text)))
    await begins(alive, token)
    [container] = containers(sandbox.engine.run)
    if victim == "container":
        docker("kill", container)
    else:
        docker("exec", container, "sh", "-c", f"kill -9 $({RUNNER})")
    execution = await asyncio.wait_for(task, 40)
    assert (execution.exit_code, execution.verdict, execution.limit) == (2, Verdict.ISSUE, None)
    assert container not in containers(sandbox.engine.run)
    assert not alive(token)


async def test_time_in_which_a_container_is_paused_does_not_count(
    sandbox: FastDockerSandbox, environment: Environment, token: str, alive: Callable[[str], bool]
) -> None:
    text = f"import subprocess, sys, time\nsubprocess.Popen(['sleep', '{token}'])\ntime.sleep(2)\nsys.exit(2)"
    task = asyncio.create_task(sandbox.execute(environment, Script(text), limits=Limits(seconds=6)))
    await begins(alive, token)
    [container] = containers(sandbox.engine.run)
    docker("pause", container)
    await asyncio.sleep(7)
    docker("unpause", container)
    execution = await task
    assert (execution.exit_code, execution.limit) == (2, None)
    assert execution.seconds > 7, "it is the same execution, not another try"


async def test_tries_are_bounded(
    sandbox: FastDockerSandbox, environment: Environment, monkeypatch: pytest.MonkeyPatch, token: str
) -> None:
    monkeypatch.setattr(docker_pool, "PAUSES", (0.0, 0.1))
    task = asyncio.create_task(sandbox.execute(environment, Script(f"import time; time.sleep({token})")))
    killed = set()
    while not task.done():
        for container in set(containers(sandbox.engine.run)) - killed:
            if docker("inspect", "-f", "{{.State.Running}}", container) == "true":
                await asyncio.sleep(0.5)
                docker("kill", container)
                killed.add(container)
        await asyncio.sleep(0.1)
    with pytest.raises(SandboxError, match="2 containers were lost over one execution"):
        await task


async def test_memory_filled_by_files(sandbox: FastDockerSandbox, environment: Environment) -> None:
    text = "import time\nwith open('/dev/shm/f', 'wb') as f:\n    while True: f.write(bytes(1 << 20))"
    execution = await sandbox.execute(environment, Script(text), limits=Limits(memory_mb=96, disk_mb=512, seconds=60))
    assert (execution.limit, execution.verdict) == ("memory", Verdict.BROKEN)
    after = await sandbox.execute(environment, Script("print('next')"), limits=Limits(memory_mb=96, disk_mb=512))
    assert (after.output, after.limit) == ("next\n", None)


async def test_patch_is_applied_once_and_stays_pristine(sandbox: FastDockerSandbox, environment: Environment) -> None:
    patch = patch_of("patched")
    for _ in range(3):
        text = "import pathlib; p = pathlib.Path('added'); print(p.read_text(), end=''); p.write_text('polluted')"
        assert (await sandbox.execute(environment, Script(text), patch)).output == "patched\n"
    [container] = containers(sandbox.engine.run)
    assert docker("exec", container, "ls", "/runoff/layers").split() == ["1"]
    assert (await sandbox.execute(environment, Script("import os; print(os.path.exists('added'))"))).output == "False\n"


async def test_more_patches_than_are_kept(sandbox: FastDockerSandbox, environment: Environment) -> None:
    show = Script("print(open('added').read()[-10:], end='')")
    for number in range(10):
        large = patch_of("\n".join(["x" * 1000] * 6000 + [f"tail {number:04d}"]))
        execution = await sandbox.execute(environment, show, large)
        assert (execution.output, execution.apply_error) == (f"tail {number:04d}\n", "")
    [container] = containers(sandbox.engine.run)
    assert len(docker("exec", container, "ls", "/runoff/layers").split()) < 10


async def test_patch_too_large_to_keep(sandbox: FastDockerSandbox, environment: Environment) -> None:
    huge = patch_of("\n".join(["x" * 1000] * 40_000 + ["the end"]))
    execution = await sandbox.execute(environment, Script("print(open('added').read()[-8:], end='')"), huge)
    assert (execution.output, execution.apply_error) == ("the end\n", "")


async def test_script_sees_nothing_of_the_pool(sandbox: FastDockerSandbox, environment: Environment) -> None:
    await sandbox.execute(environment, Script("pass"), patch_of("secret of another execution"))
    text = """
import os
print(sorted(int(name) for name in os.listdir("/proc") if name.isdigit()) == [1, os.getpid()], os.path.exists("/runoff"))
print([os.path.getsize("/proc/" + name) for name in ("kcore", "keys", "timer_list") if os.path.exists("/proc/" + name)
       and os.path.isfile("/proc/" + name)], sorted(os.listdir("/proc/self/fd")))
for line in open("/proc/self/mountinfo"):
    words = line.split()
    if words[4] not in ("/testbed", "/tmp", "/var/tmp", "/dev/shm", "/script") and not words[4].startswith("/dev/"):
        assert "ro" in words[5].split(","), line
    assert "layers" not in words[3], line
for place in ("/etc/x", "/opt/env/x", "/usr/x", "/x", "/proc/sys/kernel/hostname"):
    try:
        open(place, "w")
        print("wrote", place)
    except OSError:
        pass
"""
    execution = await sandbox.execute(environment, Script(text))
    assert execution.output.splitlines() == ["True False", "[] ['0', '1', '2', '3']"]
    assert execution.exit_code == 0


async def test_limits_of_one_execution_do_not_bind_the_next(sandbox: FastDockerSandbox, environment: Environment) -> None:
    text = "kept = bytearray(200 << 20); print(len(kept) >> 20)"
    small = await sandbox.execute(environment, Script(text), limits=Limits(memory_mb=96))
    large = await sandbox.execute(environment, Script(text), limits=Limits(memory_mb=512))
    assert (small.limit, large.limit, large.output) == ("memory", None, "200\n")
    assert len(containers(sandbox.engine.run)) == 1


async def test_owner_that_is_killed(
    environment: Environment, backend: str, token: str, alive: Callable[[str], bool]
) -> None:
    owner = await asyncio.create_subprocess_exec(sys.executable, "-c", OWNER, environment.location, token, stdout=PIPE)
    assert owner.stdout is not None
    run = (await owner.stdout.readline()).decode().strip()
    await begins(alive, token)
    owner.kill()
    await owner.wait()
    assert await gone(alive, token)  # the runner notices that nobody listens
    engine = Engine("another run")
    engine.prune()
    engine.close()
    assert containers(run) == []


async def test_images_that_the_fast_path_cannot_use_get_the_portable_one(
    environment: Environment, monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    profile = json.loads(seccomp.profile())
    profile["syscalls"][0]["names"].append("unshare")
    monkeypatch.setattr(seccomp, "profile", lambda: json.dumps(profile))
    lines: list[str] = []
    sandbox = FastDockerSandbox(1, lines.append)
    execution = await sandbox.execute(environment, Script("raise SystemExit(2)"), patch_of("patched"))
    await sandbox.execute(environment, Script("raise SystemExit(2)"))
    left = containers(sandbox.engine.run)
    await sandbox.close()
    assert (execution.verdict, left) == (Verdict.ISSUE, [])
    assert len(lines) == 1
    assert "portable path: the kernel refused the sandbox: a user namespace" in lines[0]
    finding = await probe.probe_fast()
    assert not finding.works
    assert "a user namespace: Operation not permitted" in finding.words
    chosen = await probe.choose("docker", 1, lines.append)
    await chosen.close()
    assert not isinstance(chosen, FastDockerSandbox)


async def test_engine_that_refuses_the_container(
    environment: Environment, monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    monkeypatch.setattr(seccomp, "profile", lambda: '{"defaultAction": "SCMP_ACT_NONSENSE"}')
    lines: list[str] = []
    sandbox = FastDockerSandbox(1, lines.append)
    execution = await sandbox.execute(environment, Script("raise SystemExit(2)"))
    left = containers(sandbox.engine.run)
    await sandbox.close()
    assert (execution.verdict, left) == (Verdict.ISSUE, [])
    assert "gets the portable path: the container could not be started" in lines[0]


async def test_interrupt_starts_nothing_anew(sandbox: FastDockerSandbox, environment: Environment) -> None:
    tasks = [asyncio.create_task(sandbox.execute(environment, Script("import time; time.sleep(60)"))) for _ in range(3)]
    await asyncio.sleep(2)
    sandbox.interrupt()
    results = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 10)
    assert [type(result) for result in results] == [SandboxError] * 3
    await asyncio.sleep(1)
    assert containers(sandbox.engine.run) == []


async def test_overhead_is_far_from_that_of_a_container(sandbox: FastDockerSandbox, environment: Environment) -> None:
    await sandbox.execute(environment, Script("pass"))
    taken = []
    for _ in range(9):
        started = time.monotonic()
        await sandbox.execute(environment, Script("pass"))
        taken.append(time.monotonic() - started)
    started = time.monotonic()
    docker("run", "--rm", "--network=none", "--entrypoint=true", environment.location)
    assert sorted(taken)[4] < time.monotonic() - started


def test_sources_are_old_enough_python() -> None:
    for name in MODULES:
        text = (Path(seccomp.__file__).parent / f"{name}.py").read_text()
        ast.parse(text, feature_version=(3, 6))
        assert "dict[" not in text
        assert "list[" not in text
