"""No network, no way out, no secrets, no forged result: asked of all real backends."""

from __future__ import annotations

import contextlib
import secrets
import socket
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from sandbox.api import Execution, Limits, Verdict
from tests.sandbox import hostile, hostile_reach

pytestmark = pytest.mark.asyncio(loop_scope="module")
Attack = Callable[..., Awaitable[Execution]]
LONGER = Limits(seconds=60, memory_mb=256, disk_mb=16, processes=64)


@pytest.fixture
def listeners() -> Iterator[dict[str, object]]:
    """What listens on the host: a port of its loopback, and an abstract socket."""
    abstract = f"runoff-{secrets.token_hex(8)}"
    with socket.create_server(("127.0.0.1", 0)) as server, contextlib.closing(socket.socket(socket.AF_UNIX)) as hidden:
        hidden.bind(f"\0{abstract}")
        hidden.listen()
        yield {"port": server.getsockname()[1], "abstract": abstract}


async def test_no_way_out(attack: Attack, listeners: dict[str, object]) -> None:
    execution = await attack(hostile_reach.REACH_OUT.format(**listeners), LONGER)
    assert (execution.output.splitlines(), execution.exit_code) == (hostile_reach.HELD_IN, 3)


async def test_network_that_is_opened_by_name(attack: Attack, listeners: dict[str, object]) -> None:
    text = "import socket\nprint(sum(name != 'lo' for _, name in socket.if_nameindex()) > 0)" + hostile.ENDS
    assert (await attack(text, network=True)).output == "True\n"


async def test_secrets_of_the_host(attack: Attack, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    secret = f"swordfish-{secrets.token_hex(8)}"
    monkeypatch.setenv("PLANTED_SECRET", secret)
    planted = tmp_path / "planted"
    planted.write_text(secret)
    execution = await attack(hostile_reach.LOOK_AROUND.format(secret=secret, path=str(planted)))
    assert (execution.output, execution.exit_code) == ("", 3)


async def test_result_is_not_forged(attack: Attack) -> None:
    execution = await attack(hostile.FORGE_RESULT)
    assert (execution.output, execution.exit_code) == (f"\n{hostile.FORGED}\n", 3)
    assert execution.verdict is Verdict.BROKEN


async def test_every_signal_to_the_runner(attack: Attack) -> None:
    execution = await attack(hostile.SIGNAL_RUNNER)
    assert (execution.output, execution.exit_code, execution.limit) == ("", 3, None)


async def test_runner_keeps_its_limits_and_its_priority(attack: Attack) -> None:
    execution = await attack(hostile.STARVE_RUNNER)
    assert (execution.output, execution.exit_code, execution.limit) == ("", 3, None)


async def test_walk_of_proc(attack: Attack) -> None:
    execution = await attack(hostile_reach.WALK_PROC)
    assert (execution.output, execution.exit_code) == ("", 3)


async def test_calls_of_the_kernel(attack: Attack) -> None:
    execution = await attack(hostile_reach.BREAK_OUT)
    assert (execution.output, execution.exit_code) == ("", 3)
