"""What is to be judged: the patches of a run, or those of a predictions file."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from agent.store import InstanceStore, Run, read_json
from sandbox.api import Patch
from sandbox.errors import InputError
from selection.evaluation.record import Submission
from selection.evaluation.verdicts import NO_PATCH, Judgement, Outcome
from selection.predictions import Predictions, read_predictions
from selection.record import Selection

OF_THE_MODEL = ("", "model", "context")
"""Causes in unresolved.json that are the pipeline's own failure: it looked for a patch and found none."""


def of_predictions(path: Path, known: Collection[str]) -> Submission:
    """A predictions file. `known`: the instances of the data set; others are told and left out."""
    held = read_predictions(path)
    patches = {name: patch for name, patch in held.patches.items() if name in known}
    if not patches:
        raise InputError(
            "no prediction is for an instance of the data set", where=str(path), hint="is --dataset the right one?"
        )
    settled = {name: NO_PATCH for name, patch in patches.items() if patch is None}
    return Submission(held.name, str(path), patches, held.told(known), settled)


def of_run(run: Run, known: Collection[str], *, candidates: bool) -> Submission:
    """What a run came to. `candidates`: what its samples ended with too, as far as it has come to its selection.

    Raises InputError if the run has no instance of the data set, StoreError for damaged files.
    """
    instances = [name for name in run.instances() if name in known]
    if not instances:
        raise InputError(
            "the run has no instance of the data set",
            where=str(run.path),
            hint="name the one that it was made from: --dataset",
        )
    exported, missing = _exported(run), _missing(run)
    one = Submission(run.name, str(run.path), {})
    for name in instances:
        store = run.instance(name)
        result = store.read("result.json", "patch")
        one.patches[name] = exported.patches.get(name) if exported else None
        if one.patches[name] is None:
            one.settled[name] = _without_patch(missing.get(name), result is not None)
        if candidates and result and result.get("selection"):
            one.candidates[name] = _samples(Selection.from_json(result["selection"], str(store.path / "result.json")), store)
    one.told = (
        [] if len(instances) == len(run.instances()) else [f"{run.name}: instances that the data set lacks are left out"]
    )
    return one


def _exported(run: Run) -> Predictions | None:
    """The predictions of a run; None if it has none yet, or they are empty."""
    place = run.path / "predictions.jsonl"
    return read_predictions(place) if place.is_file() and place.stat().st_size else None


def _missing(run: Run) -> dict[str, Any]:
    place = run.path / "unresolved.json"
    return read_json(place) if place.exists() else {}


def _without_patch(why: object, finished: bool) -> Judgement:  # noqa: FBT001  one of two facts
    """An instance that failed for another reason than the model's gave no answer, so nothing is said of it."""
    cause, reason = (why.get("cause", ""), why.get("reason", "")) if isinstance(why, dict) else ("", str(why or ""))
    if finished and cause in OF_THE_MODEL:
        return Judgement(Outcome.NO_PATCH, reason)
    return Judgement(Outcome.INFRASTRUCTURE, f"{cause}: {reason}" if cause else f"the run has not finished it: {reason}")


def _samples(selection: Selection, store: InstanceStore) -> dict[str, Patch | None]:
    """By sample: the change that it ended with; None for one without a patch.

    Samples that came to the same change share its diff, which differs from theirs in nothing that runs.
    """
    ended = {origin: Patch(entrant.diff) for entrant in selection.candidates for origin in entrant.origins}
    dropped = {one.origin: None for one in selection.dropped}
    begun = {f"editing/{path.stem}": None for path in (store.path / "03_editing").glob("*.jsonl")}
    samples: dict[str, Patch | None] = {**begun, **dropped, **ended}
    return dict(sorted(samples.items(), key=lambda item: (len(item[0]), item[0])))
