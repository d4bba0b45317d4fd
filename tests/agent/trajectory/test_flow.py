"""The flow: effects are carried out once, found again on resume, and named in program order."""

import asyncio

import pytest

from agent.jsonl import read_lines
from agent.llm.errors import ContextExceeded, ServerUnavailable
from agent.llm.messages import Message, Part, Reply, Request, Usage
from agent.trajectory.flow import Flow, TrajectoryKey
from agent.trajectory.journal import Journal, JournalMismatch
from sandbox.api import Execution, Script
from sandbox.errors import SandboxError


def request(text="hello", issue="an issue"):
    return Request((Message("system", (Part("issue", issue),)), Message("user", (Part("step", text),))))


class Echo:
    """Answers with what it was asked; counts."""

    def __init__(self, faults=()):
        self.keys = []
        self.faults = list(faults)

    async def complete(self, request, key):
        self.keys.append(str(key))
        if self.faults and (fault := self.faults.pop(0)):
            raise fault
        await asyncio.sleep(0)
        return Reply(request.messages[-1].text.upper(), Usage(input=3, output=1), 0.25, "echo")


class Machine:
    """Executes nothing; exits with the length of the script."""

    def __init__(self):
        self.runs = []

    async def run(self, script, patch=None, repeat=0):
        self.runs.append((script.text, patch, repeat))
        return Execution(len(script.text), "out", 0.1)


def flow(tmp_path, model, machine=None, **options):
    return Flow(TrajectoryKey("i", "testing", 2), Journal(tmp_path / "2.jsonl"), model=model, executor=machine, **options)


async def story(flow):
    first = await flow.ask("draft", request("one"))
    execution = await flow.run("baseline", Script("exit"))
    second = await flow.ask("revise", request(f"two {execution.exit_code}"))
    return first.text, execution.exit_code, second.text


async def test_resume_repeats_no_effect(tmp_path):
    model, machine = Echo(), Machine()
    told = await story(flow(tmp_path, model, machine))
    again = await story(flow(tmp_path, model, machine))
    assert told == again == ("ONE", 4, "TWO 4")
    assert model.keys == ["i/testing/2/0", "i/testing/2/2"]
    assert len(machine.runs) == 1


async def test_a_journaled_reply_keeps_usage_dollars_and_stop_reason(tmp_path):
    reply = await flow(tmp_path, Echo()).ask("draft", request())
    found = await flow(tmp_path, None).ask("draft", request())
    assert found == reply
    assert found.usage == Usage(input=3, output=1)


async def test_branches_are_named_in_program_order_and_each_counts_for_itself(tmp_path):
    model = Echo()

    async def body(child):
        await child.ask("a", request("a"))
        await child.ask("b", request("b"))
        return child.branch

    trunk = flow(tmp_path, model)
    await trunk.ask("first", request())
    assert await trunk.all([body, body]) == ["1.0", "1.1"]
    assert await trunk.all([body], names=["src/a.py#0@12ab"]) == ["src/a.py#0@12ab"]
    assert sorted(set(model.keys)) == sorted(
        [
            "i/testing/2/0",
            *(f"i/testing/2/{branch}/{number}" for branch in ("1.0", "1.1", "src/a.py#0@12ab") for number in (0, 1)),
        ]
    )


async def test_no_more_than_the_limit_run_at_once(tmp_path):
    running = most = 0

    async def body(child):
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.001)
        running -= 1

    await flow(tmp_path, Echo()).all([body] * 20, limit=3)
    assert most == 3


async def test_siblings_under_way_end_before_a_fault_is_raised(tmp_path):
    model = Echo()
    started, finished = [], []

    def body(number):
        async def run(child):
            started.append(number)
            if number == 1:
                raise ServerUnavailable("down")
            await child.ask("x", request(str(number)))
            finished.append(number)

        return run

    with pytest.raises(ServerUnavailable):
        await flow(tmp_path, model).all([body(number) for number in range(6)], limit=2)
    assert 0 in finished
    assert started == [0, 1]


@pytest.mark.parametrize("fault", [ServerUnavailable("down", where="http://x"), SandboxError("engine gone")])
async def test_faults_are_noted_and_not_replayed(tmp_path, fault):
    model = Echo([fault])
    with pytest.raises(type(fault)):
        await flow(tmp_path, model).ask("draft", request())
    notes = [line for line in read_lines(tmp_path / "2.jsonl", "a journal") if line["kind"] == "note"]
    assert notes[0]["cause"] == fault.cause
    assert (await flow(tmp_path, model).ask("draft", request())).text == "HELLO"


async def test_context_exceeded_is_a_fact_that_is_journaled(tmp_path):
    model = Echo([ContextExceeded("too long", prompt_tokens=900, limit=800)])
    for _ in range(2):
        with pytest.raises(ContextExceeded) as caught:
            await flow(tmp_path, model).ask("draft", request())
        assert (caught.value.prompt_tokens, caught.value.limit) == (900, 800)
    assert len(model.keys) == 1


async def test_another_issue_stops_a_resume_and_says_so(tmp_path):
    await flow(tmp_path, Echo()).ask("draft", request())
    with pytest.raises(JournalMismatch, match="'issue'"):
        await flow(tmp_path, Echo()).ask("draft", request(issue="another issue"))


async def test_fork_goes_on_from_where_the_request_differs(tmp_path):
    model, machine = Echo(), Machine()
    await story(flow(tmp_path, model, machine))
    forked = flow(tmp_path, model, machine, fork=True)
    await forked.ask("draft", request("one"))
    assert (await forked.ask("revise", request("another"))).text == "ANOTHER"
    assert len(model.keys) == 3
    again = flow(tmp_path, None)
    await again.ask("draft", request("one"))
    assert (await again.ask("revise", request("another"))).text == "ANOTHER"
    with pytest.raises(AttributeError):  # there is no model: what the fork left behind is gone
        await again.ask("revise", request("two 4"))
