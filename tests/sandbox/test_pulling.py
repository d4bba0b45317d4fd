"""Pulling from a real registry: once, again after a fault of the network, and not until the disk is full."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from sandbox import pulling
from sandbox.disk import DiskLimit, DiskLow, keep_free, limit_of
from sandbox.errors import EnvironmentBuildError, InfrastructureError, InputError
from tests.image_registry import Registry

ANYTHING = DiskLimit(None, 0)


@pytest.mark.docker
def test_image_is_pulled_once_and_marked(registry: Registry) -> None:
    name = registry.push("one")
    image = pulling.ensure(registry.client, name, ANYTHING)
    registry.client.images.get(name)
    assert registry.client.images.get(pulling.mark_of(name)).id == image.id
    asked = len(registry.network.asked)
    assert pulling.ensure(registry.client, name, ANYTHING).id == image.id
    assert len(registry.network.asked) == asked


@pytest.mark.docker
def test_image_that_was_here_is_not_marked(registry: Registry) -> None:
    name = registry.push("theirs")
    registry.client.images.pull(name)
    pulling.ensure(registry.client, name, ANYTHING)
    assert not registry.here(pulling.mark_of(name))


@pytest.mark.docker
def test_faults_of_the_network_are_repeated(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulling, "FIRST_WAIT", 0.05)
    name = registry.push("shaky")
    registry.network.refusals = 2
    told: list[str] = []
    pulling.ensure(registry.client, name, ANYTHING, attempts=4, tell=told.append)
    assert registry.here(name)
    assert told
    assert all("503" in line or "attempt" in line for line in told)


@pytest.mark.docker
def test_attempts_come_to_an_end(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulling, "FIRST_WAIT", 0.05)
    name = registry.push("gone")
    registry.network.refusals = 10**6
    told: list[str] = []
    with pytest.raises(InfrastructureError, match="503") as caught:
        pulling.ensure(registry.client, name, ANYTHING, attempts=3, tell=told.append)
    assert len(told) == 2
    assert (caught.value.where, caught.value.exit_code) == (name, 4)


@pytest.mark.docker
def test_image_that_does_not_exist_is_asked_for_once(registry: Registry) -> None:
    told: list[str] = []
    with pytest.raises(EnvironmentBuildError, match="cannot be pulled"):
        pulling.ensure(registry.client, registry.name("absent"), ANYTHING, attempts=5, tell=told.append)
    assert told == []


@pytest.mark.docker
def test_pull_is_not_begun_on_a_full_disk(registry: Registry, tmp_path: Path) -> None:
    name = registry.push("large")
    with pytest.raises(DiskLow, match="GiB to be kept") as caught:
        pulling.ensure(registry.client, name, DiskLimit(tmp_path, 1 << 60))
    assert (caught.value.where, caught.value.exit_code) == (str(tmp_path), 4)
    assert "runoff images prune" in caught.value.hint
    assert not registry.here(name)


@pytest.mark.docker
def test_pull_stops_when_the_disk_gets_low(registry: Registry, tmp_path: Path) -> None:
    """What fills the disk is another file here; the pull hangs in the middle of a layer until it is looked at again."""
    name = registry.push("larger")
    registry.network.open.clear()
    full = threading.Event()

    class Filling(DiskLimit):
        def free(self) -> int | None:
            return 0 if full.is_set() else 100

    def fill() -> None:
        registry.network.waiting.wait(30)
        full.set()
        time.sleep(0.6)
        registry.network.open.set()

    threading.Thread(target=fill).start()
    with pytest.raises(DiskLow):
        pulling.ensure(registry.client, name, Filling(tmp_path, 50))
    assert not registry.here(name)


@pytest.mark.docker
def test_limit_watches_the_engines_disk(registry: Registry) -> None:
    limit = limit_of(registry.client, 5)
    assert limit.place is not None
    assert str(limit.place) == registry.client.info()["DockerRootDir"]
    assert (limit.free() or 0) > 0


@pytest.mark.parametrize(
    ("name", "short"),
    [
        ("docker.io/swebench/a:latest", "swebench/a:latest"),
        ("docker.io/library/python", "python:latest"),
        ("127.0.0.1:5000/a/b", "127.0.0.1:5000/a/b:latest"),
        ("a@sha256:00", "a@sha256:00"),
    ],
)
def test_familiar_name(name: str, short: str) -> None:
    assert pulling.familiar(name) == short
    assert pulling.mark_of(name) == pulling.mark_of(short)


def grow(path: Path, stopped: threading.Event) -> None:
    """Takes up to 4 GiB, and fails like a build whose container was removed."""
    with path.open("wb") as file:
        for size in range(64 << 20, 4 << 30, 64 << 20):
            if stopped.wait(0.2):
                break
            os.posix_fallocate(file.fileno(), 0, size)
    raise ValueError("what being stopped led to")


def test_disk_that_gets_low_while_something_grows(tmp_path: Path) -> None:
    """A real file on a real disk: it grows until less is free than is to be kept."""
    limit = DiskLimit(tmp_path, (DiskLimit(tmp_path, 0).free() or 0) - (64 << 20))
    stopped = threading.Event()
    with pytest.raises(DiskLow, match="growing"), limit.watched("growing", stopped.set):
        grow(tmp_path / "file", stopped)
    assert stopped.is_set()


def test_disk_that_stays_roomy_changes_nothing(tmp_path: Path) -> None:
    with DiskLimit(tmp_path, 0).watched("resting", lambda: pytest.fail("stopped")):
        pass
    with pytest.raises(ValueError, match="own"), DiskLimit(tmp_path, 0).watched("resting", lambda: None):
        raise ValueError("own")


def test_setting() -> None:
    assert keep_free({}) == 2 << 30
    assert keep_free({"RUNOFF_KEEP_FREE": "0.5"}) == 1 << 29
    for text in ("many", "-1", "nan", "inf"):
        with pytest.raises(InputError) as caught:
            keep_free({"RUNOFF_KEEP_FREE": text})
        assert caught.value.where == "RUNOFF_KEEP_FREE"
