import re

import pytest

from agent.context.candidates import candidates
from agent.context.relevance import RelevanceSettings, judge, parse_verdict
from agent.llm.errors import ContextExceeded, ServerUnavailable

FILES = {"a.py": "def broken(): ...\n", "b.py": "x = 1\n", "c.py": "import a\n"}


def answer(request, key):
    if "def broken" in request.messages[-1].text:
        return "It is here.\n\nRELEVANCE: Relevant\nSUMMARY: Defines `broken`.\nIt is empty."
    return "No.\nRELEVANCE: Not Relevant"


async def judged(repository, flow, **settings):
    files = candidates(repository).files
    return await judge(
        flow, files, read=repository.read, issue="broken() fails", repository="a/b", settings=RelevanceSettings(**settings)
    )


async def test_each_file_is_asked_about_once(make_repository, make_flow, scripted):
    model = scripted(answer)
    found = await judged(make_repository(FILES), make_flow(model))
    assert [(file.path, file.summary) for file in found.files] == [("a.py", "Defines `broken`. It is empty.")]
    assert (found.judged, found.unreadable, found.calls) == (3, (), 3)
    assert {key.branch.partition("#")[0] for key in model.keys} == set(FILES)
    assert all(request.temperature == 0.0 for request in model.asked)


async def test_all_calls_share_everything_before_the_file(make_repository, make_flow, scripted):
    model = scripted(answer)
    await judged(make_repository(FILES), make_flow(model))
    assert len({request.shared_prefix for request in model.asked}) == 1
    assert len({request.messages[0].text for request in model.asked}) == 1
    assert model.asked[0].shared_prefix


async def test_a_resumed_run_asks_nothing(make_repository, make_flow, scripted):
    repository = make_repository(FILES)
    first = await judged(repository, make_flow(scripted(answer)))
    again = scripted(answer)
    assert await judged(repository, make_flow(again)) == first
    assert again.asked == []


async def test_after_a_fault_only_what_is_missing_is_asked(make_repository, make_flow, scripted):
    def failing(request, key):
        if key.branch.startswith("b.py"):
            raise ServerUnavailable("down")
        return answer(request, key)

    repository = make_repository(FILES)
    first = scripted(failing)
    with pytest.raises(ServerUnavailable):
        await judged(repository, make_flow(first))
    again = scripted(answer)
    found = await judged(repository, make_flow(again))
    assert [file.path for file in found.files] == ["a.py"]
    answered = {key.branch for key in first.keys if not key.branch.startswith("b.py")}
    assert {key.branch for key in again.keys} == {key.branch for key in [*first.keys, *again.keys]} - answered


async def test_other_candidates_ask_only_for_what_is_new(make_repository, make_flow, scripted):
    repository = make_repository(FILES)
    files = candidates(repository).files
    common = {"read": repository.read, "issue": "broken() fails", "repository": "a/b"}
    await judge(make_flow(scripted(answer)), files[:2], **common)
    again = scripted(answer)
    await judge(make_flow(again), files, **common)
    assert [key.branch.partition("#")[0] for key in again.keys] == ["c.py"]


async def test_long_files_are_judged_in_pieces(make_repository, make_flow, scripted):
    long = "".join(f"value_{n} = {n}\n" for n in range(400)) + "def broken(): ...\n"
    model = scripted(answer)
    found = await judged(
        make_repository({"long.py": long, "b.py": "x\n"}), make_flow(model), piece_tokens=500, overlap_lines=5
    )
    assert [file.path for file in found.files] == ["long.py"]
    texts = [request.messages[-1].text for request in model.asked if "long.py" in request.messages[-1].text]
    assert len(texts) > 3
    assert {int(n) for text in texts for n in re.findall(r"value_(\d+) =", text)} == set(range(400))
    assert 'lines="1-' in texts[0]


async def test_an_answer_without_a_verdict_is_asked_for_once_more(make_repository, make_flow, scripted):
    model = scripted(lambda request, key: "RELEVANCE: Relevant\nSUMMARY: s" if key.sequence else "Hmm.")
    found = await judged(make_repository(FILES), make_flow(model))
    assert [file.path for file in found.files] == list(FILES)
    assert found.calls == len(model.asked) == 6
    assert model.asked[-1].messages[-2].role == "assistant"


async def test_files_without_a_verdict_are_listed(make_repository, make_flow, scripted):
    found = await judged(make_repository(FILES), make_flow(scripted(lambda request, key: "")))
    assert found.files == ()
    assert found.unreadable == tuple(FILES)
    assert (found.judged, found.calls) == (3, 6)


async def test_a_piece_that_overflows_is_split(make_repository, make_flow, scripted):
    def small(request, key):
        if len(request.messages[-1].text) > 1500:
            raise ContextExceeded("too long", limit=1000)
        return answer(request, key)

    text = "".join(f"value_{n} = {n}\n" for n in range(300)) + "def broken(): ...\n"
    repository = make_repository({"a.py": text})
    model = scripted(small)
    found = await judged(repository, make_flow(model))
    assert [file.path for file in found.files] == ["a.py"]
    assert found.calls == len(model.asked) > 4
    again = scripted(small)
    assert await judged(repository, make_flow(again)) == found
    assert again.asked == []


async def test_a_model_that_fits_nothing_leaves_all_unreadable(make_repository, make_flow, scripted):
    def none(request, key):
        raise ContextExceeded("too long")

    found = await judged(make_repository({"b.py": "x = 1\n"}), make_flow(scripted(none)))
    assert found.unreadable == ("b.py",)


async def test_no_candidates_no_calls(make_flow, scripted):
    model = scripted(answer)
    found = await judge(make_flow(model), (), read=str, issue="i", repository="a/b")
    assert (found.files, found.judged, model.asked) == ((), 0, [])


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("t\nRELEVANCE: Relevant\nSUMMARY: s", (True, "s")),
        ("t\nRELEVANCE: Not Relevant", (False, "")),
        ("**RELEVANCE:** **Relevant**\n**SUMMARY:** s t", (True, "s t")),
        ("RELEVANCE: Not Relevant\nwait\nRELEVANCE: Relevant\nSUMMARY: s", (True, "s")),
        ("SUMMARY: before\nRELEVANCE: Relevant", (True, "before")),
        ("relevance: `relevant`", (True, "")),
        ("RELEVANCE: Relevant.\nIt has it all.", (True, "It has it all.")),
        ("RELEVANCE: NOT_RELEVANT", (False, "")),
        ("RELEVANCE: Irrelevant", (False, "")),
        ("RELEVANCE: Relevant | Not Relevant", (None, "")),
        ("RELEVANCE: [Relevant or Not Relevant]", (None, "")),
        ("RELEVANCE: maybe", (None, "")),
        ("The relevance: high", (None, "")),
        ("", (None, "")),
    ],
)
def test_verdicts(text, verdict):
    assert parse_verdict(text) == verdict
