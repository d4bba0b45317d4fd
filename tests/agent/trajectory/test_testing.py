"""The testing trajectory: drafts, runs on the unpatched tree, revises."""

import pytest

from agent.llm.errors import ContextExceeded
from agent.llm.messages import StopReason
from agent.trajectory.outcome import Outcome
from agent.trajectory.settings import TrajectorySettings
from agent.trajectory.testing import run_testing
from sandbox.api import Script

SETTINGS = TrajectorySettings(turns=4)


async def test_a_script_that_reproduces_and_is_approved(flow, instance, scripted, machine, blocks):
    model, box = scripted(blocks.test("exit(2)"), blocks.done), machine(2)
    ended = await run_testing(flow(model, box), instance, SETTINGS, "")
    assert (ended.outcome, ended.turns) == (Outcome.DONE, 2)
    assert ended.tried.script == Script("exit(2)\n")
    assert ended.tried.reproduces
    assert "output 1" in model.last
    assert "Exit code 2 is right" in model.last


@pytest.mark.parametrize(("code", "says"), [(0, "does not show the issue yet"), (1, "The exit code must be 2 here")])
async def test_feedback_tells_a_wrong_exit_code(flow, instance, scripted, machine, blocks, code, says):
    model = scripted(blocks.test("first"), blocks.test("second"), blocks.done)
    ended = await run_testing(flow(model, machine(code, 2)), instance, SETTINGS, "")
    assert says in model.requests[1].messages[-1].text
    assert ended.tried.script == Script("second\n")


async def test_out_of_turns_keeps_the_last_script(flow, instance, scripted, machine, blocks):
    model = scripted(*(blocks.test(str(number)) for number in range(4)))
    ended = await run_testing(flow(model, machine(1, 1, 1, 2)), instance, SETTINGS, "")
    assert (ended.outcome, ended.tried.script.text, ended.tried.reproduces) == (Outcome.ATTEMPTS, "3\n", True)


async def test_no_script_at_all(flow, instance, scripted, machine):
    model = scripted("Hm.", "<done>", ("<test>\nfoo", StopReason.LENGTH), ("", StopReason.REFUSAL))
    ended = await run_testing(flow(model, machine()), instance, SETTINGS, "")
    assert (ended.outcome, ended.tried) == (Outcome.ATTEMPTS, None)
    assert "none of the blocks" in model.requests[1].messages[-1].text
    assert "no script yet" in model.requests[2].messages[-1].text
    assert "cut off" in model.requests[3].messages[-1].text
    assert model.requests[3].messages[-2].text == "<test>\nfoo"


async def test_a_script_that_does_not_show_the_issue_cannot_be_approved(flow, instance, scripted, machine, blocks):
    model = scripted(blocks.test("first"), blocks.done, blocks.test("second"), blocks.done)
    ended = await run_testing(flow(model, machine(1, 2)), instance, SETTINGS, "")
    assert "no script yet that exits with 2" in model.requests[2].messages[-1].text
    assert (ended.outcome, ended.tried.script.text) == (Outcome.DONE, "second\n")


async def test_a_model_that_repeats_itself_gets_a_fresh_start(flow, instance, scripted, machine, blocks):
    model = scripted(blocks.test("same"), blocks.test("same"), blocks.test("other"), blocks.done)
    box = machine(1, 2)
    ended = await run_testing(flow(model, box), instance, SETTINGS, "")
    assert [len(request.messages) for request in model.requests] == [2, 4, 2, 4]
    assert [text for text, _ in box.runs] == ["same\n", "other\n"]
    assert ended.outcome is Outcome.DONE


async def test_context_exceeded_keeps_what_there_is(flow, instance, scripted, machine, blocks):
    ended = await run_testing(flow(scripted(blocks.test(), ContextExceeded), machine(2)), instance, SETTINGS, "")
    assert (ended.outcome, ended.turns, ended.tried.reproduces) == (Outcome.CONTEXT, 1, True)


async def test_a_full_window_ends_the_trajectory_before_the_call(flow, instance, scripted, machine, blocks):
    model = scripted(blocks.test("x" * 4000), blocks.done)
    settings = TrajectorySettings(window_tokens=2000, max_tokens=100)
    ended = await run_testing(flow(model, machine(2)), instance, settings, "")
    assert (ended.outcome, len(model.requests)) == (Outcome.CONTEXT, 1)


@pytest.mark.parametrize(("setting", "shown"), [("none", False), ("files", True)])
async def test_testing_context(flow, instance, scripted, machine, blocks, setting, shown):
    model = scripted(blocks.test(), blocks.done)
    await run_testing(flow(model, machine(2)), instance, TrajectorySettings(testing_context=setting), "THE FILES")
    assert ("THE FILES" in model.requests[0].messages[0].text) is shown


async def test_bash_scripts(flow, instance, scripted, machine, blocks):
    model = scripted(blocks.test("exit 2"), blocks.done)
    ended = await run_testing(flow(model, machine(2)), instance, TrajectorySettings(language="bash"), "")
    assert ended.tried.script == Script("exit 2\n", "bash")
    assert "#!/bin/bash" in model.requests[0].messages[-1].text
