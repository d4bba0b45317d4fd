"""Which images go and which stay, and that somebody's own tag keeps an image."""

from __future__ import annotations

import io
import secrets
import tarfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import docker
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox import inventory, pruning, pulling
from sandbox.docker_build import ABOUT_LABELS, FROM_LABEL, KEY_LABEL
from sandbox.inventory import Held

ENVIRONMENT = Held("1", "environment", ("runoff/env:1",), 10, 1, 0.0, 0, key="1", project="a/b", made_from="docker.io/x/y")
PULLED = Held("2", "pulled", ("x/y:latest",), 9, 9, 0.0, 0, mark=pulling.mark_of("x/y"))
USED = replace(PULLED, id="3", kind="used", mark="")


@pytest.mark.parametrize(
    ("held", "wanted", "reason"),
    [
        (ENVIRONMENT, pruning.Wanted(), ""),
        (PULLED, pruning.Wanted(), ""),
        (USED, pruning.Wanted(), "runoff did not make it"),
        (ENVIRONMENT, pruning.Wanted(keys={"1"}), "an unfinished run needs it"),
        (PULLED, pruning.Wanted(names={"x/y:latest"}), "an unfinished run needs it"),
        (replace(ENVIRONMENT, containers=1), pruning.Wanted(), "a container uses it"),
        (replace(ENVIRONMENT, created=time.time()), pruning.Wanted(idle_seconds=86_400), "it was used not long ago"),
        (ENVIRONMENT, pruning.Wanted(project="a/c"), "it is of another project"),
        (ENVIRONMENT, pruning.Wanted(project="a/b"), ""),
    ],
)
def test_what_goes(held: Held, wanted: pruning.Wanted, reason: str) -> None:
    going, kept = pruning.plan([held], wanted)
    assert [each.reason for each in kept] == ([reason] if reason else [])
    assert going == ([] if reason else [held])


def test_image_stays_while_an_environment_built_in_it_does() -> None:
    _, kept = pruning.plan([PULLED, ENVIRONMENT], pruning.Wanted(keys={"1"}))
    assert [(each.held.id, each.reason) for each in kept] == [
        ("1", "an unfinished run needs it"),
        ("2", "an environment that stays was built in it"),
    ]
    assert [each.id for each in pruning.plan([PULLED, ENVIRONMENT], pruning.Wanted())[0]] == ["1", "2"]


KEYS = st.sampled_from("abc")


@given(
    st.lists(st.builds(lambda key, n: replace(ENVIRONMENT, id=f"{key}{n}", key=key, containers=n), KEYS, st.integers(0, 1))),
    st.sets(KEYS),
    st.sets(KEYS),
)
def test_more_that_is_wanted_never_makes_more_go(held: list[Held], some: set[str], more: set[str]) -> None:
    few, _ = pruning.plan(held, pruning.Wanted(keys=some))
    fewer, kept = pruning.plan(held, pruning.Wanted(keys=some | more))
    assert {each.id for each in fewer} <= {each.id for each in few}
    assert len(fewer) + len(kept) == len(held)
    assert not {each.key for each in fewer} & (some | more)


@pytest.fixture
def client(require_docker: None) -> Iterator[docker.DockerClient]:
    made = docker.from_env()
    yield made
    made.close()


@pytest.fixture
def own_image(client: docker.DockerClient) -> Iterator[str]:
    """An environment's image of a project of this test's own; its project."""
    token = secrets.token_hex(8)
    project = f"runoff-test/{token}"
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        entry = tarfile.TarInfo("file")
        entry.size = 300_000
        tar.addfile(entry, io.BytesIO(secrets.token_bytes(300_000)))
    labels = {KEY_LABEL: token, ABOUT_LABELS["project"]: project, FROM_LABEL: "x/y"}
    changes = [f"LABEL {name}={value}" for name, value in labels.items()]
    client.api.import_image_from_data(packed.getvalue(), repository="runoff/env", tag=token, changes=changes)
    yield project
    for tag in (f"runoff/env:{token}", f"runoff-test/{token}:mine"):
        if client.images.list(tag):
            client.images.remove(tag, force=True)


def of_project(client: docker.DockerClient, project: str) -> list[Held]:
    return [each for each in inventory.listed(client) if each.project == project]


@pytest.mark.docker
def test_image_is_listed_and_removed(client: docker.DockerClient, own_image: str) -> None:
    [held] = of_project(client, own_image)
    assert held.kind == "environment"
    assert held.made_from == "x/y"
    assert held.own >= 300_000
    assert pruning.remove(client, held) == ""
    assert of_project(client, own_image) == []
    assert pruning.remove(client, held) == ""


@pytest.mark.docker
def test_somebodys_own_tag_keeps_an_image(client: docker.DockerClient, own_image: str) -> None:
    mine = f"{own_image}:mine"
    [held] = of_project(client, own_image)
    client.images.get(held.names[0]).tag(own_image, "mine")
    [held] = of_project(client, own_image)
    assert pruning.remove(client, held) == f"it has a tag of somebody's: {mine}"
    assert client.images.get(mine).tags == [mine]


@pytest.mark.docker
def test_container_keeps_an_image(client: docker.DockerClient, own_image: str) -> None:
    [held] = of_project(client, own_image)
    container = client.api.create_container(held.id, ["nothing"])
    try:
        [held] = of_project(client, own_image)
        assert pruning.plan([held], pruning.Wanted())[1][0].reason == "a container uses it"
        assert "container" in pruning.remove(client, held)
        assert len(of_project(client, own_image)) == 1
    finally:
        client.api.remove_container(container["Id"])


@pytest.mark.docker
def test_many_may_list_at_once(client: docker.DockerClient, own_image: str) -> None:
    """Engines before 23 count for one at a time, and refuse the others."""

    def ask(_: int) -> list[Held]:
        asking = docker.from_env()
        try:
            return of_project(asking, own_image)
        finally:
            asking.close()

    with ThreadPoolExecutor(6) as threads:
        found = list(threads.map(ask, range(6)))
    assert [len(held) for held in found] == [1] * 6
