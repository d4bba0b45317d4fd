"""The selection trajectory: real scripts on real patched trees, with a scripted model."""

from __future__ import annotations

import pytest

from agent.llm.errors import ContextExceeded, ServerUnavailable
from agent.llm.messages import Reply, StopReason
from agent.trajectory.journal import JournalMismatch
from sandbox.api import Verdict
from sandbox.errors import InputError
from selection.candidates import gather
from selection.trajectory import SelectionSettings, choose

SEVERAL_SPACES = """\
Only one of them may collapse runs of spaces.

<script>
import sys
from slugs import slug
print(slug("A  b"))
sys.exit(0 if slug("A  b") == "a-b" else 2)
</script>
"""


@pytest.fixture
def finalists(patches):
    return gather([(name, patches[name]) for name in ("lower", "fold", "split")])[0]


@pytest.fixture
def ask(flow_of, instance, finalists, before, expects):
    """Runs the trajectory with a model; settings by name."""

    async def run(model, **settings):
        example = expects("Hello World", "hello-world")
        chosen = SelectionSettings(**settings)
        return await choose(flow_of(model), instance, finalists, files_before=before, example=example, settings=chosen)

    return run


def number_of(finalists, origin: str) -> int:
    """The number that a candidate has in the prompt: by digest."""
    order = sorted(finalists, key=lambda one: one.patch.digest)
    return next(number for number, one in enumerate(order, 1) if origin in one.origins)


async def test_a_script_is_run_on_the_original_and_all_finalists(ask, scripted, finalists, tree):
    split = number_of(finalists, "split")
    model = scripted(SEVERAL_SPACES, f"It alone is right.\n<choose>{split}</choose>")
    decision = await ask(model)
    assert decision.chosen is not None
    assert decision.chosen.origins == ("split",)
    assert (decision.calls, decision.argument, decision.undecided) == (2, "It alone is right.", "")
    (trial,) = decision.trials
    by_origin = {one.origins[0]: trial.verdicts[one.id] for one in finalists}
    assert by_origin == {"split": Verdict.PASS, "lower": Verdict.ISSUE, "fold": Verdict.ISSUE}
    assert trial.baseline is Verdict.ISSUE
    assert len(tree.ran) == 4
    assert f"On candidate {split} the script exits 0" in model.told(1)
    assert "\nA--b\n" in model.told(1)


async def test_numbers_do_not_tell_who_leads(flow_of, instance, finalists, before, scripted):
    """The journal of one order of finalists serves the other: every part of the prompt is the same."""
    settings = SelectionSettings(turns=1)
    await choose(flow_of(scripted("hm")), instance, finalists, files_before=before, example=None, settings=settings)
    silent = scripted()
    await choose(flow_of(silent), instance, finalists[::-1], files_before=before, example=None, settings=settings)
    assert silent.requests == []


async def test_what_cannot_be_acted_on_goes_back_and_costs_a_call(ask, scripted, finalists, tree):
    model = scripted(
        "Hm.", "<choose>9</choose>", Reply("<script>\nimp", stop_reason=StopReason.LENGTH), "", "<choose>2</choose>"
    )
    decision = await ask(model)
    assert decision.calls == 5
    assert decision.chosen == sorted(finalists, key=lambda one: one.patch.digest)[1]
    assert "neither a script nor a choice" in model.told(1)
    assert "numbered 1 to 3" in model.told(2)
    assert "cut off at the length limit" in model.told(3)
    assert model.requests[4].messages[-2].text == "(empty reply)"
    assert tree.ran == []


@pytest.mark.parametrize(
    ("last", "why"),
    [
        (Reply("", stop_reason=StopReason.REFUSAL), "the model refused to answer"),
        (ContextExceeded("too long", prompt_tokens=9, limit=8), "the prompt outgrew the model's context"),
        ("no idea", "no choice within 2 model calls"),
    ],
)
async def test_no_decision_says_why(ask, scripted, last, why):
    decision = await ask(scripted(SEVERAL_SPACES, last), turns=2)
    assert (decision.chosen, decision.undecided, decision.calls) == (None, why, 2)
    assert len(decision.trials) == 1


