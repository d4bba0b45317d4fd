"""The files that patches touch, from clones: with them a patch can be seen to apply, and its result can be parsed.

Only objects at the base commit are read; no checkout is made. Patches are put on copies of these few files, in a temporary
folder, in the same way as the sandbox puts them on its tree.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from agent import clones
from agent.encodings import decode
from agent.instances import Instance
from sandbox.applying import apply_patch
from sandbox.errors import InputError
from sandbox.patching import check, named
from selection.changes import paths, readable

_HINT = "give the folder that holds clones named owner__name, owner/name or name"


@dataclass(frozen=True, slots=True)
class Trees:
    """A folder of clones, named `owner__name`, `owner/name` or `name`, each perhaps with `.git` behind it."""

    folder: Path

    def __post_init__(self) -> None:
        if not self.folder.is_dir():
            raise InputError("no such folder", where=str(self.folder), hint=_HINT)

    def files(self, instance: Instance, paths: Collection[str]) -> dict[str, str] | None:
        """The text of those of the paths that are files at the base commit; None if there is no clone that has it."""
        clone = clones.find(self.folder, instance.repo)
        if clone is None:
            return None
        wanted = sorted(path for path in set(paths) if path and "\n" not in path)
        names = [instance.base_commit, *(f"{instance.base_commit}:{path}" for path in wanted)]
        command = ["git", "-C", str(clone), "--no-replace-objects", "cat-file", "--batch"]
        text = "".join(f"{name}\n" for name in names).encode("utf-8", "surrogateescape")
        done = subprocess.run(command, input=text, capture_output=True, check=False, env={**os.environ, "LC_ALL": "C"})
        found = list(_objects(done.stdout, len(names)))
        if not found or found[0] is None:
            return None
        there = zip(wanted, found[1:], strict=True)
        return {path: decode(data, python=path.endswith(".py")).text for path, data in there if data is not None}


def _objects(said: bytes, count: int) -> list[bytes | None]:
    """The contents that `git cat-file --batch` gives for so many names; None for one that is no file and no commit."""
    found: list[bytes | None] = []
    while said and len(found) < count:
        head, _, rest = said.partition(b"\n")
        if head.endswith((b" missing", b" ambiguous")):
            found.append(None)
            said = rest
            continue
        _, kind, size = head.rsplit(b" ", 2)
        found.append(rest[: int(size)] if kind in (b"blob", b"commit") else None)
        said = rest[int(size) + 1 :]
    return found if len(found) == count else []


def misfit(diff: str, files: Mapping[str, str]) -> str:
    """Why a diff cannot be put on the files, by the sandbox's own rules; empty if it can. `files`: all that it touches."""
    diff = readable(diff)
    if refused := check(diff):
        return refused
    with tempfile.TemporaryDirectory(prefix="runoff-fit-") as folder:
        for path in paths(diff).intersection(files):
            place = Path(folder, path)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(files[path].encode("utf-8", "surrogateescape"))
        return apply_patch({"patch": diff, "paths": named(diff), "workdir": folder})
