"""Where a run lands on the disk, and the rules that make it safe to interrupt.

    runs/<run>/manifest.json          settings (no secrets), versions, model names, prices, seed
    runs/<run>/ledger.jsonl           what every call cost
    runs/<run>/parts/ab/<digest>.txt  request text, once per digest
    runs/<run>/<instance>/            instance.json 01_context/ 02_testing/ 03_editing/ 04_matrix.json 05_selection.jsonl
                                      executions.jsonl result.json patch.diff
    runs/<run>/predictions.jsonl      what the official harness reads
    runs/<run>/unresolved.json        instances without a patch, by cause

Whole files are written under a temporary name and renamed; journals are appended to, one fsync an effect. A lock
holds off a second process, and a format version guards against an older or newer runoff.
"""

from __future__ import annotations

import json
import os
import re
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import filelock

from agent.llm.messages import Request
from agent.redaction import of_process
from agent.trajectory.journal import Journal
from sandbox.errors import InputError, StoreError

FORMAT = 1
CHANGEABLE = frozenset({"in_flight", "workers", "timeout", "retries", "priming", "strict", "price", "cheap_price"}) | {
    "budget",
    "budget_tokens",
    "budget_calls",
}
"""Settings that may differ when a run is taken up again: they do not change what a model sees."""
_FOLDERS = {"relevance": "01_context", "ranking": "01_context", "testing": "02_testing", "editing": "03_editing"}


def journal_path(instance: Path, stage: str, sample: int) -> Path:
    """Where a trajectory's journal lies below its instance's folder."""
    match stage:
        case "selection":
            return instance / "05_selection.jsonl"
        case "relevance" | "ranking":
            return instance / _FOLDERS[stage] / f"{stage}.jsonl"
        case _:
            return instance / _FOLDERS[stage] / f"{sample}.jsonl"


def write_text(path: Path, text: str) -> None:
    """Write a file so that a reader, or a crash, sees the old content or the new, never a part."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise StoreError(
            f"cannot write: {error.strerror}", where=str(path), hint="make room or mend the rights, then resume"
        ) from error


def write_json(path: Path, value: Any) -> None:
    """`write_text` for JSON."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """The value in a JSON file. Raises StoreError if it cannot be read."""
    try:
        return json.loads(path.read_text(encoding="utf-8", errors="surrogateescape"))
    except (OSError, ValueError) as error:
        raise StoreError(f"cannot read: {error}", where=str(path)) from error


def _difference(held: Mapping[str, Any], now: Mapping[str, Any] | None) -> str:
    """The first part of an instance that is not what it was; empty if none."""
    if now is None:
        return "issue"
    plain = json.loads(json.dumps(now))  # as it would come back from the file
    return next((name for name in held if held[name] != plain.get(name)), "")


class Parts:
    """Request text, stored once per digest, however many requests share it.

    Stored is what is sent: secrets of this process are markers. The digest stays that of the text as it was composed,
    so that a run can be resumed with another key, or without one.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._known: set[str] = set()

    def keep(self, request: Request) -> None:
        """Store the parts of a request that are not stored yet."""
        for message in request.messages:
            for part in message.parts:
                if part.digest not in self._known:
                    path = self._path(part.digest)
                    if not path.exists():
                        write_text(path, of_process().known(part.text))
                    self._known.add(part.digest)

    def text(self, digest: str) -> str | None:
        """The text of a digest; None if it is not here (a shared transcript has no request text)."""
        path = self._path(digest)
        return path.read_text(encoding="utf-8", errors="surrogateescape") if path.exists() else None

    def _path(self, digest: str) -> Path:
        return self._root / digest[:2] / f"{digest}.txt"


