"""`runoff images ls` and `prune`: what images and local environments take up, who needs them, and removing the rest.

Without an engine only the environments of the local sandbox are looked at.
"""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import docker
import typer

from agent.cli import room
from agent.cli.images_make import require_engine
from agent.needs import Need, needs
from sandbox import leftovers, local_inventory, pruning
from sandbox.errors import InputError
from sandbox.inventory import Held, iso
from sandbox.leftovers import Leftover
from sandbox.probe import probe_docker
from sandbox.pulling import familiar
from sandbox.threads import DaemonThreads

MB = 1e6
UNITS = {"m": 60.0, "h": 3600.0, "d": 86400.0}


@dataclass(frozen=True, slots=True)
class Asked:
    """What `prune` is to do."""

    older_than: str
    everything: bool
    containers: bool
    project: str
    dry: bool


@dataclass(frozen=True, slots=True)
class Pruned:
    """What became of it."""

    images: list[Held]
    kept: list[pruning.Kept]
    left: list[Leftover]
    freed: int
    """Bytes that belonged to nothing else; what only the removed images shared comes on top."""


async def ls(runs: Path, project: str, *, as_json: bool) -> int:
    """Print the list."""
    answers = await _engine_answers()
    held, needed = await DaemonThreads(1, "images").submit(lambda: _look(runs, answers=answers))
    held = [each for each in held if not project or each.project == project]
    if as_json:
        typer.echo(json.dumps([_to_json(each, needed.get(each.id, [])) for each in held], indent=1))
    else:
        for line in _table(held, needed):
            typer.echo(line)
    return 0


async def prune(runs: Path, asked: Asked, *, as_json: bool) -> int:
    """Remove, and say what. The exit code: 4 if something could not be removed."""
    idle = seconds_of(asked.older_than)
    if asked.containers:
        await require_engine()
    answers = asked.containers or await _engine_answers()
    pruned = await DaemonThreads(1, "images").submit(lambda: _prune(runs, asked, idle, answers=answers))
    if as_json:
        typer.echo(json.dumps(_report(pruned, asked), indent=1))
    else:
        _tell(pruned, asked)
    return 4 if any(each.reason.startswith("refused: ") for each in pruned.kept) else 0


def seconds_of(age: str) -> float:
    """Seconds of `90m`, `12h` or `7d`. Raises InputError for anything else."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([mhd])", age.strip())
    if found is None:
        raise InputError(f"{age!r} is no age", where="--older-than", hint="--older-than 90m, 12h or 7d")
    return float(found[1]) * UNITS[found[2]]


async def _engine_answers() -> bool:
    finding = await probe_docker()
    if not finding.works:
        typer.echo(f"{finding.words}: only environments of the local sandbox are looked at", err=True)
    return finding.works


def _look(runs: Path, *, answers: bool) -> tuple[list[Held], dict[str, list[Need]]]:
    """What there is, and for each id who needs it."""
    with room.engine(answers=answers) as client:
        held = room.listed(client)
        open_needs = [(need, room.keys(client, need.spec)) for need in needs(runs)]
    return held, {each.id: [need for need, keys in open_needs if _is_needed(each, need, keys)] for each in held}


def _is_needed(held: Held, need: Need, keys: set[str]) -> bool:
    if held.key:
        return held.key in keys
    return bool(need.spec.image) and familiar(need.spec.image) in map(familiar, held.names)


def _prune(runs: Path, asked: Asked, idle: float, *, answers: bool) -> Pruned:
    with room.engine(answers=answers) as client:
        gone = [each for each in _left(client, asked) if asked.dry or _gone(client, each)]
        freed = sum(each.size for each in gone)
        if asked.containers:
            return Pruned([], [], gone, freed)
        wanted = _wanted(client, needs(runs), asked, 0.0 if asked.everything else idle)
        going, kept = pruning.plan(room.listed(client), wanted)
        refused = {} if asked.dry else {each.id: room.remove(client, each) for each in going}
    kept += [pruning.Kept(each, f"refused: {why}") for each in going if (why := refused.get(each.id))]
    removed = [each for each in going if not refused.get(each.id)]
    return Pruned(removed, kept, gone, freed + sum(each.own for each in removed))


def _left(client: docker.DockerClient | None, asked: Asked) -> list[Leftover]:
    if asked.project:
        return []
    folders = [] if asked.containers else [*leftovers.find_folders(), *local_inventory.drafts()]
    return [*(leftovers.find(client) if client else []), *folders]


def _gone(client: docker.DockerClient | None, left: Leftover) -> bool:
    return leftovers.remove(client, left) if client else leftovers.remove_folder(left)


def _wanted(client: docker.DockerClient | None, found: Sequence[Need], asked: Asked, idle: float) -> pruning.Wanted:
    kept = [need.spec for need in found if need.living or not asked.everything]
    return room.wanted(client, kept, idle=idle, project=asked.project)


def _table(held: Sequence[Held], needed: dict[str, list[Need]]) -> list[str]:
    rows = [("NAME", "KIND", "BACKEND", "FOR", "SIZE", "ITS OWN", "AGE", "NEEDED BY")]
    for each in held:
        about = each.instance or each.project or each.made_from or "-"
        who = ", ".join(f"{need.run}" for need in needed.get(each.id, [])) or "-"
        sizes = (f"{each.size / MB:,.0f} MB", f"{each.own / MB:,.0f} MB")
        rows.append((each.shown, each.kind, each.backend, about, *sizes, _age(time.time() - each.created), who))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    total = sum(each.own for each in held if each.kind != "used") / MB
    lines = ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    local = sum(each.backend == "local" for each in held)
    there = f"{len(held) - local} images, {local} local environments"
    return [*lines, f"{there}; {total:,.0f} MB belong to one of runoff's alone"]


def _to_json(each: Held, needed: Sequence[Need]) -> dict[str, Any]:
    fields = {name: value for name, value in asdict(each).items() if name not in ("size", "own", "created", "mark")}
    return {
        **fields,
        "size_bytes": each.size,
        "own_bytes": each.own,
        "created": iso(each.created),
        "used": iso(each.used),
        "needed_by": [{"run": need.run, "instance": need.instance} for need in needed],
    }


def _report(pruned: Pruned, asked: Asked) -> dict[str, Any]:
    return {
        "dry_run": asked.dry,
        "images": [
            {"id": each.id, "name": each.shown, "backend": each.backend, "own_bytes": each.own} for each in pruned.images
        ],
        "kept": [{"id": each.held.id, "name": each.held.shown, "reason": each.reason} for each in pruned.kept],
        "left": [asdict(each) for each in pruned.left],
        "freed_bytes": pruned.freed,
    }


def _tell(pruned: Pruned, asked: Asked) -> None:
    verb = "would remove" if asked.dry else "removed"
    for left in pruned.left:
        typer.echo(f"{verb} {left.kind} {left.name[:60]}: {left.reason}")
    for each in pruned.images:
        typer.echo(f"{verb} {each.shown}  {each.own / MB:,.0f} MB  {each.instance or each.project}".rstrip())
    for reason, count in Counter(each.reason for each in pruned.kept).most_common():
        typer.echo(f"kept {count}: {reason}")
    typer.echo(f"{'would free' if asked.dry else 'freed'} at least {pruned.freed / MB:,.0f} MB")


def _age(seconds: float) -> str:
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"
