"""An issue to resolve, and where it comes from: a SWE-bench file, or any git repository with a text.

Columns are read from a list of allowed ones, so a gold patch or the names of its tests never reach this package.
"""

from __future__ import annotations

import fnmatch
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from rapidfuzz import fuzz, process

from agent.repository import Repository
from agent.rows import ROW_SUFFIXES, Row, read_rows
from sandbox.api import EnvironmentSpec, digest_of
from sandbox.errors import InputError

_ID = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_.+-]{0,199}$")
_PATTERN = re.compile(r"[*?\[]")
_COMMIT = re.compile(r"^[0-9a-f]{7,64}$")
_ISSUE_URL = re.compile(r"^https?://\S+/(issues|pull|merge_requests|-/issues)/\d+\S*$")
_PATH_LIKE = re.compile(r"^[^\s]+\.(md|txt|rst|markdown)$|^[./~][^\s]*/[^\s]*$")
_NAMED = 3  # broken rows that a message names


@dataclass(frozen=True, slots=True)
class Instance:
    """One issue at one commit. Labels (gold patch, tests) are never part of it; see `selection.gold`."""

    id: str
    """Such as `pallets__flask-5014`; names a folder."""
    repo: str
    """Such as `pallets/flask`; shown to models."""
    base_commit: str
    """Full hexadecimal commit id."""
    statement: str
    """The issue's text."""
    version: str = ""
    environment: EnvironmentSpec | None = None
    """None: context only, nothing can be executed."""

    @property
    def about(self) -> dict[str, str]:
        """What is written on an environment that is built for it."""
        return {"project": self.repo, "instance": self.id}

    @property
    def title(self) -> str:
        """The issue's first line, at most 200 characters of it."""
        lines = (line.strip().lstrip("#").strip() for line in self.statement.splitlines())
        return next(filter(None, lines), "")[:200]


@dataclass(frozen=True, slots=True)
class Broken:
    """A row that is no instance."""

    line: int
    """From 1: the line of a JSONL file, the row of anything else."""
    id: str
    """Empty if the row has none."""
    reason: str


@dataclass(frozen=True, slots=True)
class Instances:
    """What a source holds."""

    source: str
    by_id: Mapping[str, Instance]
    broken: tuple[Broken, ...] = ()

    def find(self, instance_id: str) -> Instance:
        """The instance of this id. Raises InputError with the nearest ids, or with what is wrong with its row."""
        if found := self.by_id.get(instance_id):
            return found
        for row in self.broken:
            if row.id == instance_id:
                message = f"instance '{instance_id}' cannot be used: {row.reason}"
                raise InputError(
                    message, where=f"{self.source}, row {row.line}", hint="mend the row, or fetch the data set again"
                )
        message = f"no instance '{instance_id}'"
        if self.broken:
            rows = ", ".join(f"row {row.line}: {row.reason}" for row in self.broken[:_NAMED])
            message += f"; rows that cannot be read: {len(self.broken)} ({rows})"
        near = [
            name
            for name, _, _ in process.extract(instance_id, list(self.by_id), scorer=fuzz.WRatio, limit=3, score_cutoff=60)
        ]
        hint = f"near it: {', '.join(near)}" if near else f"the source has {len(self.by_id)} instances; is it the right one?"
        raise InputError(message, where=self.source, hint=hint)

    def chosen(self, wanted: str) -> list[Instance]:
        """Those of `names_in(wanted)`: ids and patterns such as `django__*`.

        In the source's order, each once. Raises InputError for an id that is not there and a pattern that fits none.
        """
        names, broken = self.fitting(wanted)
        for row in broken:
            if row.id in names_in(wanted) or not names:
                self.find(row.id)  # raises, with what is wrong with it
        return [instance for name, instance in self.by_id.items() if name in names]

    def fitting(self, wanted: str) -> tuple[frozenset[str], list[Broken]]:
        """(ids, broken rows) that `names_in(wanted)` fits. Raises InputError for a word that fits neither."""
        names: set[str] = set()
        broken: dict[int, Broken] = {}
        for word in names_in(wanted):
            found = fnmatch.filter(self.by_id, word)
            rows = {row.line: row for row in self.broken if row.id and fnmatch.fnmatchcase(row.id, word)}
            if not found and not rows:
                raise self._fits_nothing(word)
            names.update(found)
            broken |= rows
        return frozenset(names), list(broken.values())

    def _fits_nothing(self, word: str) -> InputError:
        if not _PATTERN.search(word):
            self.find(word)  # raises, with what is near it
        hint = f"the source has {len(self.by_id)} instances, such as {next(iter(self.by_id))}"
        return InputError(f"no instance fits '{word}'", where=self.source, hint=hint)


