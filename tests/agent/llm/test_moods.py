"""Both SDKs against a real llama.cpp server in every bad mood: what runoff does, and what the ledger then holds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from agent.jsonl import read_lines
from agent.llm.anthropic_client import AnthropicClient
from agent.llm.client import Client
from agent.llm.ledger import Ledger
from agent.llm.model import Model
from agent.llm.openai_client import OpenAIClient
from agent.llm.retry import GaveUp, RetryLimits
from sandbox.errors import RunoffError
from tests.agent.llm.dialects import ask, key
from tests.agent.llm.llama import end, start
from tests.agent.llm.moods import ATTEMPTS, PAGE, RESTARTED, STREAMED, WHOLE, Row, sections
from tests.agent.llm.proxy import Proxy

server = pytest.mark.server
pytestmark = pytest.mark.timeout(400)  # the first run downloads 130 MB
QUICK = RetryLimits(attempts=ATTEMPTS, seconds=30, first_wait=0.02, longest_wait=0.1)
IDLE = 3.0


@pytest.fixture
async def proxy(llama: str) -> AsyncIterator[Proxy]:
    async with Proxy.before(llama) as made:
        yield made


def client_of(vendor: str, url: str, row: Row) -> Client:
    limits: dict[str, Any] = {"timeout": row.timeout, "idle": IDLE, "stream_above": 1 if row.streamed else 4096}
    if vendor == "openai":
        return OpenAIClient(f"openai:m@{url}/v1", "m", api_key="k", base_url=f"{url}/v1", **limits)
    return AnthropicClient(f"anthropic:m@{url}", "m", api_key="k", base_url=url, **limits)


async def ended(model: Model, row: Row, tokens: int) -> tuple[str, str, str]:
    """How it ended, with what stop reason, and what was said."""
    # llama.cpp streams no `message_start` where the first token is half a character, as of many a smiley: not by chance here
    temperature = 0.0 if row.temperature is None else row.temperature
    try:
        reply = await model.complete(ask(row.asks, max_tokens=tokens, temperature=temperature), key())
    except GaveUp as error:
        return "ServerUnavailable", "", str(error)
    except RunoffError as error:
        return type(error).__name__, "", str(error)
    return "reply", str(reply.stop_reason), ""


async def play(row: Row, vendor: str, url: str, path: Path, tokens: int = 4, retry: RetryLimits = QUICK) -> None:
    """One call; compares its end and the ledger with the row."""
    with Ledger(path) as ledger:
        model = Model(client_of(vendor, url, row), ledger=ledger, retry=retry, on_repeat=lambda key, repeat: None)
        try:
            how, stop, said = await ended(model, row, tokens)
        finally:
            await model.close()
    lines = list(read_lines(path, "the ledger"))
    repeats = [line for line in lines if line["kind"] == "repeat"]
    said += "".join(line["error"] for line in repeats)
    totals = Ledger(path).totals()
    settled = row.ends == "reply" if row.settled is None else row.settled
    attempts = 1 + len(repeats)
    assert (how, attempts, totals.maybe_billed) == (row.ends, row.attempts or attempts, row.billed), said
    assert (totals.calls, totals.failed, totals.unsettled) == (1, int(not settled), 0)
    assert totals.uncounted == int(settled and not row.counted)
    assert row.stop in ("", stop)
    assert row.says in said
    if row.ends == "reply":
        assert lines[-1]["attempts"] == attempts


def cases(rows: tuple[Row, ...]) -> list[Any]:
    """Each row for each vendor."""
    return [pytest.param(row, vendor, id=f"{row.mood}-{vendor}") for row in rows for vendor in row.vendors]


@server
@pytest.mark.parametrize(("row", "vendor"), cases(WHOLE))
async def test_whole_replies(row: Row, vendor: str, proxy: Proxy, tmp_path: Path, unused_tcp_port: int) -> None:
    proxy.moods = list(row.plays)
    url = proxy.url if row.requests != 0 else f"http://127.0.0.1:{unused_tcp_port}"
    await play(row, vendor, url, tmp_path / "ledger.jsonl")
    assert len(proxy.asked) == (row.attempts if row.requests is None else row.requests)
    if row.waits:
        assert proxy.times[1] - proxy.times[0] >= row.waits


@server
@pytest.mark.parametrize(("row", "vendor"), cases(STREAMED))
async def test_streamed_replies(row: Row, vendor: str, proxy: Proxy, tmp_path: Path) -> None:
    proxy.moods = list(row.plays)
    await play(replace(row, streamed=True), vendor, proxy.url, tmp_path / "ledger.jsonl")
    assert len(proxy.asked) == (row.attempts if row.requests is None else row.requests)
    assert proxy.asked[0]["stream"] is True
    if row.waits:
        assert proxy.times[1] - proxy.times[0] >= row.waits


async def until_it_writes(url: str) -> None:
    """Wait until the server is in the middle of a reply."""
    async with aiohttp.ClientSession(url) as session, asyncio.timeout(30):
        while True:
            async with session.get("/metrics") as answer:
                if "llamacpp:requests_processing 1" in await answer.text():
                    return
            await asyncio.sleep(0.02)


class Mortal:
    """A server of this module's own, always on the same port."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self.process, self.url = start(log, slots=1)
        assert self.url, log.read_text()

    def kill_and_restart(self) -> None:
        end(self.process, kill=True)
        self.process, url = start(self.log, port=int(self.url.rpartition(":")[2]), slots=1)
        assert url == self.url, self.log.read_text()


@pytest.fixture(scope="module")
def mortal(llama: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mortal]:
    made = Mortal(tmp_path_factory.mktemp("mortal") / "log")
    yield made
    end(made.process)


@server
@pytest.mark.parametrize(("row", "vendor"), cases(RESTARTED))
async def test_server_that_is_killed(row: Row, vendor: str, mortal: Mortal, tmp_path: Path) -> None:
    """While it is down and while it loads, attempts fail before it has the request: they cost nothing."""
    patient = RetryLimits(attempts=1000, seconds=120, first_wait=0.1, longest_wait=0.3)
    asked = replace(row, asks="Tell a long story about a river.")
    task = asyncio.create_task(play(asked, vendor, mortal.url, tmp_path / "ledger.jsonl", 80, patient))
    await until_it_writes(mortal.url)
    await asyncio.to_thread(mortal.kill_and_restart)
    await task
    assert len([line for line in read_lines(tmp_path / "ledger.jsonl", "the ledger") if line["kind"] == "repeat"]) > 1


def test_page() -> None:
    assert PAGE.read_text() == "".join(sections()), "out of date: python -m tests.agent.llm.moods"
