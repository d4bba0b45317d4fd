"""How models are named, and what the environment allows."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.llm.client import CallKey
from agent.llm.errors import NoKey
from agent.llm.messages import Message, Part, Reply, Request
from agent.llm.parameters import takes_of
from agent.llm.prefix_cache import prefix_cache
from agent.llm.settings import LlmSettings
from agent.llm.specs import ModelSpec, check, default_spec, open_client, parse_spec
from agent.llm.tokens import estimate, estimate_bytes, estimate_messages, estimate_prompt
from sandbox.errors import InputError
from tests.agent.llm.dialects import ask


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("anthropic:claude-opus-5", ModelSpec("anthropic", "claude-opus-5")),
        ("anthropic:m@http://h:1", ModelSpec("anthropic", "m", "http://h:1")),
        ("anthropic:m@http://h:1/v1/", ModelSpec("anthropic", "m", "http://h:1")),
        ("openai:gpt-6-sol", ModelSpec("openai", "gpt-6-sol")),
        ("openai:Qwen/Qwen3-8B@http://host:8000/v1", ModelSpec("openai", "Qwen/Qwen3-8B", "http://host:8000/v1")),
        ("openai:qwen:7b@http://[::1]:11434/v1/", ModelSpec("openai", "qwen:7b", "http://[::1]:11434/v1")),
        ("openai:m@2025@https://h/v1", ModelSpec("openai", "m@2025", "https://h/v1")),
        (" manual:some/desk ", ModelSpec("manual", "some/desk")),
        ("replay:demo", ModelSpec("replay", "demo")),
    ],
)
def test_forms(text: str, spec: ModelSpec) -> None:
    assert parse_spec(text) == spec
    assert parse_spec(str(spec)) == spec


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("", "anthropic:MODEL"),
        ("claude-opus-5", "anthropic:MODEL"),
        ("antropic:claude-opus-5", "did you mean anthropic:claude-opus-5?"),
        ("openai:", "openai:MODEL"),
        ("openai:m@localhost:8000", "@http://HOST:PORT/v1"),
        ("openai:http://host/v1", "@http://HOST:PORT/v1"),
        ("openai:m@http://", "http://HOST:PORT/v1"),
        ("openai:m@http://host:port/v1", "http://HOST:PORT/v1"),
        ("openai:m@http://user:secret@host/v1", "OPENAI_API_KEY"),
    ],
)
def test_other_forms_are_bad_input(text: str, hint: str) -> None:
    with pytest.raises(InputError) as raised:
        parse_spec(text)
    assert hint in raised.value.hint
    assert raised.value.exit_code == 2
    assert "secret" not in f"{raised.value} {raised.value.hint}"


@given(st.text())
def test_any_text_is_a_spec_or_bad_input(text: str) -> None:
    try:
        spec = parse_spec(text)
    except InputError:
        return
    assert parse_spec(str(spec)) == spec


def test_base_url_of_the_environment_becomes_part_of_the_spec() -> None:
    env = {"OPENAI_BASE_URL": "https://gateway/v1", "OPENAI_API_KEY": "k"}
    assert str(parse_spec("openai:gpt-6-sol", env)) == "openai:gpt-6-sol@https://gateway/v1"
    assert str(parse_spec("openai:m@http://h/v1", env)) == "openai:m@http://h/v1"
    assert default_spec(env).url == "https://gateway/v1"


def test_default_follows_the_keys() -> None:
    assert default_spec({"ANTHROPIC_API_KEY": "a", "OPENAI_API_KEY": "b"}).vendor == "anthropic"
    assert default_spec({"ANTHROPIC_API_KEY": " ", "OPENAI_API_KEY": "b"}).vendor == "openai"
    assert default_spec({"OPENAI_API_KEY": "b"}) != default_spec({"OPENAI_API_KEY": "b"}, cheap=True)


def test_no_key_names_the_ways_on() -> None:
    with pytest.raises(NoKey) as raised:
        default_spec({})
    assert raised.value.exit_code == 2
    assert all(way in raised.value.hint for way in ("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "@http://", "manual:DIR"))
    for text, name in (("anthropic:m", "ANTHROPIC_API_KEY"), ("openai:m", "OPENAI_API_KEY")):
        with pytest.raises(NoKey, match=name):
            open_client(parse_spec(text), LlmSettings(), {})


class Transcript:
    """Stands for the client of a recorded run, which another module makes."""

    spec = "replay:demo"

    async def complete(self, request: Request, key: CallKey) -> Reply:
        return Reply("as recorded")

    async def close(self) -> None:
        pass


async def test_clients() -> None:
    settings = LlmSettings()
    for text in ("openai:m@http://127.0.0.1:9/v1", "anthropic:m@http://127.0.0.1:9", "manual:desk"):
        client = open_client(parse_spec(text), settings, {})
        assert client.spec == text
        await client.close()
    transcript = Transcript()
    assert open_client(parse_spec("replay:demo"), settings, {}, replay=lambda spec: transcript) is transcript
    await check(transcript)
    with pytest.raises(InputError):
        open_client(parse_spec("replay:demo"), settings, {})


@pytest.mark.parametrize(
    ("spec", "takes"),
    [
        ("anthropic:claude-sonnet-4-6", (True, "max_tokens")),
        ("anthropic:claude-haiku-4-5-20251001", (True, "max_tokens")),
        ("anthropic:claude-opus-4-7", (False, "max_tokens")),
        ("anthropic:claude-sonnet-5-5", (False, "max_tokens")),
        ("anthropic:smollm2@http://127.0.0.1:8091", (True, "max_tokens")),
        ("openai:gpt-4.1", (True, "max_completion_tokens")),
        ("openai:gpt-6-sol", (False, "max_completion_tokens")),
        ("openai:o3", (False, "max_completion_tokens")),
        ("openai:gpt-5@http://127.0.0.1:8000/v1", (True, "max_tokens")),
    ],
)
def test_parameters_of_models(spec: str, takes: tuple[bool, str]) -> None:
    assert (takes_of(spec).temperature, takes_of(spec).max_tokens) == takes


@given(st.text(), st.text())
def test_estimate_grows_with_the_text(one: str, two: str) -> None:
    assert max(estimate(one), estimate(two)) <= estimate(one + two) <= estimate(one) + estimate(two)
    assert estimate(one) == estimate_bytes(len(one.encode()))


def test_estimate_of_source_is_not_too_low() -> None:
    source = Path(__file__).read_text()
    assert len(source) / 4 < estimate(source) < len(source) / 2
    assert estimate("") == 0
    assert estimate_prompt(ask("abc", system="d")) == estimate("abc") + estimate("d") + 8


@pytest.mark.parametrize(
    ("spec", "minimum"),
    [
        ("anthropic:claude-opus-4-5-20251101", 4096),
        ("anthropic:claude-opus-4-8", 1024),
        ("anthropic:claude-sonnet-4-5", 1024),
        ("anthropic:claude-haiku-4-5", 4096),
        ("anthropic:claude-sonnet-5-5", 512),
        ("openai:gpt-6-sol", 1024),
        ("openai:qwen@http://127.0.0.1:8091/v1", 0),
        ("anthropic:claude-opus-4-5@http://127.0.0.1:8091", 0),
    ],
)
def test_shortest_prefix_that_a_server_caches(spec: str, minimum: int) -> None:
    assert prefix_cache(parse_spec(spec)).min_tokens == minimum


def test_own_server_keeps_prefixes_until_it_needs_the_room() -> None:
    assert prefix_cache(parse_spec("openai:qwen@http://127.0.0.1:8091/v1")).lifetime == float("inf")
    assert prefix_cache(parse_spec("anthropic:claude-sonnet-5-5")).lifetime == 300.0


def test_shared_part_of_a_request_ends_behind_its_first_breakpoint() -> None:
    system = Message("system", (Part("rules", "Rules. "), Part("issue", "Issue.", cache=True), Part("tail", "Tail.")))
    request = Request((Message("user", (Part("a", "A"),)), system, Message("user", (Part("b", "B", cache=True),))))
    assert [message.text for message in request.shared] == ["A", "Rules. Issue."]
    assert estimate_messages(request.shared) < estimate_prompt(request)
    assert Request((Message("user", (Part("a", "A"),)),)).shared == ()
