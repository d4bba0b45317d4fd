"""Clones show whether a patch applies; only objects at the base commit are read."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from agent.instances import Instance
from sandbox.api import Patch
from sandbox.errors import InputError
from selection.chain import Choice, parse_chain
from selection.consensus import Split
from selection.patches.trees import Trees, misfit
from selection.steps.plain import label_free
from tests.selection.diffs import diff

BEFORE = "def total(items):\n    found = 0\n    return found\n"
FIX = diff(BEFORE, BEFORE.replace("found = 0", "found = sum(items)"), "till.py")
PARENTHESES = diff(BEFORE, BEFORE.replace("found = 0", "found = (sum(items))"), "till.py")
STALE = FIX.replace("-    found = 0", "-    count = 9")


@pytest.fixture
def clones(tmp_path: Path) -> Path:
    work = tmp_path / "clones" / "shop__till"
    (work / "größe").mkdir(parents=True)
    (work / "till.py").write_text(BEFORE)
    (work / "größe" / "a b.py").write_bytes("# -*- coding: latin-1 -*-\nname = 'größe'\n".encode("latin-1"))
    for words in (["init", "-q"], ["add", "."], ["-c", "user.name=t", "-c", "user.email=t@x", "commit", "-qm", "base"]):
        subprocess.run(["git", *words], cwd=work, check=True)
    (work / "till.py").write_text("changed in the work tree\n")
    return tmp_path / "clones"


@pytest.fixture
def instance(clones: Path) -> Instance:
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=clones / "shop__till", capture_output=True, text=True, check=True
    )
    return Instance("shop__till-1", "shop/till", commit.stdout.strip(), "It fails.")


def test_files_at_the_base_commit(clones: Path, instance: Instance) -> None:
    found = Trees(clones).files(instance, ["till.py", "größe/a b.py", "none.py", "größe", ""])
    assert found == {"till.py": BEFORE, "größe/a b.py": "# -*- coding: latin-1 -*-\nname = 'größe'\n"}


def test_bare_clone_by_another_name(clones: Path, instance: Instance, tmp_path: Path) -> None:
    folder = tmp_path / "bare"
    subprocess.run(["git", "clone", "-q", "--bare", clones / "shop__till", folder / "shop" / "till.git"], check=True)
    assert Trees(folder).files(instance, ["till.py"]) == {"till.py": BEFORE}


def test_no_clone_or_no_such_commit(clones: Path) -> None:
    assert Trees(clones).files(Instance("i", "shop/other", "0" * 40, "s"), ["till.py"]) is None
    assert Trees(clones).files(Instance("i", "shop/till", "0" * 40, "s"), ["till.py"]) is None


def test_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        Trees(tmp_path / "none")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (FIX, ""),
        (diff("", "x = 1\n", "new/made.py"), ""),
        (STALE, "does not apply"),
        (FIX.replace("till.py", "../till.py"), "a path with `..`"),
        (diff("x\n", "y\n", "missing.py"), "No such file"),
    ],
)
def test_whether_a_patch_fits(text: str, says: str) -> None:
    reason = misfit(text, {"till.py": BEFORE})
    assert says in reason
    assert bool(reason) == bool(says)


def test_path_that_leaves_the_folder_writes_nothing(tmp_path: Path) -> None:
    target = tmp_path / "target"
    text = diff("", "x\n", str(target).lstrip("/")).replace("b/", f"b/{'../' * 12}", 1)
    assert misfit(text, {})
    assert not target.exists()


async def choose(instance: Instance, trees: Trees | None, **offers: str) -> Choice:
    proposals = [(name, Patch(text)) for name, text in offers.items()]
    chain = parse_chain("consensus", label_free(Split({instance.id: proposals}), list(offers), trees=trees))
    return await chain(instance, proposals)


async def test_patch_that_does_not_apply_drops_out(clones: Path, instance: Instance) -> None:
    choice = await choose(instance, Trees(clones), a=STALE, b=STALE + "\n", c=FIX)
    assert choice.chosen is not None
    assert choice.chosen.origins == ("c",)
    assert choice.steps[0].out[0].reason.startswith("it does not apply: error: patch failed")


async def test_syntax_trees_are_compared(clones: Path, instance: Instance) -> None:
    with_trees = await choose(instance, Trees(clones), a=FIX, b=PARENTHESES)
    without = await choose(instance, None, a=FIX, b=PARENTHESES)
    assert [len(choice.steps[1].kept) for choice in (with_trees, without)] == [1, 2]


async def test_instance_without_a_clone_is_chosen_for_by_the_diffs(clones: Path) -> None:
    choice = await choose(Instance("i", "shop/other", "0" * 40, "s"), Trees(clones), a=STALE)
    assert choice.chosen is not None
    assert choice.steps[0].note == "there is no clone with the base commit"


def test_all_files_at_the_base_commit(clones, instance):
    assert set(Trees(clones).paths(instance) or ()) == {"till.py", "größe/a b.py"}
    assert Trees(clones).paths(replace(instance, base_commit="0" * 40)) is None
    assert Trees(clones).paths(replace(instance, repo="shop/other")) is None
