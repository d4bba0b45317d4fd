"""The matrix: what is executed, what is not, and that it survives its file."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.api import Execution, Patch, Script
from sandbox.errors import SandboxError
from sandbox.matrix import Matrix, fill


def ended(code: int) -> Execution:
    return Execution(exit_code=code, output="", seconds=0.0)


class Answers:
    """Exit codes by script text: on the unpatched tree one a repeat, on patches always 0. Counts what was asked for."""

    def __init__(self, **baseline: list[int]) -> None:
        self.baseline = baseline
        self.asked: Counter[tuple[str, str, int]] = Counter()

    async def __call__(self, script: Script, patch: Patch | None, repeat: int) -> Execution:
        await asyncio.sleep(0)
        self.asked[script.text, patch.diff if patch else "", repeat] += 1
        return ended(0) if patch else ended(self.baseline[script.text][repeat])


ANSWERS = {"shows": [2, 2], "flaky": [2, 0], "passes": [0, 0], "crashes": [1, 1]}
SCRIPTS = [Script(name) for name in ANSWERS]
PATCHES = [Patch("one"), Patch("two")]


async def test_only_scripts_that_can_vote_meet_patches() -> None:
    run = Answers(**ANSWERS)
    matrix = await fill(run, SCRIPTS, PATCHES)
    assert {script for _, script in matrix.cells} == {Script("shows").digest}
    assert [matrix.reproduces(script) for script in SCRIPTS] == [True, False, False, False]
    assert [matrix.is_flaky(script) for script in SCRIPTS] == [False, True, False, False]
    assert sum(run.asked.values()) == 2 + 2 + 1 + 1 + 2
    assert matrix.cell(PATCHES[0], Script("shows")) == ended(0)
    assert matrix.cell(PATCHES[0], Script("flaky")) is None


async def test_all_scripts_meet_patches_when_asked() -> None:
    matrix = await fill(Answers(**ANSWERS), SCRIPTS, PATCHES, all_scripts=True)
    assert len(matrix.cells) == len(SCRIPTS) * len(PATCHES)


async def test_equal_scripts_and_patches_are_one() -> None:
    run = Answers(**ANSWERS)
    matrix = await fill(run, [*SCRIPTS, *SCRIPTS], [*PATCHES, *PATCHES])
    assert (matrix.scripts, matrix.patches) == (tuple(SCRIPTS), tuple(PATCHES))
    assert set(run.asked.values()) == {1}


async def test_fault_of_the_sandbox_comes_through() -> None:
    async def run(script: Script, patch: Patch | None, repeat: int) -> Execution:
        if script.text == "shows":
            raise SandboxError("the engine is gone")
        await asyncio.sleep(60)
        return ended(0)

    with pytest.raises(SandboxError, match="the engine is gone"):
        await asyncio.wait_for(fill(run, SCRIPTS, PATCHES), 5)


texts = st.lists(st.text(max_size=5), max_size=5)
codes = st.sampled_from([0, 1, 2])


@given(texts, texts, st.randoms(use_true_random=False), st.booleans())
def test_round_trip(scripts: list[str], patches: list[str], random: object, all_scripts: object) -> None:
    async def run(script: Script, patch: Patch | None, repeat: int) -> Execution:
        return ended(random.choice([0, 1, 2]))  # type: ignore[attr-defined]

    filled = fill(run, map(Script, scripts), map(Patch, patches), all_scripts=bool(all_scripts))
    matrix = asyncio.run(filled)
    assert Matrix.from_json(matrix.to_json()) == matrix


def test_file_of_another_format() -> None:
    with pytest.raises(ValueError, match="format 99"):
        Matrix.from_json('{"format": 99}')
