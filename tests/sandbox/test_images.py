"""Images: names, and environments made from an image that has a tree of its own."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Iterator
from typing import Any

import docker
import pytest

from sandbox import images
from sandbox.api import Environment, EnvironmentSpec, Script
from sandbox.docker_sandbox import DockerSandbox
from sandbox.errors import EnvironmentBuildError, InfrastructureError
from sandbox.local_sandbox import LocalSandbox


@pytest.mark.parametrize(
    ("row", "name"),
    [
        ({"instance_id": "pallets__flask-5014"}, "docker.io/swebench/sweb.eval.x86_64.pallets_1776_flask-5014:latest"),
        ({"instance_id": "Foo__Bar-1", "image": None}, "docker.io/swebench/sweb.eval.x86_64.foo_1776_bar-1:latest"),
        ({"instance_id": "a__b-1", "docker_image": "example.org/own:1"}, "example.org/own:1"),
        ({"instance_id": "a__b-1", "image": "first", "image_name": "second"}, "first"),
    ],
)
def test_name_of_a_row(row: dict[str, Any], name: str) -> None:
    assert images.swebench_image(row) == name


@pytest.fixture
def image_with_tree(require_docker: None, repository: Any) -> Iterator[str]:
    """An image whose /testbed is a clone with the whole history, as those of SWE-bench are."""
    client = docker.from_env()
    container = client.containers.create(images.BASE, "true", labels={"runoff.test": "1"})
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        tar.add(repository.path, "testbed")
    container.put_archive("/", packed.getvalue())
    image = container.commit(repository="runoff/test", tag=repository.base[:8])
    container.remove()
    yield image.tags[0]
    client.images.remove(image.id, force=True)
    client.close()


@pytest.mark.docker
async def test_tree_of_an_image_loses_its_future(
    image_with_tree: str, repository: Any, remove_built: Callable[[Environment], None]
) -> None:
    sandbox = DockerSandbox()
    built = await sandbox.build(EnvironmentSpec(repository.base, image=image_with_tree))
    text = f"""
import subprocess, pkg.core
run = lambda *command: subprocess.run(["git", *command], capture_output=True, text=True)
print(pkg.core.double(2), run("cat-file", "-e", "{repository.future}").returncode != 0, run("tag").stdout.split())
print(run("rev-parse", "HEAD").stdout.strip(), run("status", "--porcelain", "-uno").stdout)
"""
    execution = await sandbox.execute(built, Script(text))
    await sandbox.close()
    remove_built(built)
    assert execution.output.splitlines() == ["5 True ['v1']", f"{repository.base} "]


@pytest.mark.docker
async def test_image_that_cannot_be_had(require_docker: None) -> None:
    sandbox = DockerSandbox()
    with pytest.raises((InfrastructureError, EnvironmentBuildError)) as caught:
        await sandbox.build(EnvironmentSpec("0" * 40, image="127.0.0.1:9/absent/image:1"))
    await sandbox.close()
    assert caught.value.hint
    assert caught.value.where == "127.0.0.1:9/absent/image:1"


async def test_local_sandbox_refuses_images() -> None:
    sandbox = LocalSandbox()
    with pytest.raises(EnvironmentBuildError, match="cannot use an image") as caught:
        await sandbox.build(EnvironmentSpec("0" * 40, image="some:image"))
    await sandbox.close()
    assert caught.value.hint.startswith("--sandbox docker")
