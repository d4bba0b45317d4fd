"""The connection to the engine: few descriptors, and nothing that could not be removed is forgotten."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.engine import Engine, Stop
from sandbox.errors import SandboxLost
from sandbox.images import BASE

pytestmark = pytest.mark.docker


@pytest.fixture
def engine(require_docker: None) -> Iterator[Engine]:
    made = Engine(secrets.token_hex(8))
    yield made
    made.remove_all()
    made.close()


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_connections_of_a_thread_stay_few(engine: Engine) -> None:
    """Each URL has a connection of its own in the library, and each container has URLs of its own."""
    engine.client.ping()
    before = descriptors()
    for number in range(12):
        engine.remove(f"runoff-no-such-container-{number}")
    assert descriptors() <= before + 2


def test_container_that_cannot_be_removed_now_is_removed_later(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    first = engine.create(BASE, Stop(), {})
    with monkeypatch.context() as patch:
        patch.setenv("DOCKER_HOST", "unix:///nonexistent/engine.sock")
        engine.remove(first.name)
        assert not engine.answers()
        with pytest.raises(SandboxLost, match="does not answer: No such file or directory"):
            engine.create(BASE, Stop(), {})
    assert engine.answers()
    second = engine.create(BASE, Stop(), {})
    filters = {"label": f"runoff.run={engine.run}"}
    assert [each.id for each in engine.client.containers.list(all=True, filters=filters)] == [second.id]


def test_engine_that_stops_need_not_wait_for_our_containers(engine: Engine) -> None:
    container = engine.create(BASE, Stop(), {})
    container.reload()
    assert container.attrs["Config"]["StopSignal"] == "SIGKILL"
