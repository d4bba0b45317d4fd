"""Where a run lands on the disk, and the rules that make it safe to interrupt.

    runs/<run>/manifest.json          settings (no secrets), versions, model names, prices, seed
    runs/<run>/ledger.jsonl           what every call cost
    runs/<run>/parts/ab/<digest>.txt  request text, once per digest
    runs/<run>/<instance>/            instance.json 01_context/ 02_testing/ 03_editing/ 04_matrix.json 05_selection.jsonl
                                      executions.jsonl result.json patch.diff, or failure.json
    runs/<run>/predictions.jsonl      what the official harness reads
    runs/<run>/unresolved.json        instances without a patch, by cause

Whole files are written under a temporary name and renamed; journals are appended to, one fsync an effect. A lock
holds off a second process, and a format version guards against an older or newer runoff. The manifest is written last
of what a start writes: a folder that has one can be resumed.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import filelock

from agent.files import write_text
from agent.jsonl import DamagedFile
from agent.llm.messages import Part, Request
from agent.predictions import prediction, unresolved
from agent.redaction import MARK, of_process
from agent.trajectory.journal import Journal
from sandbox.errors import InputError, StoreError

FORMAT = 1
CHANGEABLE = frozenset({"in_flight", "workers", "timeout", "retries", "priming", "strict", "price", "cheap_price"}) | {
    "budget",
    "budget_tokens",
    "budget_calls",
    "budget_per_issue",
    "instances_at_once",
    "remove_images",
}
"""Settings that may differ when a run is taken up again: they do not change what a model sees."""
RECENT = 10_000
"""Parts of requests whose being stored is remembered: those of all conversations under way, and then some."""
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


def write_json(path: Path, value: Any) -> None:
    """`write_text` for JSON."""
    write_text(path, _json(value))


def _json(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


def read_json(path: Path, *names: str) -> dict[str, Any]:
    """The object in a JSON file. Raises StoreError if it cannot be read, or lacks one of the names."""
    hint = "restore the file, or start a new run with --run NAME"
    try:
        held = json.loads(path.read_text(encoding="utf-8", errors="surrogateescape"))
    except OSError as error:
        raise StoreError(f"cannot read: {error.strerror}", where=str(path), hint=hint) from error
    except ValueError as error:
        raise DamagedFile(f"damaged: {error}", where=str(path), hint=hint) from error
    missing = [name for name in names if name not in held] if isinstance(held, dict) else ["an object"]
    if missing:
        raise DamagedFile(f"damaged: {', '.join(missing)} is missing", where=str(path), hint=hint)
    return dict(held)


def _difference(held: Mapping[str, Any], now: Mapping[str, Any] | None) -> str:
    """The first part of an instance that is not what it was; empty if none."""
    if now is None:
        return "issue"
    plain = json.loads(json.dumps(now))  # as it would come back from the file
    return next((name for name in held if held[name] != plain.get(name)), "")


def _holds(path: Path, text: str) -> bool:
    """Whether a file has this text, perhaps without secrets of an earlier process; one that a power cut spoiled has not."""
    if not path.exists():
        return False
    return path.stat().st_size == len(text.encode("utf-8", "surrogateescape")) or MARK in path.read_text("utf-8", "replace")


class Parts:
    """Request text, stored once per digest, however many requests share it.

    Stored is what is sent: secrets of this process are markers. The digest stays that of the text as it was composed,
    so that a run can be resumed with another key, or without one.

    For readers only: no resumption needs it. So nothing waits for the disk here; what a power cut spoiled is written
    again when it is next part of a request.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._recent: dict[str, None] = {}
        """Digests of parts that were seen to be stored, the latest last. Not all of them: runs are long."""

    def keep(self, request: Request) -> None:
        """Store the parts of a request that are not stored yet."""
        for message in request.messages:
            for part in message.parts:
                if part.digest not in self._recent:
                    self._keep(part)

    def _keep(self, part: Part) -> None:
        path = self._path(part.digest)
        if not _holds(path, part.text):
            write_text(path, of_process().known(part.text), lasting=False)
        self._recent[part.digest] = None
        if len(self._recent) > RECENT:
            del self._recent[next(iter(self._recent))]

    def text(self, digest: str) -> str | None:
        """The text of a digest; None if it is not here (a shared transcript has no request text)."""
        path = self._path(digest)
        return path.read_bytes().decode("utf-8", "surrogateescape") if path.exists() else None

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
    def earlier(self) -> Path:
        """A folder for each time that the instance was given up and begun anew, with what it had come to."""
        return self.path / "earlier"

    @property
    def attempt(self) -> int:
        """How many there are."""
        return sum(1 for _ in self.earlier.glob("*"))

    @property
    def executions(self) -> Path:
        """The cache of executions."""
        return self.path / "executions.jsonl"

    def write(self, name: str, value: Any) -> None:
        """A JSON file of this folder."""
        write_json(self.path / name, value)

    def read(self, name: str, *names: str) -> Any:
        """The object in a JSON file of this folder; None if it is not there. Raises StoreError if it lacks a name."""
        path = self.path / name
        return read_json(path, *names) if path.exists() else None

    def outcome(self, model: str) -> tuple[str | None, dict[str, str]]:
        """(its line of predictions.jsonl, None if it has none; why it has none)."""
        patch, result = self.path / "patch.diff", self.read("result.json")
        diff = patch.read_bytes().decode("utf-8", "surrogateescape") if patch.exists() else None
        line = prediction(self.path.name, model, diff, result)
        return line, {} if line else unresolved(result, self.read("failure.json"))


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
    def handle(self) -> str:
        """What commands find it by that are called as this one was: its name where they look for it, else its folder."""
        usual = Path(os.environ.get("RUNOFF_RUNS", "") or "runs")
        return self.name if usual.resolve() == self.path.parent.resolve() else shlex.quote(str(self.path))

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

    @property
    def is_batch(self) -> bool:
        """Whether it was begun with a data set's instances, be it one of them."""
        return "order" in self.manifest()

    def order(self) -> list[str]:
        """Ids of the instances in the order in which they are to be worked on."""
        return list(self.manifest().get("order", self.instances()))

    def manifest(self) -> dict[str, Any]:
        """The manifest. Raises InputError for a format that this runoff does not know."""
        manifest = read_json(self.path / "manifest.json", "settings")
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

    def begin(self, manifest: Mapping[str, Any], instances: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        """Write the instances and the manifest of a new run; those of a run that is there stay as they are.

        The manifest comes last, so that a run which has one has all that resuming needs.
        """
        new = not (self.path / "manifest.json").exists()
        for identifier, fields in (instances or {}).items():
            if new or not (self.path / identifier / "instance.json").exists():
                self.instance(identifier).write("instance.json", fields)
        if new:
            for left in set(self.instances()) - set(instances or {}):
                (self.path / left / "instance.json").unlink()  # of a start that was killed before it spent anything
            created = datetime.now(UTC).isoformat(timespec="seconds")
            write_json(self.path / "manifest.json", {"format": FORMAT, "created": created, **manifest})

    def check(
        self, manifest: Mapping[str, Any], instances: Mapping[str, Mapping[str, Any]], names: Sequence[str] = ()
    ) -> None:
        """Raises InputError if the run is there already, with other settings or other instances than these.

        `instances`: by id, what instance.json would hold. A commit or an issue that has changed since makes another run.
        `names`: what of it is compared; all of it if none are given.
        """
        if not (self.path / "manifest.json").exists():
            return
        before, now = self.manifest()["settings"], manifest["settings"]
        for name in sorted({*before, *now} - CHANGEABLE):
            if before.get(name) != now.get(name):
                raise InputError(
                    f"the run exists with another {name.replace('_', '-')}: {before.get(name)!r}, not {now.get(name)!r}",
                    where=str(self.path),
                    hint=f"runoff resume {self.handle}, or choose another --run",
                )

        for identifier in self.instances():
            held = self.instance(identifier).read("instance.json")
            if names:
                held = {name: held.get(name) for name in names}
            if differs := _difference(held, instances.get(identifier)):
                raise InputError(
                    f"the run exists with another {differs.replace('_', ' ')}",
                    where=str(self.path),
                    hint=f"runoff resume {self.handle}, or choose another --run",
                )

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the run. Raises InputError, naming who holds it, if another process does.

        The system lets go of the lock when its holder dies, however it dies; `owner.json` only says who it was.
        """
        owner = self.path / "owner.json"
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            held = filelock.FileLock(self.path / ".lock", timeout=0)
            held.acquire()
        except filelock.Timeout:
            raise InputError(
                f"the run is in use by {_who(owner)}",
                where=str(self.path),
                hint="wait until it ends or stop it, then: runoff resume " + self.handle,
            ) from None
        except OSError as error:
            raise StoreError(
                f"cannot write: {error.strerror}", where=str(self.path), hint="choose another place with RUNOFF_RUNS"
            ) from error
        try:
            if owner.exists() or any(self.path.glob(".*.tmp")):
                self._sweep()
            since = datetime.now(UTC).isoformat(timespec="seconds")
            write_json(owner, {"pid": os.getpid(), "host": socket.gethostname(), "since": since})
            yield
        finally:
            with contextlib.suppress(OSError):
                owner.unlink(missing_ok=True)
            held.release()

    def _sweep(self) -> None:
        """Remove what the last holder had not renamed when it was killed."""
        for scrap in self.path.rglob(".*.tmp"):
            with contextlib.suppress(OSError):
                scrap.unlink()

    def finish(self, model: str) -> None:
        """What a kill after the last result left undone. A run that is complete can be on a disk that is read-only."""
        try:
            with self.lock():
                self.write_predictions(model)
        except StoreError:
            if not (self.path / "unresolved.json").exists():  # the last file of a run
                raise

    def write_predictions(self, model: str) -> dict[str, dict[str, str]]:
        """predictions.jsonl and unresolved.json, from the instances' results. What unresolved.json holds."""
        predictions: list[str] = []
        missing: dict[str, dict[str, str]] = {}
        for row in self.manifest().get("left_out", []):
            missing[row["id"] or f"row {row['row']}"] = {"cause": "data", "reason": row["reason"]}
        for identifier in self.instances():
            line, why = self.instance(identifier).outcome(model)
            missing.pop(identifier, None)  # another row of the same id was left out
            if line is None:
                missing[identifier] = why
            else:
                predictions.append(line)
        _write_if_new(self.path / "predictions.jsonl", "".join(predictions))
        _write_if_new(self.path / "unresolved.json", _json(missing))
        return missing


def _who(owner: Path) -> str:
    """The holder of a lock in words; it may not have signed yet, or have ended meanwhile."""
    try:
        who = read_json(owner, "pid", "host", "since")
    except StoreError:
        return "another process"
    return f"process {who['pid']} on {who['host']} since {who['since']}"


def _write_if_new(path: Path, text: str) -> None:
    """A finished run can be looked at on a disk that is full or read-only."""
    if not path.exists() or path.read_bytes() != text.encode("utf-8", "surrogateescape"):
        write_text(path, text)
