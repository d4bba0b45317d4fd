"""What is known of the right answers: the one place that reads the gold columns of a data set.

Labels decide nothing while an issue is worked on. They are opened here, from the source itself, by `selection.evaluation`
alone; a contract of import-linter keeps everything that solves or selects away from this module, and a test keeps the
names of these columns out of every other file.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from agent.instances import Broken
from agent.rows import read_rows
from sandbox.api import Patch, digest_of
from sandbox.errors import InputError

GOLD = ("patch", "test_patch", "FAIL_TO_PASS", "PASS_TO_PASS")
NEEDED = ("instance_id", "test_patch", "FAIL_TO_PASS", "PASS_TO_PASS")
HINT = "evaluate with a data set that has its labels, such as SWE-bench/SWE-bench_Verified"


class _Everything:
    """All columns, whatever a later version of the data set adds."""

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str)


@dataclass(frozen=True, slots=True)
class GoldLabels:
    """What decides whether an instance is resolved."""

    instance: str
    repo: str
    version: str
    test_patch: Patch
    """The tests of the fix, put on the tree over the patch that is judged."""
    fail_to_pass: tuple[str, ...]
    """Ids of tests that fail before the fix and must pass after it."""
    pass_to_pass: tuple[str, ...]
    """Ids of tests that pass before the fix and must still pass."""
    patch: Patch | None
    """The fix of the project; None where the data set does not have it."""
    difficulty: str = ""
    """Such as `<15 min fix`; empty where the data set does not say."""
    log_parser: str = ""
    """Which of the harness's parsers reads the log; rows for swebench 5 name it."""
    eval_type: str = ""
    eval_script: str = ""
    """What swebench 5 runs; empty in rows for 4.1, whose harness makes it."""

    @property
    def digest(self) -> str:
        """Identity by content."""
        fixed = (self.instance, self.test_patch.diff, self.patch.diff if self.patch else "", self.eval_script)
        return digest_of(*fixed, self.log_parser, self.eval_type, *self.fail_to_pass, "", *self.pass_to_pass)


@dataclass(frozen=True, slots=True)
class Gold:
    """The labels of a source."""

    source: str
    by_id: Mapping[str, GoldLabels]
    broken: tuple[Broken, ...]
    """Rows without usable labels."""

    def of(self, instance: str) -> GoldLabels:
        """The labels of an instance. Raises InputError, with what is wrong with its row if that is why."""
        if found := self.by_id.get(instance):
            return found
        reason = next((row.reason for row in self.broken if row.id == instance), "it is not in the data set")
        raise InputError(f"'{instance}' has no labels: {reason}", where=self.source, hint=HINT)


def load_gold(source: str, *, split: str | None = None) -> Gold:
    """The labels of every row that has them. Raises InputError (no such source, no labels at all), InfrastructureError."""
    by_id: dict[str, GoldLabels] = {}
    broken: list[Broken] = []
    for row in read_rows(source, split, _Everything()):
        instance = row.columns.get("instance_id", "")
        try:
            labels = _labels(row.columns, row.problem or ("the id is taken by an earlier row" if instance in by_id else ""))
        except ValueError as error:
            broken.append(Broken(row.number, instance, str(error)))
        else:
            by_id[instance] = labels
    if not by_id:
        reason = f": {broken[0].reason} (row {broken[0].line})" if broken else ""
        raise InputError(f"the data set has no labels{reason}", where=source, hint=HINT)
    return Gold(source, by_id, tuple(broken))


def harness_rows(source: str, instances: Collection[str], *, split: str | None = None) -> Iterator[dict[str, Any]]:
    """Whole rows of these instances, each once, as the official harness reads them from a file: values are texts."""
    left = set(instances)
    for row in read_rows(source, split, _Everything()):
        if not row.problem and row.columns.get("instance_id", "") in left:
            left.discard(row.columns["instance_id"])
            yield dict(row.columns)


def _labels(columns: Mapping[str, str], problem: str) -> GoldLabels:
    """Raises ValueError with the reason why the row has no labels: the known problem, if there is one."""
    if problem:
        raise ValueError(problem)
    if missing := [name for name in NEEDED if not columns.get(name, "").strip()]:
        raise ValueError(f"it has no {missing[0]}")
    fail_to_pass = _tests(columns["FAIL_TO_PASS"], "FAIL_TO_PASS")
    if not fail_to_pass:
        raise ValueError("its FAIL_TO_PASS is empty, so nothing can be resolved")
    return GoldLabels(
        columns["instance_id"],
        columns.get("repo", ""),
        columns.get("version", ""),
        Patch(columns["test_patch"]),
        fail_to_pass,
        _tests(columns["PASS_TO_PASS"], "PASS_TO_PASS"),
        Patch(columns["patch"]) if columns.get("patch", "").strip() else None,
        **{name: columns.get(name, "") for name in ("difficulty", "log_parser", "eval_type", "eval_script")},
    )


def _tests(text: str, column: str) -> tuple[str, ...]:
    """The ids of a column: JSON text, or a list that the reader made JSON text of; a list within a text is unpacked."""
    try:
        held = json.loads(text)
        if isinstance(held, str):
            held = json.loads(held)
    except ValueError:
        raise ValueError(f"its {column} is not JSON") from None
    if not isinstance(held, list) or not all(isinstance(name, str) for name in held):
        raise ValueError(f"its {column} is not a list of test ids")
    return tuple(held)
