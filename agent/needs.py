"""What the runs in a folder still need: the environments of instances that have no result yet; and what one had."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent.store import Run, read_json
from sandbox.api import EnvironmentSpec
from sandbox.errors import StoreError


@dataclass(frozen=True, slots=True)
class Need:
    """An instance of a run that is not finished."""

    run: str
    instance: str
    spec: EnvironmentSpec
    living: bool
    """Whether a process is at work on the run."""


def needs(runs: Path) -> list[Need]:
    """Of all runs in the folder. Raises StoreError for an instance.json that cannot be read: nobody knows what it needs."""
    found = []
    for manifest in sorted(runs.glob("*/manifest.json")):
        run = Run(manifest.parent)
        for name in run.instances():
            store = run.instance(name)
            if (store.path / "result.json").exists():
                continue
            recorded = store.read("instance.json")
            if spec := _spec(recorded, store.path / "instance.json"):
                found.append(Need(run.name, name, spec, _living(run.path / "owner.json")))
    return found


def had(run: Run) -> list[EnvironmentSpec]:
    """The environments of the instances of a run that have a result. Raises StoreError as `needs`."""
    stores = [store for store in map(run.instance, run.instances()) if (store.path / "result.json").exists()]
    specs = [_spec(store.read("instance.json"), store.path / "instance.json") for store in stores]
    return [spec for spec in specs if spec]


def _spec(recorded: Any, where: Path) -> EnvironmentSpec | None:
    try:
        fields: Mapping[str, Any] | None = recorded["environment"]
        if fields is None:
            return None
        place = Path(fields["repository"]) if fields["repository"] else None
        return EnvironmentSpec(**{**fields, "repository": place})
    except (KeyError, TypeError) as error:
        raise StoreError(
            f"cannot read what the instance needs: {error!r}", where=str(where), hint="mend the file, or move the run away"
        ) from error


def _living(owner: Path) -> bool:
    """Whether the process that holds a run lives; one of another host is taken to."""
    if not owner.exists():
        return False
    held = read_json(owner)
    pid = str(held.get("pid", ""))
    return held.get("host") != socket.gethostname() or (pid.isdigit() and _runs(int(pid)))


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
