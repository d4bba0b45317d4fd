"""A Docker engine that goes away under a batch, for a while and for longer than it is waited for: nothing is lost."""

import gc
import json
import os
import shutil
import threading
import time
from collections import Counter
from contextlib import contextmanager

import pytest

from sandbox.images import BASE
from tests.e2e.batches import batch_of, bench_in
from tests.private_engine import private_engine

AWAY = 12.0
"""Seconds of the outage: a restart of an engine. A minute is no different, and what is waited for is 120 s unless told."""

pytestmark = [
    *(pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(420), pytest.mark.xdist_group("private_engine")),
    pytest.mark.filterwarnings("ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def engine(require_service):
    require_service(os.geteuid() == 0 and shutil.which("dockerd"), "a private engine needs root: sudo scripts/docker-engine")
    with private_engine() as running:
        running.copy(BASE)
        yield running
        gc.collect()


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    with bench_in(tmp_path_factory.mktemp("bench")) as (folder, rows, clones, fork):
        yield folder, rows[:3], clones, fork


@pytest.fixture(scope="module")
def expected(bench):
    """What the same batch comes to where nothing goes wrong."""
    with batch_of(bench, "alone") as made:
        code, _, err = made.start()
        assert code == 0, err
        return results(made.run)


@pytest.fixture
def batch(bench, request, runoff):
    """A batch that `runoff`, in a process of its own, works on below its own folder."""
    with batch_of(bench, request.node.name.removeprefix("test_")) as made:
        made.run = runoff.folder / "runs" / made.name
        yield made


def results(run):
    """What trajectories came to and which patch won, by instance."""
    held = {path.parent.name: json.loads(path.read_text()) for path in run.glob("*/result.json")}
    return {name: (result["outcomes"], result["patch"]) for name, result in held.items()}


@contextmanager
def working(runoff, *command, **environment):
    """(process, what it says so far): `runoff`, at work."""
    with runoff.start(*command, **environment) as process:
        lines = []
        reading = threading.Thread(target=lambda: lines.extend(process.stderr))
        reading.start()
        try:
            yield process, lines
        finally:
            process.kill()
            reading.join()


def executed(run):
    """Executions that instances have noted down."""
    return sum(path.read_bytes().count(b"\n") for path in run.glob("*/executions.jsonl"))


def test_engine_that_is_away_for_a_while(batch, engine, expected, runoff, wait_until):
    """It is waited for: no call is made again, nobody fails, and the end is that of a run that was left alone."""
    batch.player.seconds = 0.3
    with working(runoff, *batch.arguments("--sandbox", "docker"), DOCKER_HOST=engine.host) as (process, said):
        wait_until(lambda: executed(batch.run) > 6, seconds=120)
        engine.crash()
        held = executed(batch.run)
        time.sleep(AWAY)
        assert executed(batch.run) <= held + 2, "nobody executes anything"
        engine.start()
        assert process.wait(200) == 0, "".join(said)
    assert "the Docker engine does not answer" in "".join(said)
    assert "the Docker engine answers again" in "".join(said)
    assert (batch.unresolved(), set(batch.predictions())) == ({}, set(batch.ids()))
    assert results(batch.run) == expected
    assert max(Counter(batch.player.asked).values()) == 1, "no reply is paid twice"
    assert list(batch.run.glob("*/failure.json")) == []


def test_engine_that_stays_away_is_nobodys_failure(batch, engine, expected, runoff, wait_until):
    """The run stops, names the sandbox as the cause, and is taken up when the engine is back."""
    batch.player.seconds = 0.3
    short = {"DOCKER_HOST": engine.host, "RUNOFF_ENGINE_WAIT": "1"}
    with working(runoff, *batch.arguments("--sandbox", "docker"), **short) as (process, said):
        wait_until(lambda: executed(batch.run) > 6, seconds=120)
        engine.crash()
        assert process.wait(100) == 4, "".join(said)
    assert f"runoff resume {batch.name}" in "".join(said)
    assert set(batch.causes().values()) <= {"sandbox", "unfinished"}
    assert "sandbox" in batch.causes().values()
    held, asked = batch.journaled(), len(batch.player.asked)
    engine.start()
    code, _, err = runoff("resume", batch.name, DOCKER_HOST=engine.host)
    assert (code, batch.unresolved()) == (0, {}), err
    assert results(batch.run) == expected
    assert not held & set(batch.player.asked[asked:]), "what had reached a journal is not paid again"
