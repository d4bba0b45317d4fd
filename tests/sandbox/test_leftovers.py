"""What killed runs leave is found by whose it was, and nothing of a living run or of anybody else is touched."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import docker
import pytest

from sandbox import images, leftovers, owners
from sandbox.engine import Engine

DIE = "import sys; from sandbox import owners; print(owners.this_process())"


@pytest.fixture
def dead_owner() -> str:
    """Who a process was that has ended."""
    return subprocess.run([sys.executable, "-c", DIE], check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def dead_here(monkeypatch: pytest.MonkeyPatch) -> str:
    """An owner that is dead to this test alone: every other process that starts meanwhile would remove what it left."""
    owner = f"only-this-test/pid:[1]/{os.getpid()}/{secrets.token_hex(8)}"
    monkeypatch.setattr(leftovers, "state", lambda asked: "dead" if asked == owner else owners.state(asked))
    return owner


@pytest.fixture
def client(require_docker: None) -> Iterator[docker.DockerClient]:
    made = docker.from_env()
    yield made
    made.close()


@pytest.fixture
def container(client: docker.DockerClient) -> Iterator[Callable[..., str]]:
    """`container(run, owner)`: the id of a container with these labels, started."""
    made: list[str] = []

    def make(run: str, owner: str, *command: str) -> str:
        labels = {leftovers.RUN: run, owners.OWNER_LABEL: owner}
        started = client.containers.run(images.BASE, [*(command or ("sleep", "600"))], labels=labels, detach=True, init=True)
        made.append(started.id)
        return str(started.id)

    yield make
    for name in made:
        leftovers.remove(client, leftovers.Leftover("container", name, 0, ""))


def test_state_of_processes(dead_owner: str) -> None:
    assert owners.state(owners.this_process()) == "alive"
    assert owners.state(dead_owner) == "dead"
    place = owners.this_process().rpartition("/")[0]
    assert owners.state(f"{place}/1") == "dead", "the id was given out again"
    for elsewhere in ("", "another-boot/pid:[1]/1/1", "no words"):
        assert owners.state(elsewhere) == "unknown"


@pytest.mark.docker
def test_container_of_a_dead_process_goes(
    client: docker.DockerClient, container: Callable[..., str], dead_here: str
) -> None:
    run = secrets.token_hex(8)
    name = container(run, dead_here, "sh", "-c", "head -c 1000000 /dev/zero > /tmp/file; sleep 600")
    alive = container(run, owners.this_process())
    elsewhere = container(run, "another-boot/pid:[1]/1/1")
    [left] = leftovers.find(client, run)
    assert (left.kind, left.name, left.reason) == ("container", name, "its process is gone")
    assert leftovers.remove(client, left)
    assert list(leftovers.find(client, run)) == []
    assert {each.id for each in client.containers.list(filters={"label": f"{leftovers.RUN}={run}"})} == {alive, elsewhere}
    assert leftovers.remove(client, left), "what is gone is as good as removed"


@pytest.mark.docker
def test_next_build_removes_what_a_killed_run_left(
    client: docker.DockerClient, container: Callable[..., str], dead_owner: str
) -> None:
    name = container(secrets.token_hex(8), dead_owner)
    engine = Engine(secrets.token_hex(8))
    engine.prune()
    engine.close()
    assert name not in {each.id for each in client.containers.list(all=True)}


@pytest.mark.docker
def test_containers_without_the_label_are_nobodys_business(
    client: docker.DockerClient, container: Callable[..., str]
) -> None:
    """Somebody starts a container of an environment by hand: it has the image's labels, which are empty."""
    name = container("", "")
    assert name not in {left.name for left in leftovers.find(client)}


@pytest.mark.docker
def test_volumes_of_a_dead_process_go(client: docker.DockerClient, dead_here: str) -> None:
    run = secrets.token_hex(8)
    ours = client.volumes.create(f"runoff-test-{run}", labels={leftovers.RUN: run, owners.OWNER_LABEL: dead_here})
    theirs = client.volumes.create(
        f"runoff-test-{run}-living", labels={leftovers.RUN: run, owners.OWNER_LABEL: owners.this_process()}
    )
    try:
        [left] = leftovers.find(client, run)
        assert (left.kind, left.name) == ("volume", ours.name)
        assert leftovers.remove(client, left)
        assert client.volumes.get(theirs.name)
    finally:
        theirs.remove()


def test_folders_of_killed_builds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dead_owner: str) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    pid = dead_owner.split("/")[-2]
    dead, alive = tmp_path / f"{leftovers.SCRATCH}{pid}-x", tmp_path / f"{leftovers.SCRATCH}{os.getpid()}-y"
    for folder in (dead, alive, tmp_path / f"{leftovers.SCRATCH}notes", tmp_path / "other"):
        folder.mkdir()
        (folder / "file").write_bytes(b"12345")
    found = list(leftovers.find_folders())
    assert [(left.name, left.size) for left in found] == [(str(dead), 5)]
    client = docker.DockerClient("tcp://127.0.0.1:9", version="1.41")
    assert leftovers.remove(client, found[0])
    client.close()
    assert not dead.exists()
    assert alive.exists()
