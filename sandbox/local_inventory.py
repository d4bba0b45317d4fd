"""The environments that the local backend keeps in the cache, in the terms of `inventory`; no engine is asked."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path

from filelock import Timeout

from sandbox import local_cache, recipe
from sandbox.api import EnvironmentSpec
from sandbox.errors import EnvironmentBuildError, SandboxError
from sandbox.inventory import Held
from sandbox.leftovers import Leftover
from sandbox.local_build import interpreter


def listed() -> list[Held]:
    """All of them, the newest first."""
    used = local_cache.in_use()
    found = []
    for location in local_cache.environments().glob("[!.]*"):
        with contextlib.suppress(OSError, SandboxError):  # removed meanwhile
            found.append(_held(location, used[location.name]))
    return sorted(found, key=lambda each: -each.created)


def key_for(spec: EnvironmentSpec) -> str:
    """The key of the environment that this would be built as; empty if it cannot be built by the local backend here."""
    origin = None if spec.image or spec.repository is None else _origin(spec.python)
    return recipe.key_of(spec, spec.base_commit, *origin) if origin else ""


def drafts() -> Iterator[Leftover]:
    """Half-built folders whose build was killed, and what is left of environments whose removal was."""
    folder = local_cache.environments()
    for draft in sorted(folder.glob(".*-*-*")):
        location = folder / draft.name[1:].rpartition("-")[0]
        with contextlib.suppress(Timeout, OSError):
            with local_cache.build_lock(location, 0):
                left = draft.is_dir()
            if left:
                yield Leftover("folder", str(draft), local_cache.size_of(draft), "its build was killed")


def _held(location: Path, processes: int) -> Held:
    built = local_cache.read_built(location)
    size = built.size or _measure(location, built)
    return Held(
        str(location),
        "environment",
        (),
        size,
        size,
        (location / "built.json").stat().st_mtime,
        0,
        key=built.key or location.name.partition("-")[0],
        project=built.project,
        instance=built.instance,
        base_commit=built.commit,
        version=built.version,
        backend="local",
        processes=processes,
    )


def _measure(location: Path, built: local_cache.Built) -> int:
    """The size of an environment that was built before sizes were written down; written down now, as looking takes long."""
    size = local_cache.size_of(location)
    with contextlib.suppress(OSError):
        note = location / "built.json"
        built_at = note.stat().st_mtime
        draft = location / f"built.{os.getpid()}"
        draft.write_text(json.dumps(asdict(replace(built, size=size))))
        os.utime(draft, (built_at, built_at))
        draft.replace(note)
    return size


@cache
def _origin(command: str) -> tuple[str, str] | None:
    """What the key says of an interpreter; None if there is none."""
    try:
        python = interpreter(command)
    except EnvironmentBuildError:
        return None
    return python.executable, python.version
