"""The server of these tests that plays dialects and faults."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from tests.agent.llm.dialects import Clients, Played


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
