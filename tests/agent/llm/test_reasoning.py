"""Reasoning is no part of an answer, whichever way a server sends it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.llm.messages import StopReason, Usage
from agent.llm.reasoning import without_reasoning
from tests.agent.llm.dialects import Clients, Played, ask, chat, key, message, says


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("<think>\nhm\n</think>\n\n<done>", "<done>"),
        ("\n <think></think>yes", "yes"),
        ("<think>\nfirst I", ""),
        ("The template began it.\n<edit>draft</edit>\n</think>\n\n<edit>right</edit>", "<edit>right</edit>"),
        ("</think>\nyes", "yes"),
        ("yes", "yes"),
        ("", ""),
        ("The tag </think> ends it.", "The tag </think> ends it."),
        ("Look:\n<think>\nx\n</think>\ndone", "Look:\n<think>\nx\n</think>\ndone"),
        ("<think>a</think>b\n</think>\nc", "b\n</think>\nc"),
    ],
)
def test_tags_that_a_server_left_in(text: str, answer: str) -> None:
    assert without_reasoning(text) == answer


@given(st.text(), st.text(alphabet=st.characters(exclude_characters="<", exclude_categories=["Cs"])))
def test_what_stands_behind_reasoning_is_kept(thought: str, answer: str) -> None:
    assert without_reasoning(f"<think>{thought.replace('</think>', '')}</think>{answer}") == answer.lstrip()


@given(st.text())
def test_text_without_tags_is_untouched(text: str) -> None:
    plain = text.replace("</think>", "").replace("<think>", "")
    assert without_reasoning(plain) == plain


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
@pytest.mark.parametrize(
    ("finish", "text", "expected"),
    [
        ("stop", "Hello.", ("Hello.", StopReason.END)),
        ("stop", None, ("<done>", StopReason.END)),  # the parser took the whole answer for reasoning
        ("length", None, ("", StopReason.LENGTH)),
    ],
)
async def test_reasoning_apart_from_the_text(
    played: Played, clients: Clients, name: str, finish: str, text: str | None, expected: Any
) -> None:
    spent = {"prompt_tokens": 9, "completion_tokens": 40, "completion_tokens_details": {"reasoning_tokens": 33}}
    fields: dict[str, Any] = {name: "<done>"}
    played.plays(says(200, chat(text, finish, usage=spent, **fields)))
    reply = await clients["openai"].complete(ask(), key())
    assert (reply.text, reply.stop_reason) == expected
    assert reply.usage == Usage(input=9, output=40, reasoning=33)


async def test_thinking_blocks(played: Played, clients: Clients) -> None:
    thinking = {"type": "thinking", "thinking": "hm", "signature": "s"}
    spent = {"output_tokens": 40, "output_tokens_details": {"thinking_tokens": 33}}
    played.plays(says(200, message(content=[thinking], stop="max_tokens", **spent)))
    reply = await clients["anthropic"].complete(ask(), key())
    assert (reply.text, reply.stop_reason) == ("", StopReason.LENGTH)
    assert (reply.usage.output, reply.usage.reasoning) == (40, 33)


@pytest.mark.parametrize("vendor", ["openai", "anthropic"])
async def test_tags_in_a_reply(played: Played, clients: Clients, vendor: str) -> None:
    text = "<think>hm</think>Hello."
    played.plays(says(200, chat(text) if vendor == "openai" else message(text)))
    assert (await clients[vendor].complete(ask(), key())).text == "Hello."
