"""No known secret crosses between runoff and a model's client."""

from __future__ import annotations

import logging

import pytest

from agent.llm.client import CallKey
from agent.llm.errors import WrongKey
from agent.llm.guard import GuardedClient
from agent.llm.messages import Reply, Request
from agent.llm.specs import check
from agent.redaction import Redactor
from tests.agent.llm.dialects import ask, key

SECRET = "Kq8-a-key-of-somebody"
SECRETS = Redactor({"MY_KEY": SECRET})


class Echo:
    """A client that answers with what it is asked, or fails with it."""

    spec = "openai:m"

    def __init__(self, *, fails: bool = False) -> None:
        self.fails = fails
        self.asked: list[Request] = []

    async def complete(self, request: Request, key: CallKey) -> Reply:
        self.asked.append(request)
        if self.fails:
            raise WrongKey(f"wrong key: {SECRET[:12]}…", where=SECRET, hint=SECRET)
        return Reply(f"you sent {SECRET}", model=SECRET)

    async def check(self) -> None:
        raise WrongKey(f"wrong key: {SECRET}")

    async def count(self, request: Request) -> int:
        return len(request.messages[-1].text)

    async def close(self) -> None:
        pass


async def test_prompts_and_replies(caplog: pytest.LogCaptureFixture) -> None:
    echo = Echo()
    guarded = GuardedClient(echo, lambda: SECRETS)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            reply = await guarded.complete(ask(f"KEY = '{SECRET}'"), key())
    assert "KEY = '[redacted:MY_KEY:1]'" in echo.asked[0].messages[-1].text
    assert echo.asked[0] == echo.asked[1]  # a prompt cache holds
    assert (reply.text, reply.model) == ("you sent [redacted:MY_KEY:1]", "[redacted:MY_KEY:1]")
    assert [record.getMessage() for record in caplog.records] == [
        "openai:m: a prompt would have held the value of MY_KEY; a marker is sent instead"
    ]


async def test_requests_without_secrets_are_the_same() -> None:
    echo = Echo()
    request = ask("KEY = 'ghp_" + "a1B2" * 9 + "'")
    await GuardedClient(echo, lambda: SECRETS).complete(request, key())
    assert echo.asked == [request]
    assert echo.asked[0].digest == request.digest


async def test_errors() -> None:
    with pytest.raises(WrongKey) as raised:
        await GuardedClient(Echo(fails=True), lambda: SECRETS).complete(ask("hello"), key())
    error = raised.value
    assert (error.message, error.where) == ("wrong key: [redacted:MY_KEY:1]…", "[redacted:MY_KEY:1]")
    with pytest.raises(WrongKey, match=r"wrong key: \[redacted:MY_KEY:1\]$"):
        await check(GuardedClient(Echo(), lambda: SECRETS))


async def test_what_is_counted_is_what_is_sent() -> None:
    assert await GuardedClient(Echo(), lambda: SECRETS).count(ask(SECRET)) == len("[redacted:MY_KEY:1]")