def load(source: str, *, split: str | None = None) -> Instances:
    """All instances of a Hub id, or of a `.jsonl`, `.json` or `.parquet` file; broken rows are named, not raised.

    Without `split`, `test` or the only one. Raises InputError (no such source or split, not readable at all).
    """
    by_id: dict[str, Instance] = {}
    broken: list[Broken] = []
    for row in read_rows(source, split):
        problem = row.problem or _problem(row.columns)
        instance_id = row.columns.get("instance_id", "")
        if not problem and instance_id in by_id:
            problem = "the id is taken by an earlier row"
        if problem:
            broken.append(Broken(row.number, instance_id, problem))
        else:
            by_id[instance_id] = _instance(row.columns)
    if not by_id:
        reason = f": {broken[0].reason} (row {broken[0].line})" if broken else ""
        raise InputError(f"no instance can be read{reason}", where=source, hint="fetch the data set again, or name another")
    return Instances(source, by_id, tuple(broken))


def names_in(wanted: str) -> list[str]:
    """The names in a text with commas between them, or in the file that it names.

    A file has words with blanks or lines between them; a data set, or anything else of JSON or parquet whose rows have an
    `instance_id`, such as predictions.jsonl and unresolved.json, means the ids in it. Raises InputError.
    """
    if not (path := _file(wanted)):
        return [word for word in map(str.strip, wanted.split(",")) if word]
    hint = "give ids, one a line, or JSON rows with an instance_id"
    if path.suffix.lower() in ROW_SUFFIXES:
        ids = [row.columns.get("instance_id", "") for row in read_rows(str(path), columns=("instance_id",))]
        if not all(ids):
            raise InputError(f"row {ids.index('') + 1} has no instance_id", where=wanted, hint=hint)
        return ids
    try:
        return path.read_text("utf-8").split()
    except (OSError, UnicodeError) as error:
        raise InputError(f"cannot read the file: {error}", where=wanted, hint=hint) from None


def find(source: str, instance_id: str, *, split: str | None = None) -> Instance:
    """One instance of a source. Raises InputError; an unknown id gets the nearest ones as a hint."""
    return load(source, split=split).find(instance_id)


def from_issue(repository: Repository, issue: str, *, stdin: TextIO | None = None) -> Instance:
    """An instance of any repository, and an issue given as text, as a file's path, or as `-` for standard input.

    Its environment is the repository at the commit. Raises InputError (empty, no such file, an issue's URL).
    """
    statement = _statement(issue, stdin or sys.stdin)
    name = re.sub(r"[^A-Za-z0-9_.+-]", "-", repository.name.replace("/", "__")).strip("-.") or "repository"
    instance_id = f"{name[:150]}-{digest_of(statement)[:8]}"
    if not _ID.match(instance_id):  # a name that begins with an underscore
        instance_id = f"x{instance_id}"
    environment = EnvironmentSpec(repository.commit, repository=repository.path)
    return Instance(instance_id, repository.name, repository.commit, statement, environment=environment)


def image_of(columns: Row) -> str:
    """The image that a row names, else the one that SWE-bench publishes for the instance."""
    for column in ("image", "image_name", "docker_image"):
        if columns.get(column):
            return columns[column]
    name = columns["instance_id"].replace("__", "_1776_").lower()
    return f"docker.io/swebench/sweb.eval.x86_64.{name}:latest"


def _instance(columns: Row) -> Instance:
    environment = EnvironmentSpec(columns["base_commit"], image=image_of(columns))
    return Instance(
        columns["instance_id"],
        columns["repo"],
        columns["base_commit"],
        columns["problem_statement"],
        columns.get("version", ""),
        environment,
    )


def _problem(columns: Row) -> str:
    """Why a row is no instance; empty if it is one."""
    for column in ("instance_id", "repo", "base_commit", "problem_statement"):
        if not columns.get(column, "").strip():
            return f"it has no {column}"
    if not _ID.match(columns["instance_id"]) or ".." in columns["instance_id"]:
        return "its instance_id cannot name a folder"
    if not _COMMIT.match(columns["base_commit"]):
        return "its base_commit is not a commit id"
    return ""


def _statement(issue: str, stdin: TextIO) -> str:
    hint = "give --issue a text, the path of a file, or - for standard input"
    where = "--issue"
    given = issue.strip()
    if _ISSUE_URL.match(given):
        raise InputError(
            "the URL of an issue cannot be read yet", where=given, hint="copy its text into a file: --issue FILE"
        )
    if given == "-":
        where = "standard input"
        try:
            text = stdin.read()
        except UnicodeError as error:
            raise InputError(f"cannot read the issue: {error}", where=where, hint=hint) from None
    elif path := _file(given):
        where = str(path)
        try:
            text = path.read_text("utf-8")
        except (OSError, UnicodeError) as error:
            raise InputError(f"cannot read the issue: {error}", where=where, hint=hint) from None
    elif _PATH_LIKE.match(given):
        raise InputError("no such file", where=given, hint=hint)
    else:
        text = issue
    if not text.strip():
        raise InputError("the issue is empty", where=where, hint=hint)
    return text.strip() + "\n"


def _file(given: str) -> Path | None:
    if not given or "\n" in given or len(given) > 1000:  # noqa: PLR2004  longer than a path one types
        return None
    try:
        path = Path(given).expanduser()
        return path if path.is_file() else None
    except (OSError, ValueError, RuntimeError):  # such as a name that is too long, or ~nobody
        return None