async def test_a_script_in_the_last_reply_is_not_run(ask, scripted, tree):
    decision = await ask(scripted(SEVERAL_SPACES), turns=1)
    assert decision.undecided == "no choice within 1 model calls"
    assert tree.ran == []


async def test_the_last_call_is_announced(ask, scripted):
    model = scripted(SEVERAL_SPACES, "hm", "<choose>1</choose>")
    await ask(model, turns=3)
    assert "You have 2 replies left" in model.told(1)
    assert "This is your last reply" in model.told(2)


async def test_a_repeated_script_is_named_and_recorded_once(ask, scripted):
    model = scripted(SEVERAL_SPACES, SEVERAL_SPACES, "<choose>1</choose>")
    decision = await ask(model)
    assert len(decision.trials) == 1
    assert "this very script before" not in model.told(1)
    assert "this very script before" in model.told(2)


async def test_a_choice_behind_a_script_does_not_end_the_run_off(ask, scripted, tree):
    model = scripted(f"{SEVERAL_SPACES}\nSo 3 is right.\n<choose>3</choose>", "<choose>1</choose>")
    decision = await ask(model)
    assert (decision.calls, len(tree.ran)) == (2, 4)
    assert "does not count" in model.told(1)


async def test_long_thoughts_for_a_choice_are_kept_in_part(ask, scripted):
    decision = await ask(scripted("x" * 9000 + "<choose>1</choose>"))
    assert "7000 characters cut" in decision.argument


async def test_long_outputs_are_cut_in_the_middle(ask, scripted):
    model = scripted("<script>\nprint('a' * 500 + 'z' * 500)\n</script>", "<choose>1</choose>")
    await ask(model, output_chars=100)
    assert "[... 901 characters cut ...]" in model.told(1)
    assert len(model.told(1)) < 2000


async def test_each_request_extends_the_one_before(ask, scripted):
    model = scripted(SEVERAL_SPACES, "hm", "<choose>1</choose>")
    await ask(model)
    first, second, third = model.requests
    assert second.messages[:2] == (first.messages[0], second.messages[1])
    assert [message.text for message in third.messages[:4]] == [message.text for message in second.messages]
    assert len({request.shared_prefix for request in model.requests}) == 1
    assert [part.name for part in first.messages[0].parts] == ["instructions", "issue", "files", "candidates"]
    assert set(third.parts) == {"instructions", "issue", "files", "candidates", "step", "feedback", "reply"}
    assert (first.temperature, first.max_tokens) == (0.0, 8192)


@pytest.mark.parametrize(("name", "value"), [("finalists", 0), ("turns", -1), ("max_tokens", 0), ("output_chars", 0)])
def test_settings_that_cannot_work_are_refused(name, value):
    with pytest.raises(InputError, match=f"{name} must be at least {value + 1}, not {value}"):
        SelectionSettings(**{name: value})


async def test_a_resumed_trajectory_asks_and_runs_nothing_twice(ask, scripted, tree):
    with pytest.raises(ServerUnavailable):
        await ask(scripted(SEVERAL_SPACES, ServerUnavailable("down")))
    assert len(tree.ran) == 4
    rest = scripted("<choose>1</choose>")
    decision = await ask(rest)
    assert (decision.calls, len(decision.trials), len(rest.requests), len(tree.ran)) == (2, 1, 1, 4)
    silent = scripted()
    assert await ask(silent) == decision
    assert (len(silent.requests), len(tree.ran)) == (0, 4)


async def test_a_resume_with_another_issue_stops(flow_of, instance, finalists, before, scripted):
    settings = SelectionSettings(turns=1)
    await choose(flow_of(scripted("hm")), instance, finalists, files_before=before, example=None, settings=settings)
    other = {"slugs.py": "something else\n"}
    with pytest.raises(JournalMismatch, match="'files'"):
        await choose(flow_of(scripted()), instance, finalists, files_before=other, example=None, settings=settings)