class InstanceStore:
    """One instance's folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def journal(self, stage: str, sample: int) -> Journal:
        """The journal of one trajectory."""
        header = {"instance": self.path.name, "stage": stage, "sample": sample}
        return Journal(journal_path(self.path, stage, sample), header)

    @property
    def executions(self) -> Path:
        """The cache of executions."""
        return self.path / "executions.jsonl"

    def write(self, name: str, value: Any) -> None:
        """A JSON file of this folder."""
        write_json(self.path / name, value)

    def read(self, name: str) -> Any:
        """A JSON file of this folder; None if it is not there."""
        path = self.path / name
        return read_json(path) if path.exists() else None


class Run:
    """A run's folder. Reading needs no lock; whoever works on a run holds `lock()`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.parts = Parts(path / "parts")

    @classmethod
    def find(cls, name: str, root: Path) -> Run:
        """An existing run by name or path. Raises InputError if there is none."""
        for path in (root / name, Path(name)):
            if (path / "manifest.json").is_file():
                run = cls(path)
                run.manifest()
                return run
        known = sorted(path.parent.name for path in root.glob("*/manifest.json"))
        raise InputError(
            f"there is no run '{name}'",
            where=str(root),
            hint=f"runs here: {', '.join(known)}" if known else "start one: runoff solve",
        )

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.path.name

    @property
    def ledger(self) -> Path:
        """Where the ledger lies."""
        return self.path / "ledger.jsonl"

    def instance(self, identifier: str) -> InstanceStore:
        """The folder of an instance. Raises InputError for an id that is no plain folder name."""
        if not re.fullmatch(r"[\w.+-]+", identifier) or identifier in (".", "..", "parts"):
            raise InputError(
                f"'{identifier}' cannot be the name of an instance",
                hint="letters, digits, '.', '_', '+' and '-' are allowed",
            )
        return InstanceStore(self.path / identifier)

    def instances(self) -> list[str]:
        """Ids of the instances that have a folder."""
        return sorted(path.parent.name for path in self.path.glob("*/instance.json"))

    def manifest(self) -> dict[str, Any]:
        """The manifest. Raises InputError for a format that this runoff does not know."""
        manifest: dict[str, Any] = read_json(self.path / "manifest.json")
        if manifest.get("format") != FORMAT:
            raise InputError(
                f"the run was written in format {manifest.get('format')}; this runoff reads format {FORMAT}",
                where=str(self.path),
                hint="use the runoff version that the manifest names",
            )
        return manifest

    def settings(self) -> dict[str, Any]:
        """The settings as of now: those of the start, with what was changed when the run was taken up again."""
        manifest = self.manifest()
        changed = [each["settings"] for each in manifest.get("changes", [])]
        return {name: value for settings in (manifest["settings"], *changed) for name, value in settings.items()}

    def note_changes(self, settings: Mapping[str, Any]) -> None:
        """Write down settings that differ from here on; they stay changed for the next time too."""
        manifest, at = self.manifest(), datetime.now(UTC).isoformat(timespec="seconds")
        changes = [*manifest.get("changes", []), {"at": at, "settings": dict(settings)}]
        write_json(self.path / "manifest.json", {**manifest, "changes": changes})

    def begin(self, manifest: Mapping[str, Any]) -> None:
        """Write the manifest of a new run; one that is there stays as it is."""
        if not (self.path / "manifest.json").exists():
            created = datetime.now(UTC).isoformat(timespec="seconds")
            write_json(self.path / "manifest.json", {"format": FORMAT, "created": created, **manifest})

    def check(self, manifest: Mapping[str, Any], instances: Mapping[str, Mapping[str, Any]]) -> None:
        """Raises InputError if the run is there already, with other settings or other instances than these.

        `instances`: by id, what instance.json would hold. A commit or an issue that has changed since makes another run.
        """
        if not (self.path / "manifest.json").exists():
            return
        before, now = self.manifest()["settings"], manifest["settings"]
        for name in sorted({*before, *now} - CHANGEABLE):
            if before.get(name) != now.get(name):
                raise InputError(
                    f"the run exists with another {name.replace('_', '-')}: {before.get(name)!r}, not {now.get(name)!r}",
                    where=str(self.path),
                    hint=f"runoff resume {self.name}, or choose another --run",
                )

        for identifier in self.instances():
            held = self.instance(identifier).read("instance.json")
            if differs := _difference(held, instances.get(identifier)):
                raise InputError(
                    f"the run exists with another {differs.replace('_', ' ')}",
                    where=str(self.path),
                    hint=f"runoff resume {self.name}, or choose another --run",
                )

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the run. Raises InputError, naming who holds it, if another process does."""
        owner = self.path / "owner.json"
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            held = filelock.FileLock(self.path / ".lock", timeout=0)
            held.acquire()
        except filelock.Timeout:
            who = {"pid": "?", "host": "?", "since": "?", **(read_json(owner) if owner.exists() else {})}
            raise InputError(
                f"the run is in use by process {who['pid']} on {who['host']} since {who['since']}",
                where=str(self.path),
                hint="wait until it ends or stop it, then: runoff resume " + self.name,
            ) from None
        except OSError as error:
            raise StoreError(
                f"cannot write: {error.strerror}", where=str(self.path), hint="choose another place with RUNOFF_RUNS"
            ) from error
        try:
            since = datetime.now(UTC).isoformat(timespec="seconds")
            write_json(owner, {"pid": os.getpid(), "host": socket.gethostname(), "since": since})
            yield
            owner.unlink(missing_ok=True)
        finally:
            held.release()

    def write_predictions(self, model: str) -> None:
        """predictions.jsonl and unresolved.json, from the instances' results."""
        predictions, unresolved = [], {}
        for identifier in self.instances():
            store = self.instance(identifier)
            patch, result = store.path / "patch.diff", store.read("result.json")
            if patch.exists():
                text = patch.read_text(encoding="utf-8", errors="surrogateescape")
                row = {"instance_id": identifier, "model_name_or_path": model, "model_patch": text}
                predictions.append(json.dumps(row, ensure_ascii=False) + "\n")
            else:
                unresolved[identifier] = result["reason"] if result else "unfinished"
        write_text(self.path / "predictions.jsonl", "".join(predictions))
        write_json(self.path / "unresolved.json", unresolved)
