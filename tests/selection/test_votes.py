"""Votes: who may vote, and that no order of scripts or candidates matters."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.instances import Instance
from sandbox.api import Execution, Patch, Script, Verdict
from sandbox.matrix import Matrix
from selection.candidates import Candidate
from selection.chain import Contest
from selection.ranking import Criterion, compare, deciding, rank
from selection.steps.standing import Applies, Votes
from selection.votes import Status, count, standings, voters

ISSUE, PASS, CRASH = Execution(2, "", 0.1), Execution(0, "", 0.1), Execution(1, "", 0.1)
ISSUE_1 = Instance("shop__till-1", "shop/till", "0" * 40, "The total is always 0.")
TIMEOUT = Execution(-9, "", 120.0, timed_out=True)
STUCK = Execution(None, "", 0.0, apply_error="patch failed: a.py:1")

runs = st.sampled_from([ISSUE, PASS, CRASH, TIMEOUT])


def candidate(number: int, size: int = 1, lines: int = 1) -> Candidate:
    patch = Patch(f"--- a/a\n+++ b/a\n@@ -1,0 +1,{lines} @@\n" + f"+{number}\n" * lines)
    return Candidate(f"c{number}", patch, tuple(f"editing/{number}.{index}" for index in range(size)))


def matrix_of(baseline: list[tuple[Execution, ...]], rows: list[tuple[Candidate, list[Execution | None]]]) -> Matrix:
    scripts = tuple(Script(f"script {index}") for index in range(len(baseline)))
    cells = {
        (one.patch.digest, script.digest): cell
        for one, row in rows
        for script, cell in zip(scripts, row, strict=True)
        if cell is not None
    }
    digests = [script.digest for script in scripts]
    return Matrix(scripts, tuple(one.patch for one, _ in rows), dict(zip(digests, baseline, strict=True)), cells)


@pytest.mark.parametrize(
    ("baseline", "status", "reason"),
    [
        ((ISSUE, ISSUE), Status.VOTES, "exits 2 on the unpatched code base, in each of 2 runs"),
        ((ISSUE,), Status.VOTES, "exits 2 on the unpatched code base, once"),
        ((PASS, PASS), Status.NO_ISSUE, "exits 0 on the unpatched code base: it does not show the issue"),
        ((CRASH, CRASH), Status.BROKEN, "exits 1 on the unpatched code base"),
        ((TIMEOUT,), Status.BROKEN, "times out on the unpatched code base"),
        ((Execution(2, "", 1, limit="memory"),), Status.BROKEN, "reaches the limit on memory on the unpatched code base"),
        ((ISSUE, PASS), Status.FLAKY, "contradicts itself in 2 runs on the unpatched code base: exits 2 / exits 0"),
        (
            (ISSUE, TIMEOUT, ISSUE),
            Status.FLAKY,
            "contradicts itself in 3 runs on the unpatched code base: exits 2 / times out",
        ),
        ((), Status.BROKEN, "was never run on the unpatched code base"),
    ],
)
def test_standing_of_a_script(baseline, status, reason):
    matrix = matrix_of([baseline], [])
    (standing,) = standings(matrix, [("testing/1", matrix.scripts[0]), ("testing/4", matrix.scripts[0])])
    assert (standing.status, standing.reason, standing.origins) == (status, reason, ("testing/1", "testing/4"))


def test_only_scripts_that_show_the_issue_have_a_vote():
    one, other = candidate(1), candidate(2)
    matrix = matrix_of(
        [(ISSUE, ISSUE), (PASS, PASS), (ISSUE, PASS), (CRASH, CRASH)],
        [(one, [PASS, PASS, PASS, PASS]), (other, [ISSUE, PASS, PASS, PASS])],
    )
    tallies = count(matrix, [one, other], standings(matrix))
    assert (tallies["c1"].votes, tallies["c2"].votes) == (1, 0)
    assert tallies["c2"].verdicts[matrix.scripts[1].digest] is Verdict.PASS


def test_a_crash_on_a_candidate_is_no_vote_and_a_missing_cell_neither():
    one, other = candidate(1), candidate(2)
    matrix = matrix_of([(ISSUE,)], [(one, [CRASH]), (other, [None])])
    tallies = count(matrix, [one, other], standings(matrix))
    assert [tallies[name].votes for name in ("c1", "c2")] == [0, 0]
    assert tallies["c2"].verdicts == {}


def test_order_is_votes_then_size_then_shortness_then_digest():
    short, long, many, voted = candidate(1), candidate(2, lines=4), candidate(3, size=3, lines=9), candidate(4, lines=9)
    matrix = matrix_of([(ISSUE,)], [(short, [ISSUE]), (long, [ISSUE]), (many, [ISSUE]), (voted, [PASS])])
    everyone = [long, short, voted, many]
    found = rank(everyone, count(matrix, everyone, standings(matrix)))
    assert [one.candidate for one in found] == [voted, many, short, long]
    first, second, third, last = found
    assert deciding(first, second) is Criterion.VOTES
    assert compare(second, first, "the winner") == "fewer votes than the winner (0 against 1)"
    assert compare(second, third, "the last") == "found by more samples than the last (3 against 1)"
    assert compare(last, third, "it") == "longer than it (4 changed lines against 1)"


async def rule(matrix, candidates):
    """What the steps `applies` and `votes` say, one after the other."""
    tallies = count(matrix, candidates, standings(matrix))
    applied = await Applies(tallies)(Contest(ISSUE_1, tuple(candidates), len(candidates)))
    left = tuple(placed.candidate for placed in applied.kept)
    return applied, await Votes(tallies, len(voters(standings(matrix))))(Contest(ISSUE_1, left, len(candidates)))


async def test_a_candidate_that_does_not_apply_is_out_whatever_its_votes():
    stuck, able = candidate(1, size=9), candidate(2)
    matrix = matrix_of([(ISSUE,), (ISSUE,)], [(stuck, [PASS, STUCK]), (able, [ISSUE, ISSUE])])
    applied, voted = await rule(matrix, [stuck, able])
    assert [one.candidate for one in voted.kept] == [able]
    assert [(one.candidate, one.reason) for one in applied.out] == [(stuck, "does not apply: patch failed: a.py:1")]
    assert voted.note == "2 scripts voted"


@st.composite
def elections(draw):
    scripts, candidates = draw(st.integers(0, 4)), draw(st.integers(0, 5))
    baseline = [tuple(draw(st.lists(runs, min_size=1, max_size=3))) for _ in range(scripts)]
    voters_of = [candidate(number, draw(st.integers(1, 3)), draw(st.integers(1, 4))) for number in range(candidates)]
    cells = st.one_of(runs, st.none(), st.just(STUCK))
    return matrix_of(baseline, [(one, [draw(cells) for _ in range(scripts)]) for one in voters_of]), voters_of


@given(elections(), st.randoms())
def test_no_order_of_scripts_or_candidates_matters(election, random):
    matrix, candidates = election
    shuffled = Matrix(
        tuple(random.sample(matrix.scripts, len(matrix.scripts))),
        tuple(random.sample(matrix.patches, len(matrix.patches))),
        dict(random.sample(list(matrix.baseline.items()), len(matrix.baseline))),
        dict(random.sample(list(matrix.cells.items()), len(matrix.cells))),
    )
    mixed = random.sample(candidates, len(candidates))
    assert set(standings(matrix)) == set(standings(shuffled))
    tallies, again = count(matrix, candidates, standings(matrix)), count(shuffled, mixed, standings(shuffled))
    assert tallies == again
    assert asyncio.run(rule(matrix, candidates))[1] == asyncio.run(rule(shuffled, mixed))[1]


@given(elections())
def test_every_candidate_is_ranked_or_out(election):
    matrix, candidates = election
    applied, voted = asyncio.run(rule(matrix, candidates))
    everyone = [*voted.kept, *applied.out]
    assert sorted(one.candidate.id for one in everyone) == sorted(one.id for one in candidates)
    scores = [one.score for one in voted.kept]
    assert scores == sorted(scores, reverse=True)


@given(elections())
def test_a_vote_never_exceeds_the_scripts_that_may_vote(election):
    matrix, candidates = election
    qualified = voters(standings(matrix))
    for tally in count(matrix, candidates, standings(matrix)).values():
        passed = {script for script, verdict in tally.verdicts.items() if verdict is Verdict.PASS}
        assert tally.votes == len(passed & qualified)
