"""Selection cannot read a label: not by an import, not from a data set, not from a file of predictions."""

from __future__ import annotations

import ast
import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest
from typer.testing import CliRunner

from agent import rows
from agent.cli.app import app
from selection import predictions
from selection.gold import GOLD
from tests.selection.diffs import diff

ROOT = Path(__file__).parents[2]
KNOWING = {"evaluation", "gold", "report", "reports"}
"""Modules of `selection` that know labels, or make figures for those that do; all others must be under the contract."""
HIDDEN = (*GOLD, "hints_text", "difficulty", "resolved")
FIX = diff("a = 1\n", "a = 2\n")


def test_every_module_that_selects_is_under_the_contract():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    contract = next(one for one in contracts if one["name"] == "only evaluation knows the labels")
    modules = {path.stem for path in (ROOT / "selection").iterdir() if path.suffix == ".py" or path.is_dir()}
    selecting = {f"selection.{name}" for name in modules - KNOWING if not name.startswith("_")}
    assert selecting - set(contract["source_modules"]) == set()
    commands = {f"agent.cli.{path.stem}" for path in (ROOT / "agent" / "cli").glob("ensemble*.py")}
    assert (commands | {"agent.cli.environments"}) - set(contract["source_modules"]) == set()
    assert "selection.gold" in contract["forbidden_modules"]


def test_no_module_that_selects_imports_another_way():
    """The contract does not see names that are put together at run time."""
    places = ((ROOT / "selection").rglob("*.py"), (ROOT / "agent" / "cli").glob("ensemble*.py"))
    paths = [path for place in places for path in place if KNOWING.isdisjoint([path.stem, path.parent.name])]
    names = {
        (path.name, node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", ""))
        for path in paths
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
    }
    assert [path for path, name in names if name in ("__import__", "import_module", "load_gold", "harness_rows")] == []


class Label:
    """A value that may be carried past, and fails the test as soon as anyone looks at it."""

    def __getattribute__(self, name: str) -> NoReturn:
        pytest.fail(f"a label was read: {name}")

    def _look(self, *_: object) -> NoReturn:
        pytest.fail("a label was read")

    __str__ = __repr__ = __eq__ = __hash__ = __len__ = __iter__ = __bool__ = __getitem__ = __contains__ = _look  # type: ignore[assignment]


def guarded(row: dict[str, Any]) -> dict[str, Any]:
    return {name: Label() if name in HIDDEN else value for name, value in row.items()}


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, list[Path]]:
    known = {"repo": "shop/till", "base_commit": "0" * 40, "problem_statement": "It fails.", "version": "1"}
    labels = dict.fromkeys(HIDDEN, "LABEL")
    split = tmp_path / "split.jsonl"
    split.write_text("".join(json.dumps({"instance_id": f"shop__till-{n}", **known, **labels}) + "\n" for n in range(3)))
    members = []
    for name in ("a", "b"):
        members.append(tmp_path / f"{name}.jsonl")
        row = {"model_patch": FIX, "resolved": "LABEL", "FAIL_TO_PASS": "LABEL"}
        members[-1].write_text("".join(json.dumps({"instance_id": f"shop__till-{n}", **row}) + "\n" for n in range(3)))
    return split, members


def run(split: Path, members: list[Path], output: Path) -> str:
    words = ["ensemble", "--instances", split, "--predictions", *members, "--output", output]
    done = CliRunner().invoke(app, list(map(str, words)))
    assert done.exit_code == 0, done.output
    return output.read_text() + output.with_name(f"{output.stem}.selection.jsonl").read_text() + done.output


@pytest.mark.parametrize("look", [str, bool, len, list, json.dumps, lambda label: label == "x", lambda label: label.strip()])
def test_label_that_is_looked_at_fails(look):
    with pytest.raises(pytest.fail.Exception, match="a label was read"):
        look(Label())


def test_ensemble_over_rows_whose_labels_raise(files, tmp_path, monkeypatch):
    split, members = files
    kept: list[object] = []

    def hook(columns: object) -> Callable[[list[tuple[str, Any]]], dict[str, Any]]:
        return lambda pairs: kept.append(pairs) or guarded(dict(pairs))  # type: ignore[func-returns-value]

    parsed = predictions._parsed
    monkeypatch.setattr(rows, "_only", hook)
    monkeypatch.setattr(predictions, "_parsed", lambda text: guarded(parsed(text)))
    run(split, members, tmp_path / "chosen.jsonl")
    assert len(kept) == 3


def test_choices_are_the_same_whatever_the_labels_say(files, tmp_path):
    split, members = files
    before = run(split, members, tmp_path / "chosen.jsonl").partition("selector:")[0]
    split.write_text(split.read_text().replace("LABEL", "ANOTHER"))
    for member in members:
        member.write_text(member.read_text().replace("LABEL", "ANOTHER"))
    (tmp_path / "chosen.selection.jsonl").unlink()
    assert run(split, members, tmp_path / "chosen.jsonl").partition("selector:")[0] == before


def test_data_set_given_as_predictions_is_refused(files, tmp_path):
    """Its column `patch` is the label, and is what some predictions call theirs."""
    split, members = files
    words = ["ensemble", "--instances", split, "--predictions", members[0], split, "--output", tmp_path / "chosen.jsonl"]
    done = CliRunner().invoke(app, list(map(str, words)))
    assert done.exit_code == 2
    assert "whose patch is the label" in done.output
