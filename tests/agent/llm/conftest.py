"""The servers of these tests: one that plays dialects and faults, and the real llama.cpp with a small model."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator

import pytest
from aiohttp import web

from tests.agent.llm.dialects import Clients, Played
from tests.agent.llm.llama import end, start


@pytest.fixture
async def played() -> AsyncIterator[Played]:
    server = Played()
    app = web.Application(client_max_size=1 << 26)
    app.router.add_route("*", "/{tail:.*}", server.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    server.url = f"http://{host}:{port}"
    yield server
    await runner.cleanup()


@pytest.fixture
async def clients(played: Played) -> AsyncIterator[Clients]:
    made = Clients()
    made.url = played.url
    yield made
    for client in made.values():
        await client.close()


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Base URL (without /v1) of llama.cpp serving SmolLM2 with two slots of 1024 tokens; started once."""
    log = tmp_path_factory.mktemp("llama") / "log"
    process, url = start(log)
    try:
        if not url:
            why = f"no model server: {log.read_text()[-2000:]}"
            if os.environ.get("CI") == "true":
                pytest.fail(why)
            pytest.skip(why)
        yield url
    finally:
        end(process)
