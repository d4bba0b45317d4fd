"""A copy of a run that can be given away: without secrets, without places, and unless asked without the prompts.

Prompts hold the repository's code; everything else of a run can be read, shown and replayed without them. What is
redacted keeps its digests, so a replay of the copy finds its replies as it would in the run itself. An archive of the
same run is the same bytes each time.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import os
import shutil
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any
from uuid import uuid4

from agent.jsonl import read_lines
from agent.places import ERROR_FIELDS, Places
from agent.redaction import Redactor
from agent.store import Run, read_json
from sandbox.errors import InputError, StoreError

REPORT = "export.json"
SUFFIXES = (".json", ".jsonl", ".diff")
ARCHIVES = (".tar.gz", ".tgz")
NEVER = frozenset({"owner.json", REPORT})
"""Files of a run that tell about a process, or about an earlier export, and not about the run."""
MADE = 315532800
"""Time of every file in an archive: 1980-01-01, the first that every archive format can hold."""

Cleanse = Callable[[str], str]
Write = Callable[[str, bytes], None]


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export holds, and what it does not."""

    path: Path
    files: int
    size: int
    """Bytes before packing."""
    left_out: dict[str, int]
    """Files of the run that are not in it, by name or folder."""
    redacted: dict[str, dict[str, int]]
    """By file: how often a secret of each kind was taken out."""
    secrets: dict[str, int]
    """By kind: how many different secrets that were."""

    def to_json(self) -> dict[str, Any]:
        """As export.json holds it: nothing of this machine."""
        return {
            "runoff": version("runoff"),
            "left_out": self.left_out,
            "secrets": self.secrets,
            "redacted": self.redacted,
        }


def export_run(run: Run, target: Path, redactor: Redactor, *, with_prompts: bool = False) -> Exported:
    """Write a copy of the run to `target`: an archive where its name ends in .tar.gz or .tgz, else a folder.

    `with_prompts`: the text of the requests too. Raises InputError if the target exists, StoreError where reading or
    writing fails; nothing is left of an export that failed.
    """
    if target.exists() or target.is_symlink():
        raise InputError("the export exists already", where=str(target), hint=f"choose another name, or: rm -r {target}")
    draft = target.with_name(f".{target.name}.{uuid4().hex[:8]}.tmp")
    packed = target.name.endswith(ARCHIVES)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _archive(draft, run.name) if packed else _folder(draft) as write:
            exported = _Export(run, redactor, target, with_prompts=with_prompts).write_all(write)
        _publish(draft, target, packed=packed)
    except OSError as error:
        raise StoreError(
            f"cannot write the export: {error.strerror or error}", where=str(target), hint="choose another place"
        ) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        draft.unlink(missing_ok=True)
    return exported


class _Export:
    """One export while it is made."""

    def __init__(self, run: Run, redactor: Redactor, target: Path, *, with_prompts: bool) -> None:
        self._run = run
        self._redactor = redactor
        self._target = target
        self._with_prompts = with_prompts
        self._instances = frozenset(run.instances())
        self._redacted: dict[str, dict[str, int]] = {}
        self._markers: set[str] = set()
        about = [run.instance(name).read("instance.json") for name in sorted(self._instances)]
        repositories = [(each.get("environment") or {}).get("repository") for each in about]
        sources = [text for text in [*(each.get("source") for each in about), *repositories] if text]
        self._places = Places(run.path, run.manifest()["settings"], sources)

    def write_all(self, write: Write) -> Exported:
        """Write every file that belongs into it, then the report."""
        self._redactor.tally.clear()
        count, size = 0, 0
        left_out: dict[str, int] = {}
        for path in _files(self._run.path):
            name = path.relative_to(self._run.path).as_posix()
            if not self._belongs(path, name):
                key = name.split("/", maxsplit=1)[0] + "/" if "/" in name else name
                left_out[key] = left_out.get(key, 0) + 1
                continue
            content = self._content(path, name).encode("utf-8", "surrogateescape")
            self._count(name)
            write(name, content)
            count, size = count + 1, size + len(content)
        kinds = [marker.split(":")[1] for marker in self._markers]
        secrets = {kind: kinds.count(kind) for kind in sorted(set(kinds))}
        exported = Exported(self._target, count, size, left_out, self._redacted, secrets)
        write(REPORT, (json.dumps(exported.to_json(), indent=1) + "\n").encode())
        return exported

    def _belongs(self, path: Path, name: str) -> bool:
        top = name.split("/", maxsplit=1)[0]
        if path.is_symlink() or path.name in NEVER or path.name.startswith("."):
            return False
        if top == "parts":
            return self._with_prompts
        if "/" in name and top not in self._instances:
            return False
        return path.suffix in SUFFIXES

    def _content(self, path: Path, name: str) -> str:
        match path.suffix:
            case ".jsonl":
                needed = ("instance_id",) if name == "predictions.jsonl" else ("kind",)
                return "".join(json.dumps(self._clean(line)) + "\n" for line in read_lines(path, name, *needed))
            case ".json":
                return json.dumps(self._clean(read_json(path)), indent=1, ensure_ascii=False) + "\n"
            case _:
                return self._text(path.read_bytes().decode("utf-8", "surrogateescape"))

    def _clean(self, value: Any, field: str = "") -> Any:
        match value:
            case str():
                return self._error(value) if field in ERROR_FIELDS else self._text(value)
            case list():
                return [self._clean(each, field) for each in value]
            case dict():
                return {self._text(key): self._clean(each, key) for key, each in value.items()}
            case _:
                return value

    def _text(self, text: str) -> str:
        return self._places.text(self._redactor.everything(text))

    def _error(self, text: str) -> str:
        return self._places.error(self._redactor.error(text))

    def _count(self, name: str) -> None:
        found: dict[str, int] = {}
        for marker, times in sorted(self._redactor.tally.items()):
            kind = marker.split(":")[1]
            found[kind] = found.get(kind, 0) + times
        self._markers.update(self._redactor.tally)
        self._redactor.tally.clear()
        if found:
            self._redacted[name] = found


def _files(folder: Path) -> Iterator[Path]:
    """All files below, in the order of their names; what cannot be listed is told by StoreError of its reader."""
    for place, folders, names in os.walk(folder):
        folders.sort()
        yield from (Path(place, name) for name in sorted(names))


@contextlib.contextmanager
def _folder(draft: Path) -> Iterator[Write]:
    draft.mkdir()

    def write(name: str, content: bytes) -> None:
        path = draft / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    yield write


@contextlib.contextmanager
def _archive(draft: Path, root: str) -> Iterator[Write]:
    """Packs files under a folder of the run's name, in the order in which they come; no owner, no time."""
    with (
        draft.open("xb") as file,
        gzip.GzipFile(filename="", fileobj=file, mode="wb", mtime=MADE) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):

        def write(name: str, content: bytes) -> None:
            entry = tarfile.TarInfo(f"{root}/{name}")
            entry.size, entry.mode, entry.mtime = len(content), 0o644, MADE
            tar.addfile(entry, io.BytesIO(content))

        yield write


def _publish(draft: Path, target: Path, *, packed: bool) -> None:
    """Give the draft its name; a file that has come there meanwhile stays what it is."""
    if not packed:
        draft.rename(target)  # refused where there is a file, or a folder that is not empty
        return
    with draft.open("rb") as file:
        os.fsync(file.fileno())
    try:
        os.link(draft, target)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        draft.rename(target)
