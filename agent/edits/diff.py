"""Turns changed files into a git diff, made by git itself in a scratch repository.

Git writes what git applies: quoted paths, missing line feeds at the end, modes, empty files. The scratch repository
holds only the touched files, so neither the user's repository, nor its attributes or settings, take part.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock

from sandbox.api import Patch
from sandbox.errors import InfrastructureError

KEPT = 1024
"""Patches that are remembered: samples of an issue make the same edits, soon after each other, and each costs two processes.
Enough for all issues under way; files are not kept, only what they hash to."""
_MADE: dict[bytes, Patch] = {}
"""By digest of the changes, the latest last."""
_LOCK = Lock()


@dataclass(frozen=True, slots=True)
class Change:
    """One file before and after; None where it does not exist."""

    before: bytes | None
    after: bytes | None
    mode: str = "100644"


def diff_of(changes: Mapping[str, Change]) -> Patch:
    """The patch from all `before` to all `after`, by path. Raises InfrastructureError if git fails."""
    key = _digest(changes)
    with _LOCK:
        patch = _MADE.pop(key, None)
    patch = patch or _diff_of(changes)
    with _LOCK:
        _MADE[key] = patch
        if len(_MADE) > KEPT:
            del _MADE[next(iter(_MADE))]
    return patch


def _digest(changes: Mapping[str, Change]) -> bytes:
    listed = [(path, change.mode, _hash(change.before), _hash(change.after)) for path, change in changes.items()]
    return sha256(repr(listed).encode("utf-8", "backslashreplace")).digest()


def _hash(content: bytes | None) -> bytes | None:
    return None if content is None else sha256(content).digest()


def _diff_of(changes: Mapping[str, Change]) -> Patch:
    with TemporaryDirectory(prefix="runoff-diff-") as folder:
        root = Path(folder)
        for part in ("objects", "refs"):
            (root / part).mkdir()
        (root / "HEAD").write_text("ref: refs/heads/before\n")
        _git(root, ["fast-import", "--quiet"], b"".join(_stream(changes)))
        options = ["--patch", "--text", "--full-index", "--no-renames", "--no-ext-diff", "--no-textconv", "--no-color"]
        prefixes = ["--src-prefix=a/", "--dst-prefix=b/", "--diff-algorithm=myers", "--unified=3"]
        diff = _git(root, ["diff-tree", *options, *prefixes, "refs/heads/before", "refs/heads/after"])
    return Patch(diff.decode("utf-8", "surrogateescape"))


def _stream(changes: Mapping[str, Change]) -> Iterator[bytes]:
    """Two commits in the language of fast-import."""
    for name, side in (("before", "before"), ("after", "after")):
        yield f"commit refs/heads/{name}\ncommitter runoff <runoff@localhost> 0 +0000\ndata 0\n".encode()
        for path in sorted(changes):
            change = changes[path]
            content = change.before if side == "before" else change.after
            if content is not None:
                yield (
                    f"M {change.mode} inline ".encode()
                    + _quoted(path)
                    + f"\ndata {len(content)}\n".encode()
                    + content
                    + b"\n"
                )
        yield b"\n"


def _quoted(path: str) -> bytes:
    raw = path.encode("utf-8", "surrogateescape")
    escapes = {ord('"'): b'\\"', ord("\\"): b"\\\\", ord("\n"): b"\\n"}
    return b'"' + b"".join(escapes.get(byte, bytes([byte])) for byte in raw) + b'"'


def _git(root: Path, arguments: list[str], given: bytes = b"") -> bytes:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    env = {**kept, "GIT_DIR": str(root), "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull, "LC_ALL": "C"}
    command = ["git", "-c", "core.quotePath=false", "-c", "core.fsync=none", *arguments]  # the scratch need not last
    try:
        done = subprocess.run(command, cwd=root, env=env, input=given, capture_output=True, check=False)
    except OSError as error:
        raise InfrastructureError(f"git cannot be run: {error}", where=str(root), hint="install git; df -h /tmp") from error
    if done.returncode:
        message = done.stderr.decode("utf-8", "replace").strip().splitlines()
        reason = message[-1] if message else f"exit {done.returncode}"
        raise InfrastructureError(
            f"git could not write a diff: {reason}", where=str(root), hint="check: git --version; df -h /tmp"
        )
    return done.stdout
