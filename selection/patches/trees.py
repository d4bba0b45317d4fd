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
from selection.patches.changes import paths, readable

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
        text = "".join(f"{name}\n" for name in names).encode("utf-8", "surrogateescape")
        found = list(_objects(_git(clone, "cat-file", "--batch", given=text), len(names)))
        if not found or found[0] is None:
            return None
        there = zip(wanted, found[1:], strict=True)
        return {path: decode(data, python=path.endswith(".py")).text for path, data in there if data is not None}

    def clone(self, instance: Instance) -> Path:
        """The clone of the instance's repository. Raises InputError if there is none."""
        return clones.require(self.folder, instance.repo)

    def paths(self, instance: Instance) -> tuple[str, ...] | None:
        """All files at the base commit; None if there is no clone that has it."""
        clone = clones.find(self.folder, instance.repo)
        listed = _git(clone, "ls-tree", "-r", "--name-only", "-z", "--full-tree", instance.base_commit) if clone else b""
        return tuple(name.decode("utf-8", "surrogateescape") for name in listed.split(b"\0")[:-1]) or None


def _git(clone: Path, *arguments: str, given: bytes = b"") -> bytes:
    """What git prints; as much as it has printed, if it fails."""
    command = ["git", "-C", str(clone), "--no-replace-objects", *arguments]
    environment = {**os.environ, "LC_ALL": "C"}
    return subprocess.run(command, input=given, capture_output=True, check=False, env=environment).stdout


def _objects(said: bytes, count: int) -> list[bytes | None]:
    """The contents that `git cat-file --batch` gives for so many names; None for one that is no file and no commit."""
    found: list[bytes | None] = []
    at = 0
    while at < len(said) and len(found) < count:
        end = said.find(b"\n", at)
        head = said[at : end if end >= 0 else len(said)]
        at += len(head) + 1
        if head.endswith((b" missing", b" ambiguous")):
            found.append(None)
            continue
        _, kind, size = head.rsplit(b" ", 2)
        found.append(said[at : at + int(size)] if kind in (b"blob", b"commit") else None)
        at += int(size) + 1
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
