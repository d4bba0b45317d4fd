"""Ensembles: who the members are, what they propose, and what is left on the disk."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from agent.endings import Cause, Ending
from agent.instances import Instance
from sandbox.api import Patch
from sandbox.errors import InputError, SandboxError, StoreError
from selection.chain import Chain, Contest, Placed, Ruling, parse_chain
from selection.consensus import Split
from selection.ensemble import choose, digest, proposals, read_members
from selection.ensemble_store import EnsembleStore
from selection.steps.plain import label_free
from tests.selection.diffs import diff

FIX, OTHER = diff("a = 1\n", "a = 2\n"), diff("a = 1\n", "a = 3\n")


def write(path: Path, **patches: str | None) -> Path:
    rows = [{"instance_id": name, "model_name_or_path": "m", "model_patch": text} for name, text in patches.items()]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_members_are_told_apart_by_as_little_of_their_paths_as_it_takes(tmp_path):
    paths = [
        write(tmp_path / "one.jsonl", i=FIX),
        write(tmp_path / "x" / "two.jsonl", i=FIX),
        write(tmp_path / "y" / "two.jsonl", i=FIX),
        write(tmp_path / "gru" / "all_preds.jsonl", i=FIX),
        write(tmp_path / "runs" / "mine" / "predictions.jsonl", i=FIX),
    ]
    names = [member.name for member in read_members(paths)]
    assert names == ["one", "x/two", "y/two", "gru", "mine"]


def test_folder_of_a_run_is_a_member(tmp_path):
    write(tmp_path / "runs" / "mine" / "predictions.jsonl", i=FIX)
    (member,) = read_members([tmp_path / "runs" / "mine"])
    assert (member.name, member.predictions.patches) == ("mine", {"i": Patch(FIX)})


def test_run_is_a_member_by_its_name_too(tmp_path, monkeypatch):
    write(tmp_path / "runs" / "mine" / "predictions.jsonl", i=FIX)
    (member,) = read_members([Path("mine")], tmp_path / "runs")
    assert (member.name, member.predictions.patches) == ("mine", {"i": Patch(FIX)})
    monkeypatch.chdir(tmp_path)
    assert read_members([Path("mine")])[0].predictions.patches == member.predictions.patches
    write(tmp_path / "mine", i=OTHER)
    assert read_members([Path("mine")])[0].predictions.patches == {"i": Patch(OTHER)}


def test_run_that_has_no_predictions_yet(tmp_path):
    (tmp_path / "young").mkdir()
    with pytest.raises(InputError, match=r"no predictions\.jsonl"):
        read_members([Path("young")], tmp_path)


def test_folder_without_predictions(tmp_path):
    with pytest.raises(InputError, match=r"no predictions\.jsonl"):
        read_members([tmp_path])


def test_member_that_is_given_twice(tmp_path):
    path = write(tmp_path / "a.jsonl", i=FIX)
    with pytest.raises(InputError, match="given twice"):
        read_members([path, tmp_path / "." / "a.jsonl"])


def test_proposals_are_those_for_known_instances(tmp_path):
    members = read_members([write(tmp_path / "a.jsonl", i=FIX, stranger=FIX), write(tmp_path / "b.jsonl", j=None)])
    assert proposals(members, ["i", "j"]) == {
        "i": (("a", Patch(FIX)), ("b", None)),
        "j": (("a", None), ("b", None)),
    }
    assert members[1].told(["i", "j"]) == ["b: 1 instances have no patch (j)", "b: 1 instances have no row (i)"]
    assert members[0].told(["i"]) == ["a: 1 instances are not in the data set (stranger)"]


INSTANCES = [Instance(name, "shop/till", "0" * 40, "It fails.") for name in ("i", "j", "k")]
PROPOSED = {
    "i": (("a", Patch(FIX)), ("b", Patch(OTHER)), ("c", Patch(FIX))),
    "j": (("a", None), ("b", Patch(OTHER)), ("c", None)),
    "k": (("a", None), ("b", None), ("c", Patch("torn"))),
}


def chain(selector: str = "consensus"):
    return parse_chain(selector, label_free(Split(PROPOSED), ["a", "b", "c"]))


async def ensemble(output: Path, selector: str = "consensus", only: int = 3) -> EnsembleStore:
    made = chain(selector)
    with EnsembleStore(output, digest(made, PROPOSED), made.name) as store:
        left = [instance for instance in INSTANCES if instance.id not in store.made]
        await choose(made, left[:only], PROPOSED, done=store.add, parked=store.park)
        if only == len(INSTANCES):
            store.finish(PROPOSED)
    return store


async def test_files_of_an_ensemble(tmp_path):
    store = await ensemble(tmp_path / "chosen.jsonl")
    rows = [json.loads(line) for line in store.output.read_text().splitlines()]
    assert [(row["instance_id"], row["model_patch"]) for row in rows] == [("i", FIX), ("j", OTHER)]
    assert list(json.loads(store.unresolved.read_text())) == ["k"]
    head, *records = [json.loads(line) for line in store.record.read_text().splitlines()]
    assert head["selector"] == "clean | equivalence | consensus"
    assert [(record["instance"], bool(record["chosen"])) for record in records] == [("i", True), ("j", True), ("k", False)]


async def test_ensemble_goes_on_where_a_kill_left_it(tmp_path):
    whole = await ensemble(tmp_path / "whole.jsonl")
    cut = await ensemble(tmp_path / "cut.jsonl", only=2)
    assert not cut.output.exists()
    with cut.record.open("a") as file:
        file.write('{"kind": "choice", "instance": "k", "cho')  # what a kill leaves of a line
    again = await ensemble(tmp_path / "cut.jsonl")
    assert (again.resumed, len(again.made)) == (2, 3)
    assert again.output.read_bytes() == whole.output.read_bytes()
    assert again.record.read_bytes() == whole.record.read_bytes()


@pytest.mark.parametrize("damage", [b"", b"no json\n", b'{"kind": "ensemble"}\n'])
async def test_record_of_something_else_is_replaced(tmp_path, damage):
    (tmp_path / "chosen.selection.jsonl").write_bytes(damage)
    assert (await ensemble(tmp_path / "chosen.jsonl")).resumed == 0
    store = await ensemble(tmp_path / "chosen.jsonl", "first")
    assert store.resumed == 0
    assert len(store.record.read_text().splitlines()) == 4


def test_output_that_is_a_folder(tmp_path):
    with pytest.raises(InputError, match="folder"):
        EnsembleStore(tmp_path, "d", "s")


def test_two_processes_do_not_write_one_ensemble(tmp_path):
    with (
        EnsembleStore(tmp_path / "chosen.jsonl", "d", "s"),
        pytest.raises(InputError, match="another process"),
        EnsembleStore(tmp_path / "chosen.jsonl", "d", "s"),
    ):
        pass


def test_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot write"), EnsembleStore(tmp_path / "file" / "chosen.jsonl", "d", "s"):
        pass


def test_digest_names_all_that_choices_depend_on():
    base = digest(chain(), PROPOSED)
    assert base == digest(chain(), dict(reversed(PROPOSED.items())))
    assert base != digest(chain("first"), PROPOSED)
    assert base != digest(chain(), {**PROPOSED, "j": (("a", Patch(FIX)), *PROPOSED["j"][1:])})


@dataclass
class Failing:
    """A step that fails for some instances, and says how many were under way with it."""

    faults: dict[str, Exception]
    name: str = "failing"
    here: int = 0
    most: int = 0

    async def __call__(self, contest: Contest) -> Ruling:
        self.here += 1
        self.most = max(self.most, self.here)
        await asyncio.sleep(0.01)
        self.here -= 1
        if contest.instance.id in self.faults:
            raise self.faults[contest.instance.id]
        return Ruling(tuple(Placed(one, "in order") for one in contest.candidates), figures={"seconds": 2})


MANY = [Instance(f"i{number}", "shop/till", "0" * 40, "It fails.") for number in range(9)]
OFFERS = {instance.id: (("a", Patch(FIX)), ("b", Patch(OTHER))) for instance in MANY}


async def carried(output: Path, step: Failing, at_once: int = 3) -> tuple[EnsembleStore, Ending | None]:
    with EnsembleStore(output, "digest", step.name) as store:
        left = [instance for instance in MANY if instance.id not in store.made]
        stopped = await choose(Chain((step,)), left, OFFERS, done=store.add, parked=store.park, at_once=at_once)
        store.finish(OFFERS)
    return store, stopped


async def test_instance_that_fails_is_parked_and_tried_again(tmp_path):
    faults = {"i3": SandboxError("the engine is gone", where="here", hint="start it"), "i5": InputError("no spec")}
    step = Failing(faults)
    store, stopped = await carried(tmp_path / "chosen.jsonl", step)
    assert (stopped, step.most) == (None, 3)
    assert {name: ending.cause for name, ending in store.parked.items()} == {"i3": Cause.SANDBOX, "i5": Cause.DATA}
    assert store.made.keys() == {instance.id for instance in MANY} - faults.keys()
    causes = json.loads(store.unresolved.read_text())
    assert causes == {"i3": "parked, sandbox: the engine is gone", "i5": "parked, data: no spec"}
    assert store.figures() == {"failing": {"seconds": 14}}

    again, stopped = await carried(tmp_path / "chosen.jsonl", Failing({}))
    assert (again.resumed, len(again.made), again.parked) == (7, 9, {})
    assert len(again.output.read_text().splitlines()) == 9
    assert again.figures() == {"failing": {"seconds": 18}}


async def test_fault_of_everybody_stops_the_ensemble(tmp_path):
    faults: dict[str, Exception] = {instance.id: SandboxError("the engine is gone") for instance in MANY}
    store, stopped = await carried(tmp_path / "chosen.jsonl", Failing(faults), at_once=1)
    assert stopped is not None
    assert (stopped.cause, len(store.parked), len(store.made)) == (Cause.SANDBOX, 5, 0)
    causes = json.loads(store.unresolved.read_text())
    assert causes["i8"] == "not tried yet: the ensemble was stopped before"
