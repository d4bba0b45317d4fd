"""Predictions of any system, in the forms in which they go around, with what is odd about them counted and told.

Read: JSON lines, a JSON list, or a JSON object by instance; of each row `model_patch` or `patch` (SWE-bench Pro).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sandbox.api import Patch
from sandbox.errors import InputError

HINT = "name a .jsonl or .json file of predictions with instance_id, model_name_or_path and model_patch"
PATCH_COLUMNS = ("model_patch", "patch")
NAME_COLUMNS = ("model_name_or_path", "prefix")


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A row that is no prediction."""

    row: int
    """From 1: the line of a JSONL file, the entry of anything else."""
    reason: str


@dataclass(frozen=True, slots=True)
class Predictions:
    """One system's answers."""

    name: str
    """What most rows call the system; the file's name if they call it nothing."""
    source: str
    patches: Mapping[str, Patch | None]
    """By instance; None where the row has no patch, or an empty one."""
    repeated: tuple[str, ...] = ()
    """Instances with several rows that say the same."""
    contradicted: tuple[str, ...] = ()
    """Instances with several rows that differ; the last one counts, as in the official harness."""
    unreadable: tuple[Unreadable, ...] = ()
    names: Mapping[str, int] = field(default_factory=dict)
    """How many rows give which name."""

    @property
    def empty(self) -> tuple[str, ...]:
        """Instances without a patch."""
        return tuple(instance for instance, patch in self.patches.items() if patch is None)

    def unknown(self, known: Collection[str]) -> tuple[str, ...]:
        """Instances that are not among the known ones."""
        return tuple(instance for instance in self.patches if instance not in known)

    def missing(self, known: Collection[str]) -> tuple[str, ...]:
        """Known instances that have no row."""
        return tuple(instance for instance in known if instance not in self.patches)

    def told(self, known: Collection[str]) -> list[str]:
        """What is odd, a line each; nothing if all is well. `known`: the instances of the data set."""
        counts = (
            (
                self.unreadable,
                "rows cannot be read",
                "; ".join(f"row {one.row}: {one.reason}" for one in self.unreadable[:3]),
            ),
            (self.repeated, "instances have several rows that are the same", _some(self.repeated)),
            (self.contradicted, "instances have several rows that differ: the last one counts", _some(self.contradicted)),
            (self.empty, "instances have no patch", _some(self.empty)),
            (unknown := self.unknown(known), "instances are not in the data set", _some(unknown)),
        )
        lines = [f"{self.name}: {len(which)} {what} ({examples})" for which, what, examples in counts if which]
        if len(self.names) > 1:
            lines.append(f"{self.name}: rows of {len(self.names)} systems in one file ({_some(tuple(self.names))})")
        return lines


def read_predictions(path: Path) -> Predictions:
    """The predictions of a file. Raises InputError if it cannot be read, or holds no prediction at all."""
    patches: dict[str, Patch | None] = {}
    repeated: dict[str, None] = {}
    contradicted: dict[str, None] = {}
    unreadable: list[Unreadable] = []
    names: Counter[str] = Counter()
    for number, row in _rows(path):
        try:
            instance, patch, name = _prediction(row)
        except ValueError as error:
            unreadable.append(Unreadable(number, str(error)))
            continue
        if instance in patches:
            (repeated if patches[instance] == patch else contradicted)[instance] = None
        patches[instance] = patch
        names[name] += bool(name)
    if not patches:
        reason = f": row {unreadable[0].row}: {unreadable[0].reason}" if unreadable else ""
        raise InputError(f"no prediction can be read{reason}", where=str(path), hint=HINT)
    named = +names
    name = named.most_common(1)[0][0] if named else path.stem
    same = tuple(instance for instance in repeated if instance not in contradicted)
    return Predictions(name, str(path), patches, same, tuple(contradicted), tuple(unreadable), named)


def _rows(path: Path) -> Iterator[tuple[int, Any]]:
    """(number, row), where a row may be anything; one that is an exception could not be parsed."""
    try:
        content = path.read_bytes().decode("utf-8", "surrogateescape")
    except OSError as error:
        raise InputError(f"cannot read the predictions: {error.strerror}", where=str(path), hint=HINT) from None
    if path.suffix.lower() in (".jsonl", ".ndjson"):
        yield from ((number, _parsed(line)) for number, line in enumerate(content.split("\n"), 1) if line.strip())
        return
    whole = _parsed(content)
    if isinstance(whole, ValueError):
        raise InputError(f"not JSON: {whole}", where=str(path), hint=HINT)
    if isinstance(whole, dict) and "instance_id" in whole:
        whole = [whole]
    if isinstance(whole, dict):
        whole = [{"instance_id": key, **(row if isinstance(row, dict) else {"patch": row})} for key, row in whole.items()]
    if not isinstance(whole, list):
        raise InputError("neither a list of predictions nor an object by instance", where=str(path), hint=HINT)
    yield from enumerate(whole, 1)


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        return ValueError(f"it is not JSON: {error}")


def _prediction(row: Any) -> tuple[str, Patch | None, str]:
    """(instance, patch, name of the system). Raises ValueError with what is wrong."""
    if isinstance(row, ValueError):
        raise row
    if not isinstance(row, dict):
        raise ValueError("it is not an object")  # noqa: TRY004  not the caller's type: the file's content
    instance = row.get("instance_id")
    if not isinstance(instance, str) or not instance:
        raise ValueError("it has no instance_id")
    if "problem_statement" in row:
        raise ValueError("it is a row of a data set, whose patch is the label, no prediction")
    column = next((name for name in PATCH_COLUMNS if name in row), None)
    if column is None:
        raise ValueError("it has neither model_patch nor patch")
    diff = row[column]
    if diff is not None and not isinstance(diff, str):
        raise ValueError(f"its {column} is not a text")
    name = next((row[name] for name in NAME_COLUMNS if isinstance(row.get(name), str)), "")
    return instance, Patch(diff) if diff and diff.strip() else None, name


def _some(names: tuple[str, ...]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")  # noqa: PLR2004  three are enough to find the rest
