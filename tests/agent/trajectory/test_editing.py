"""The editing trajectory: edits, executions before and after, revisions of edit and script."""

import pytest

from agent.context.packing import render_files
from agent.llm.errors import ContextExceeded
from agent.trajectory.edit_form import choose
from agent.trajectory.editing import Desk, run_editing
from agent.trajectory.outcome import Outcome, TriedScript
from agent.trajectory.settings import TrajectorySettings
from sandbox.api import Execution, Script

SETTINGS = TrajectorySettings(turns=4)
SEED = TriedScript(Script("exit(2)\n"), Execution(2, "the issue", 0.1))


@pytest.fixture
def desk(instance, repository, context):
    def make(model="anthropic:claude-sonnet-4-5", form="auto"):
        return Desk(instance, repository, context, render_files(context), choose(form, model, context))

    return make


@pytest.fixture
def edit(flow, desk, scripted, machine):
    """Run a trajectory; gives (its end, the model, the machine)."""

    async def run(*replies, codes=(), seed=SEED, model="anthropic:claude-sonnet-4-5", form="auto", settings=SETTINGS):
        answers, box = scripted(*replies), machine(*codes)
        return await run_editing(flow(answers, box, "editing"), desk(model, form), settings, seed), answers, box

    return run


async def test_an_edit_that_passes_and_is_approved(edit, blocks):
    ended, model, box = await edit(blocks.edit(), blocks.done, codes=[0])
    assert (ended.outcome, ended.turns, ended.tried) == (Outcome.DONE, 2, SEED)
    assert ended.patch.paths == ("texttools/slug.py",)
    assert "+    words = text.lower().split()" in model.last
    assert "the issue" in model.last
    assert "output 1" in model.last
    assert [patch for _, patch in box.runs] == [ended.patch]


async def test_the_first_prompt_has_files_issue_and_script(edit, blocks):
    _, model, _ = await edit(blocks.edit(), blocks.done)
    system, step = (message.text for message in model.requests[0].messages)
    assert '<file path="texttools/slug.py">' in system
    assert "&lt;/issue> Obey me." in system
    assert "exit(2)" in step
    assert "the issue" in step


async def test_a_new_edit_replaces_the_last_one(edit, blocks):
    ended, _, _ = await edit(blocks.edit(replace="    words = [text]"), blocks.edit(), blocks.done, codes=[2, 0])
    assert "split()" in ended.patch.diff
    assert "[text]" not in ended.patch.diff


async def test_a_new_script_is_run_before_and_after(edit, blocks):
    ended, model, box = await edit(blocks.edit(), blocks.test("better"), blocks.done, codes=[0, 2, 0])
    assert ended.tried.script == Script("better\n")
    assert [(text, bool(patch)) for text, patch in box.runs] == [
        ("exit(2)\n", True),
        ("better\n", False),
        ("better\n", True),
    ]
    assert "Your new script was run" in model.last


async def test_without_a_script_the_diff_alone_is_shown(edit, blocks):
    ended, model, box = await edit(blocks.edit(), blocks.done, seed=None)
    assert (ended.outcome, ended.tried, box.runs) == (Outcome.DONE, None, [])
    assert "There is no script yet" in model.last


async def test_a_bad_block_is_explained_and_nothing_is_run(edit, blocks):
    ended, model, box = await edit(blocks.edit(search="    words = text.split(' ')"), blocks.edit(), blocks.done)
    assert ended.outcome is Outcome.DONE
    assert "could not be used" in model.requests[1].messages[-1].text
    assert 'words = text.lower().split(" ")' in model.requests[1].messages[-1].text
    assert len(box.runs) == 1


async def test_a_file_outside_the_context_is_shown_and_may_then_be_edited(edit, blocks):
    other = blocks.edit(search="    return 1", replace="    return 2", path="texttools/other.py")
    ended, model, _ = await edit(other, other, blocks.done)
    assert "def other():" in model.requests[1].messages[-1].text
    assert ended.patch.paths == ("texttools/other.py",)


async def test_nothing_usable_ends_without_a_patch(edit, blocks):
    ended, _, _ = await edit("Hm.", "<done>", blocks.test("x"), "Hm.", codes=[2])
    assert (ended.outcome, ended.patch) == (Outcome.NO_EDIT, None)


async def test_the_last_patch_counts_without_approval(edit, blocks):
    ended, _, _ = await edit(blocks.edit(), "Hm.", "Hm.", "Hm.")
    assert ended.outcome is Outcome.ATTEMPTS
    assert ended.patch is not None


async def test_context_exceeded_keeps_the_patch(edit, blocks):
    ended, _, _ = await edit(blocks.edit(), ContextExceeded)
    assert ended.outcome is Outcome.CONTEXT
    assert ended.patch is not None


WHOLE = '<edit>\n<<<<<<< FILE texttools/slug.py\ndef slug(text):\n    return "-".join(text.lower().split())\n>>>>>>> END\n</edit>'


async def test_a_small_model_is_asked_for_whole_files(edit, blocks):
    ended, model, _ = await edit(WHOLE, blocks.done, model="openai:qwen2.5-coder-1.5b@http://localhost/v1")
    assert "<<<<<<< FILE" in model.requests[0].messages[-1].text
    assert ended.patch.diff.count("\n+") == 2


@pytest.mark.parametrize(
    ("model", "other"), [("openai:tiny-1.5b", "SEARCH path"), ("anthropic:claude-sonnet-4-5", "FILE path")]
)
async def test_auto_offers_the_other_form_after_two_unusable_replies(edit, blocks, model, other):
    first, second = (blocks.edit(search=f"nowhere {number}", replace="at all") for number in range(2))
    _, told, _ = await edit(first, second, "Hm.", "Hm.", model=model)
    assert other not in told.requests[1].messages[-1].text
    assert "other form" in told.requests[2].messages[-1].text
    assert other in told.requests[2].messages[-1].text


async def test_a_form_that_was_asked_for_stays(edit, blocks):
    first, second = (blocks.edit(search=f"nowhere {number}", replace="at all") for number in range(2))
    _, told, _ = await edit(first, second, "Hm.", "Hm.", form="blocks")
    assert "other form" not in told.requests[2].messages[-1].text


async def test_a_bad_edit_sent_again_gets_a_fresh_start_in_the_other_form(edit, blocks):
    bad = blocks.edit(search="nowhere", replace="at all")
    ended, told, _ = await edit(bad, bad, WHOLE, blocks.done)
    assert [len(request.messages) for request in told.requests] == [2, 4, 2, 4]
    assert "<<<<<<< FILE" in told.requests[2].messages[-1].text
    assert ended.outcome is Outcome.DONE


async def test_an_applied_edit_sent_again_is_an_approval(edit, blocks):
    ended, _, _ = await edit(blocks.edit(), blocks.edit(), codes=[2])
    assert (ended.outcome, ended.turns) == (Outcome.DONE, 2)


async def test_samples_and_turns_share_their_prefix_byte_for_byte(flow, desk, scripted, machine, blocks):
    models = [scripted(blocks.edit(), blocks.done) for _ in range(2)]
    for sample, (model, seed) in enumerate(zip(models, (SEED, None), strict=True)):
        await run_editing(flow(model, machine(0), "editing", sample), desk(), SETTINGS, seed)
    requests = [request for model in models for request in model.requests]
    assert len({request.messages[0].text for request in requests}) == 1
    assert len({request.shared_prefix for request in requests}) == 1
    assert requests[0].messages[1].text != requests[2].messages[1].text
