import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.context.ranking import Answer, RankingSettings, merge, rank, read_ranking
from agent.context.relevance import RelevantFile
from agent.llm.errors import ContextExceeded

FILES = [RelevantFile(path, f"About {path}.", 10) for path in ("a.py", "b.py", "c.py", "d.py")]
PATHS = [file.path for file in FILES]


def by_name(request, key):
    named = re.findall(r"^(\S+) \(\d+ tokens\)", request.messages[-1].text, re.MULTILINE)
    return f"Backwards.\n```json\n{json.dumps(sorted(named, reverse=True))}\n```"


async def test_rankings_are_merged(make_flow, scripted):
    model = scripted(by_name)
    ranking = await rank(make_flow(model, "ranking"), FILES, issue="i", repository="a/b")
    assert ranking.paths == ("d.py", "c.py", "b.py", "a.py")
    assert (ranking.invented, ranking.unparsed, ranking.fallback) == (0, 0, False)
    assert len(model.asked) == 3
    assert len({request.parts["files"] for request in model.asked}) == 3
    assert len({request.shared_prefix for request in model.asked}) == 1


async def test_a_resumed_ranking_asks_nothing(make_flow, scripted):
    first = await rank(make_flow(scripted(by_name), "ranking"), FILES, issue="i", repository="a/b")
    again = scripted(by_name)
    assert await rank(make_flow(again, "ranking"), FILES, issue="i", repository="a/b") == first
    assert again.asked == []


async def test_invented_paths_and_unreadable_answers_are_counted(make_flow, scripted):
    answers = ["no list", '["b.py", "made_up.py", "a.py"]', "['c.py']"]
    model = scripted(lambda request, key: answers[int(key.branch.rpartition(".")[2])])
    ranking = await rank(make_flow(model, "ranking"), FILES, issue="i", repository="a/b")
    assert ranking.paths == ("b.py", "c.py", "a.py", "d.py")
    assert (ranking.invented, ranking.unparsed, ranking.fallback) == (1, 1, False)


async def test_without_any_readable_answer_the_order_stays(make_flow, scripted):
    ranking = await rank(make_flow(scripted(lambda *_: "sorry"), "ranking"), FILES, issue="i", repository="a/b")
    assert ranking.paths == tuple(PATHS)
    assert (ranking.unparsed, ranking.fallback) == (3, True)


async def test_too_many_notes_are_ranked_in_groups(make_flow, scripted):
    model = scripted(by_name)
    settings = RankingSettings(rankings=2, notes_tokens=20)
    ranking = await rank(make_flow(model, "ranking"), FILES, issue="i", repository="a/b", settings=settings)
    assert len(model.asked) == 4
    assert ranking.paths == ("b.py", "d.py", "a.py", "c.py")


async def test_an_overflowing_ranking_is_split(make_flow, scripted):
    def small(request, key):
        if request.messages[-1].text.count("tokens)") > 2:
            raise ContextExceeded("too long")
        return by_name(request, key)

    ranking = await rank(make_flow(scripted(small), "ranking"), FILES, issue="i", repository="a/b")
    assert sorted(ranking.paths) == PATHS
    assert not ranking.fallback


async def test_one_file_needs_no_call(make_flow, scripted):
    model = scripted(by_name)
    ranking = await rank(make_flow(model, "ranking"), FILES[:1], issue="i", repository="a/b")
    assert (ranking.paths, model.asked) == (("a.py",), [])


@pytest.mark.parametrize(
    ("text", "order"),
    [
        ('["b.py", "a.py"]', ["b.py", "a.py"]),
        ("x\n```json\n['b.py', 'a.py',]\n```\ndone", ["b.py", "a.py"]),
        ('First ["x"], then ["a.py", "b.py"]', ["a.py", "b.py"]),
        ('[{"path": "b.py"}, {"path": "./a.py"}]', ["b.py", "a.py"]),
        ('{"ranking": ["b.py", "a.py", "b.py"]}', ["b.py", "a.py"]),
        ('["b.py", "a.py", "c', ["b.py", "a.py"]),
        ('["b.py" "a.py"]', ["b.py", "a.py"]),
        ('["app/[id].py", "a.py"]', ["app/[id].py", "a.py"]),
        ("none", None),
        ("[]", None),
        ('["made_up.py"]', None),
    ],
)
def test_lists_in_answers(text, order):
    answer = read_ranking(text, ["a.py", "b.py", "app/[id].py"])
    if order is None:
        assert answer.ranks is None
    else:
        ranks = {path: rank for path, rank in answer.ranks.items() if rank < 1}
        assert sorted(ranks, key=ranks.get) == order


orders = st.lists(st.permutations(PATHS), min_size=1, max_size=5)


def answers_of(lists):
    return [Answer({path: order.index(path) / len(order) if path in order else 1.0 for path in PATHS}) for order in lists]


@given(orders, st.randoms())
def test_the_merge_does_not_depend_on_the_order_of_rankings(lists, random):
    answers = answers_of(lists)
    merged = merge(PATHS, answers)
    random.shuffle(answers)
    assert merge(PATHS, answers).paths == merged.paths
    assert sorted(merged.paths) == PATHS


@given(st.permutations(PATHS), st.integers(1, 4))
def test_equal_rankings_are_kept(order, count):
    assert merge(PATHS, answers_of([order] * count)).paths == tuple(order)


@given(orders)
def test_a_file_that_every_ranking_prefers_comes_first(lists):
    preferring = [["c.py", *(path for path in order if path != "c.py")] for order in lists]
    assert merge(PATHS, answers_of(preferring)).paths[0] == "c.py"
