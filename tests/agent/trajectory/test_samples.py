"""All samples of an instance: seeds, borrowed scripts, parking."""

import pytest

from agent.llm.errors import ServerUnavailable
from agent.llm.messages import Reply
from agent.trajectory.outcome import Outcome, Parked
from agent.trajectory.samples import draft_samples
from agent.trajectory.settings import TrajectorySettings

SETTINGS = TrajectorySettings(turns=2)


class Staged:
    """Replies by (stage, sample); an exception is raised, once."""

    def __init__(self, replies):
        self.replies = replies
        self.asked = []
        self.prompts = {}

    async def complete(self, request, key):
        self.asked.append((key.stage, key.sample))
        self.prompts[key.stage, key.sample, key.sequence] = request.messages[-1].text
        reply = self.replies[key.stage, key.sample].pop(0)
        if isinstance(reply, Exception):
            raise reply
        return Reply(reply)


@pytest.fixture
def draft(flow, instance, repository, context, machine):
    async def run(replies, codes, count=2, **options):
        model, box = Staged(replies), machine(*codes)
        samples = await draft_samples(
            count,
            lambda stage, number: flow(model, box, stage, number),
            instance,
            repository=repository,
            context=context,
            settings=SETTINGS,
            model="m",
            **options,
        )
        return samples, model

    return run


async def test_each_sample_edits_with_its_own_script(draft, blocks):
    replies = {
        ("testing", 0): [blocks.test("script zero"), blocks.done],
        ("testing", 1): [blocks.test("script one"), blocks.done],
        ("editing", 0): [blocks.edit(), blocks.done],
        ("editing", 1): [blocks.edit(), blocks.done],
    }
    samples, model = await draft(replies, [2, 2, 0, 0])
    assert [sample.editing.outcome for sample in samples] == [Outcome.DONE] * 2
    assert "script zero" in model.prompts["editing", 0, 0]
    assert "script one" in model.prompts["editing", 1, 0]


async def test_a_sample_without_a_script_borrows_one_that_reproduces(draft, blocks):
    replies = {
        ("testing", 0): ["Hm.", "Hm."],
        ("testing", 1): [blocks.test("script one"), blocks.done],
        ("editing", 0): [blocks.edit(), blocks.done],
        ("editing", 1): [blocks.edit(), blocks.done],
    }
    samples, model = await draft(replies, [2, 0, 0])
    assert "script one" in model.prompts["editing", 0, 0]
    assert samples[0].tried == samples[1].tried


async def test_without_any_script_editing_goes_on_without(draft, blocks):
    replies = {
        ("testing", 0): ["Hm.", "Hm."],
        ("testing", 1): [blocks.test("blind"), blocks.done],
        ("editing", 0): [blocks.edit(), blocks.done],
        ("editing", 1): [blocks.edit(), blocks.done],
    }
    samples, model = await draft(replies, [0, 0])
    assert "Somebody wrote this script" not in model.prompts["editing", 0, 0]
    assert samples[0].editing.patch is not None
    assert samples[0].tried is None


async def test_a_fault_parks_its_sample_and_the_other_goes_on(draft, blocks):
    replies = {
        ("testing", 0): [ServerUnavailable("the server is down")],
        ("testing", 1): [blocks.test("one"), blocks.done],
        ("editing", 1): [blocks.edit(), blocks.done],
    }
    samples, _ = await draft(replies, [2, 0])
    assert isinstance(samples[0], Parked)
    assert (samples[0].cause, samples[0].message) == ("model server", "the server is down")
    assert samples[1].editing.outcome is Outcome.DONE


async def test_a_borrower_waits_for_a_script_that_would_come_first(draft, blocks):
    """Sample 1 borrows from the lowest number; while sample 0 is parked, which one that is cannot be known."""
    replies = {("testing", 0): [ServerUnavailable("down")], ("testing", 1): ["Hm.", "Hm."]}
    samples, model = await draft(replies, [])
    assert [type(sample) for sample in samples] == [Parked, Parked]
    assert ("editing", 1) not in model.asked


async def test_testing_alone(draft, blocks):
    replies = {("testing", number): [blocks.test("x"), blocks.done] for number in (0, 1)}
    samples, _ = await draft(replies, [2, 2], edit=False)
    assert [sample.editing for sample in samples] == [None, None]


def four(blocks, *replacements):
    """Replies to four samples whose patches put these in place."""
    replies = {("testing", number): [blocks.test("x"), blocks.done] for number in range(4)}
    return replies | {
        ("editing", number): [blocks.edit(replace=text), blocks.done] for number, text in enumerate(replacements)
    }


SAME = "    words = text.lower().split()"


async def test_samples_that_agree_save_the_others(draft, blocks):
    samples, model = await draft(four(blocks, SAME, SAME + "  ", "", ""), [2] * 8, count=4, early_stop=2)
    assert [sample.number for sample in samples] == [0, 1]
    assert {number for _, number in model.asked} == {0, 1}


async def test_samples_that_differ_save_nothing(draft, blocks):
    samples, _ = await draft(four(blocks, SAME, SAME + "[:]", SAME, SAME), [2] * 16, count=4, early_stop=2)
    assert [sample.number for sample in samples] == [0, 1, 2, 3]


async def test_indentation_is_no_matter_of_taste(draft, blocks):
    deeper = "    if text:\n        words = 1\n        text = 2", "    if text:\n        words = 1\n    text = 2"
    samples, _ = await draft(four(blocks, *deeper, SAME, SAME), [2] * 16, count=4, early_stop=2)
    assert len(samples) == 4


async def test_a_sample_without_a_patch_agrees_with_nobody(draft, blocks):
    replies = four(blocks, SAME, SAME, SAME, SAME) | {("editing", 1): ["Hm.", "Hm."]}
    samples, _ = await draft(replies, [2] * 16, count=4, early_stop=2)
    assert len(samples) == 4


async def test_a_parked_sample_leaves_it_open_whether_others_are_needed(draft, blocks):
    replies = four(blocks, SAME, SAME, SAME, SAME) | {("editing", 1): [ServerUnavailable("down")]}
    samples, model = await draft(replies, [2] * 16, count=4, early_stop=2)
    assert len(samples) == 2
    assert {number for _, number in model.asked} == {0, 1}
