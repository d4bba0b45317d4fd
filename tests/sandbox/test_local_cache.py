"""Environments of the local backend: listed with what they are, removed only when no living process uses them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox import leftovers, local_cache, local_inventory, pruning
from sandbox.api import Environment, EnvironmentSpec, Script
from sandbox.errors import SandboxError
from sandbox.inventory import Held
from sandbox.local_sandbox import LocalSandbox

ROOT = Path(__file__).resolve().parents[2]
ABOUT = {"project": "shop/tiny", "instance": "shop__tiny-1"}
BUILDER = """
import asyncio, sys, time
from pathlib import Path
from sandbox.api import EnvironmentSpec
from sandbox.local_sandbox import LocalSandbox
async def main():
    sandbox = LocalSandbox(1)
    await sandbox.build(EnvironmentSpec(sys.argv[1], Path(sys.argv[2]), setup=sys.argv[3]))
    print("built", flush=True)
    time.sleep(600)
asyncio.run(main())
"""


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache of this module's own; its tests share what is built, as a build takes seconds."""
    with pytest.MonkeyPatch.context() as patch:
        directory = tmp_path_factory.mktemp("own-cache")
        patch.setenv("RUNOFF_CACHE_DIR", str(directory))
        yield directory


async def build(spec: EnvironmentSpec) -> Environment:
    """By a sandbox that is closed then."""
    sandbox = LocalSandbox(1)
    try:
        return await sandbox.build(spec)
    finally:
        await sandbox.close()


def spec_of(repository: object, **settings: object) -> EnvironmentSpec:
    return repository.spec(**settings)  # type: ignore[attr-defined, no-any-return]


def start(spec: EnvironmentSpec) -> subprocess.Popen[str]:
    """A process of its own that builds, and then lives on."""
    command = [sys.executable, "-c", BUILDER, spec.base_commit, str(spec.repository), spec.setup]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def drafts(cache: Path) -> list[Path]:
    return list((cache / "environments").glob(".*"))


def there(held: Held) -> bool:
    return Path(held.id, "built.json").exists()


def measured(folder: str) -> int:
    """Bytes, as du has it."""
    return int(subprocess.run(["du", "-s", "-B1", folder], check=True, capture_output=True, text=True).stdout.split()[0])


async def test_environment_is_listed_with_what_it_is(repository: object) -> None:
    spec = spec_of(repository, about=ABOUT)
    environment = await build(spec)
    [held] = local_inventory.listed()
    assert (held.backend, held.kind, held.id) == ("local", "environment", environment.location)
    assert (held.project, held.instance, held.base_commit) == ("shop/tiny", "shop__tiny-1", spec.base_commit)
    assert held.key == environment.key == local_inventory.key_for(spec)
    assert abs(held.size - measured(held.id)) <= 8192
    assert held.own == held.size
    assert held.size > 1_000_000  # it has a pip
    assert held.processes == 0
    assert time.time() - held.used < 60


async def test_use_is_noted_when_it_is_found_in_the_cache(repository: object) -> None:
    environment = await build(spec_of(repository))
    long_ago = time.time() - 30 * 86_400
    for path in Path(environment.location).parents[1].glob("used/*"):
        os.utime(path, (long_ago, long_ago))
    os.utime(Path(environment.location, "built.json"), (long_ago, long_ago))
    [held] = local_inventory.listed()
    assert pruning.plan([held], pruning.Wanted(idle_seconds=86_400))[0] == [held]
    await build(spec_of(repository))
    [held] = local_inventory.listed()
    assert [each.reason for each in pruning.plan([held], pruning.Wanted(idle_seconds=86_400))[1]] == [
        "it was used not long ago"
    ]


async def test_sandbox_that_is_open_keeps_its_environment(repository: object) -> None:
    sandbox = LocalSandbox(1)
    environment = await sandbox.build(spec_of(repository))
    [held] = local_inventory.listed()
    assert held.processes == 1
    assert [each.reason for each in pruning.plan([held], pruning.Wanted())[1]] == ["a process uses it"]
    assert local_cache.discard(Path(held.id)) == "a process uses it"
    assert (await sandbox.execute(environment, Script("print('still here')"))).output == "still here\n"
    await sandbox.close()
    [held] = local_inventory.listed()
    assert pruning.plan([held], pruning.Wanted())[0] == [held]
    assert local_cache.discard(Path(held.id)) == ""
    assert local_cache.discard(Path(held.id)) == ""
    assert local_inventory.listed() == []
    assert not there(held)
    assert await build(spec_of(repository)) == environment
    assert there(held)


async def test_environment_of_another_sandbox_is_held_by_who_executes_in_it(repository: object) -> None:
    environment = await build(spec_of(repository))
    sandbox = LocalSandbox(1)
    try:
        await sandbox.execute(environment, Script("pass"))
        assert local_cache.discard(Path(environment.location)) == "a process uses it"
    finally:
        await sandbox.close()


@pytest.mark.slow
def test_killed_process_lets_go_of_its_environment(repository: object, own_cache: Path) -> None:
    with start(spec_of(repository)) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "built\n"
        [held] = local_inventory.listed()
        assert held.processes == 1
        assert local_cache.discard(Path(held.id)) == "a process uses it"
        process.send_signal(signal.SIGKILL)
        process.wait(10)
    assert local_inventory.listed()[0].processes == 0
    assert not list((own_cache / "users").iterdir())
    assert local_cache.discard(Path(held.id)) == ""
    assert drafts(own_cache) == []


@pytest.mark.slow
def test_half_built_folder_goes_once_its_build_is_killed(repository: object, own_cache: Path) -> None:
    with start(spec_of(repository, setup="sleep 600")) as process:
        until = time.monotonic() + 60
        while not list(own_cache.glob("environments/.*/venv/*")):
            assert time.monotonic() < until
            assert process.poll() is None
            time.sleep(0.05)
        assert list(local_inventory.drafts()) == []
        process.send_signal(signal.SIGKILL)
        process.wait(10)
    (drafts(own_cache)[0] / "tree").chmod(0o500)
    [left] = local_inventory.drafts()
    assert left.reason == "its build was killed"
    assert leftovers.remove_folder(left)
    assert drafts(own_cache) == []
    assert list(local_inventory.drafts()) == []


def test_folder_that_was_interfered_with_is_no_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNOFF_CACHE_DIR", str(tmp_path))
    assert local_inventory.listed() == []
    assert list(local_inventory.drafts()) == []
    for name, text in (("notes", None), ("aa-1", "{"), ("bb-1", "[]"), ("cc-1", "{}")):
        (tmp_path / "environments" / name).mkdir(parents=True)
        if text:
            (tmp_path / "environments" / name / "built.json").write_text(text)
    assert local_inventory.listed() == []


def test_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNOFF_CACHE_DIR", str(tmp_path))
    (tmp_path / "users").write_text("a file where a folder should be")
    (tmp_path / "environments" / "aa-1").mkdir(parents=True)
    with pytest.raises(SandboxError, match="the cache cannot be written"):
        local_cache.Uses().take(tmp_path / "environments" / "aa-1")


def test_environment_of_an_image_is_none_of_the_local_backend(repository: object) -> None:
    assert local_inventory.key_for(EnvironmentSpec("a" * 40, image="x/y")) == ""
    assert local_inventory.key_for(spec_of(repository, python="python-that-nobody-has")) == ""


def test_what_a_process_uses_stays() -> None:
    held = Held("1", "environment", (), 10, 10, 0.0, 0, key="1", backend="local", processes=1)
    assert [each.reason for each in pruning.plan([held], pruning.Wanted())[1]] == ["a process uses it"]
