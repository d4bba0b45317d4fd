"""What a batch removes as its instances end, on a real engine."""

import io
import secrets
import tarfile
from dataclasses import asdict

import docker
import pytest

from agent.cli.tidying import Tidying
from agent.store import Run
from sandbox.api import EnvironmentSpec
from sandbox.pulling import mark_of

pytestmark = pytest.mark.docker


class Clock:
    now = 0.0

    def __call__(self):
        self.now += 0.01
        return self.now


@pytest.fixture
def images():
    """`images(name)` makes a tiny image as if runoff had pulled it; its full name. All of them are gone afterwards."""
    client, project = docker.from_env(), f"runoff-test-{secrets.token_hex(6)}"

    def make(name, *, pulled=True):
        full = f"{project}/{name}"
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as archive:
            archive.addfile(tarfile.TarInfo(name))
        client.api.import_image_from_data(packed.getvalue(), repository=full, tag="1")
        if pulled:
            repository, _, tag = mark_of(f"{full}:1").partition(":")
            client.images.get(f"{full}:1").tag(repository, tag)
        return f"{full}:1"

    make.here = lambda: {
        tag.partition("/")[2].partition(":")[0]
        for image in client.images.list()
        for tag in image.tags
        if tag.startswith(project)
    }
    yield make
    for image in client.images.list():
        if any(tag.startswith(project) for tag in image.tags):
            client.images.remove(image.id, force=True)
    client.close()


@pytest.fixture
def run(tmp_path):
    return Run(tmp_path / "runs" / "mine")


def begin(run, **names):
    """Instances that name these images."""
    specs = {
        name: asdict(EnvironmentSpec("a" * 40, None, image=image)) | {"repository": None} for name, image in names.items()
    }
    run.begin({"settings": {}, "order": list(names)}, {name: {"environment": spec} for name, spec in specs.items()})


async def test_images_of_finished_instances(images, run):
    """Not those of unfinished ones, of another run, of nobody here, and not what was here before."""
    before = images("before")
    notes = []
    tidying = Tidying(run, "always", notes.append, Clock())
    await tidying.begin()
    begin(run, a=images("one"), b=images("two"), c=before, d=images("shared"), e=images("own", pulled=False))
    begin(Run(run.path.with_name("other")), z=run.instance("d").read("instance.json")["environment"]["image"])
    images("foreign")
    for name in ("a", "c", "d", "e"):
        run.instance(name).write("result.json", {})
    await tidying.ended()
    assert images.here() == {"before", "two", "shared", "own", "foreign"}
    (told,) = notes
    assert told.text.startswith("removed 1 images of finished instances")
    run.instance("b").write("result.json", {})
    await tidying.ended()
    assert "two" in images.here(), "looking costs time, so it is not done at every ending"
    tidying._clock.now += 3600
    await tidying.ended()
    assert images.here() == {"before", "shared", "own", "foreign"}


@pytest.mark.parametrize(("when", "keep", "gone"), [("low", "1e9", True), ("low", "0", False), ("never", "1e9", False)])
async def test_when_the_disk_is_low(images, run, monkeypatch, when, keep, gone):
    monkeypatch.setenv("RUNOFF_KEEP_FREE", keep)
    tidying = Tidying(run, when, lambda event: None)
    await tidying.begin()
    begin(run, a=images("one"))
    run.instance("a").write("result.json", {})
    await tidying.ended()
    assert ("one" in images.here()) is not gone


async def test_engine_that_does_not_answer(run, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", "unix:///nonexistent/docker.sock")
    notes = []
    tidying = Tidying(run, "always", notes.append)
    await tidying.begin()
    await tidying.ended()
    assert [told.text.partition(":")[0] for told in notes] == ["images of finished instances will stay"]
