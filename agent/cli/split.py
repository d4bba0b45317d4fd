"""Which instances of a data set a batch takes, and in which order."""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent import clones
from agent.cli.settings import BatchSettings
from agent.instances import Broken, Instance, Instances, load
from sandbox.errors import InputError

_SLICE = re.compile(r"^\s*(-?\d*)\s*:\s*(-?\d*)\s*$")


@dataclass(frozen=True, slots=True)
class Split:
    """What is to be worked on."""

    instances: Sequence[Instance]
    """In order of work."""
    broken: Sequence[Broken]
    """Rows among them that are no instances; they are left out."""

    def left_out(self) -> list[dict[str, Any]]:
        """The broken rows, for the manifest."""
        return [{"row": row.line, "id": row.id, "reason": row.reason} for row in self.broken]


def split_of(settings: BatchSettings) -> Split:
    """The instances that the settings choose. Raises InputError, and InfrastructureError for the Hub."""
    if not settings.dataset:
        raise InputError("no data set is named", where="--dataset", hint="runoff batch --dataset SOURCE --instances 0:10")
    source = load(settings.dataset, split=settings.split)
    names = list(source.by_id)
    if settings.shuffle:
        random.Random(settings.seed).shuffle(names)  # noqa: S311  an order that can be drawn again
    chosen, broken = _chosen(source, names, settings.instances)
    if not chosen:
        reason = f"; {broken[0].id or 'a row'}: {broken[0].reason}" if broken else ""
        raise InputError(f"no instance is chosen{reason}", where=f"--instances {settings.instances}", hint="widen it")
    return Split([source.by_id[name] for name in chosen], broken)


def _chosen(source: Instances, names: Sequence[str], wanted: str) -> tuple[list[str], Sequence[Broken]]:
    """(ids in order, broken rows among what is wanted)."""
    if not wanted.strip():
        return list(names), source.broken
    if found := _SLICE.match(wanted):
        start, stop = (int(bound) if bound else None for bound in found.groups())
        return list(names[start:stop]), source.broken
    kept, broken = source.fitting(wanted)
    return [name for name in names if name in kept], broken


def clone_of(instance: Mapping[str, Any], repos: str) -> str:
    """Where the instance's repository is to be had: in the folder of clones, else at GitHub. Raises InputError."""
    repo = str(instance["repo"])
    if not repos:
        return f"https://github.com/{repo}"
    return str(clones.require(Path(repos).expanduser(), repo, str(instance["id"])).resolve())
