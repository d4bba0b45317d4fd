"""Rows of SWE-bench data sets, from the Hub or a file, with allowed columns only.

What is not on the list (gold patch, tests, hints) is dropped where the source is parsed: parquet and the Hub's data sets
are asked for columns, JSON drops keys as each object is read. Only `selection.gold` asks for a longer list.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sandbox.errors import InfrastructureError, InputError

ALLOWED = ("instance_id", "repo", "base_commit", "problem_statement", "version", "image", "image_name", "docker_image")
_HUB_ID = re.compile(r"^[\w.-]+/[\w.-]+$")
_HINT = "give --dataset a Hub id such as SWE-bench/SWE-bench_Verified, or a .jsonl, .json or .parquet file"

Row = Mapping[str, str]
Columns = Container[str]
"""The names of the columns that are read."""


@dataclass(frozen=True, slots=True)
class NumberedRow:
    """One row, its allowed columns as text, and why it could not be read if so."""

    number: int
    columns: Row
    problem: str = ""


def read_rows(source: str, split: str | None = None, columns: Columns = ALLOWED) -> Iterator[NumberedRow]:
    """The rows of a source. Raises InputError and, for the Hub, InfrastructureError."""
    path = Path(source).expanduser()
    if path.is_file():
        reader = _READERS.get(path.suffix.lower())
        if reader is None:
            raise InputError(f"cannot read a '{path.suffix}' file", where=source, hint=_HINT)
        yield from reader(path, columns)
    elif path.is_dir() or (_HUB_ID.match(source) and path.suffix.lower() not in ROW_SUFFIXES):
        yield from _hub(source, split, columns)
    else:
        raise InputError("no such data set", where=source, hint=_HINT)


def _jsonl(path: Path, columns: Columns) -> Iterator[NumberedRow]:
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line, object_pairs_hook=_only(columns))
            except ValueError:
                torn = not line.endswith(b"\n")
                yield NumberedRow(
                    number, _torn_id(line), "it ends early, the file is half-written" if torn else "it is not JSON"
                )
                continue
            yield _row(number, row, columns)


def _json(path: Path, columns: Columns) -> Iterator[NumberedRow]:
    """A list of rows, or an object of rows by id."""
    try:
        content = json.loads(path.read_bytes(), object_pairs_hook=_only(columns))
    except ValueError as error:
        message = f"not JSON, or half-written: {error}"
        raise InputError(message, where=str(path), hint="fetch the file again") from None
    if isinstance(content, dict):
        content = [{"instance_id": name, **row} for name, row in content.items() if isinstance(row, dict)]
    if not isinstance(content, list):
        raise InputError("neither a list of rows nor an object by id", where=str(path), hint=_HINT)
    for number, row in enumerate(content, 1):
        yield _row(number, row, columns)


def _parquet(path: Path, columns: Columns) -> Iterator[NumberedRow]:
    import pyarrow as pa  # type: ignore[import-untyped]  # it ships no types
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            names = [name for name in file.schema_arrow.names if name in columns]
            rows = (row for batch in file.iter_batches(batch_size=256, columns=names) for row in batch.to_pylist())
            yield from _numbered(rows, columns)
    except (pa.ArrowException, OSError) as error:
        message = f"not a parquet file, or half-written: {error}"
        raise InputError(message, where=str(path), hint="fetch the file again") from None


def _hub(source: str, split: str | None, columns: Columns) -> Iterator[NumberedRow]:
    import datasets  # type: ignore[import-untyped]  # it ships no types

    try:
        splits = datasets.get_dataset_split_names(source)
        chosen = split or ("test" if "test" in splits else splits[0] if len(splits) == 1 else "")
        if chosen not in splits:
            message = f"no split '{chosen}'" if chosen else "the data set has several splits"
            raise InputError(message, where=source, hint=f"choose one with --split: {', '.join(splits)}")
        rows = datasets.load_dataset(source, split=chosen)
    except (ConnectionError, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        if isinstance(error, FileNotFoundError):
            raise InputError(f"no such data set: {reason}", where=source, hint=_HINT) from None
        message = f"cannot fetch the data set: {reason}"
        raise InfrastructureError(
            message, where=source, hint="check the network, or download the file and name its path"
        ) from None
    except ValueError as error:
        raise InputError(f"cannot read the data set: {error}", where=source, hint=_HINT) from None
    yield from _numbered(rows.select_columns([name for name in rows.column_names if name in columns]), columns)


def _numbered(rows: Iterable[Any], columns: Columns) -> Iterator[NumberedRow]:
    for number, row in enumerate(rows, 1):
        yield _row(number, row, columns)


def _row(number: int, row: object, columns: Columns) -> NumberedRow:
    if not isinstance(row, dict):
        return NumberedRow(number, {}, "it is not an object")
    texts = ((name, _text(name, value)) for name, value in row.items() if name in columns)
    return NumberedRow(number, {name: text for name, text in texts if text is not None})


def _text(name: str, value: object) -> str | None:
    """A value as text; of columns that agents read, only what is text already; of others, lists and the like as JSON."""
    if isinstance(value, str) or value is None or name in ALLOWED:
        return value if isinstance(value, str) else None
    return json.dumps(value, ensure_ascii=False, default=str)


def _only(columns: Columns) -> Callable[[list[tuple[str, Any]]], dict[str, Any]]:
    """Makes an object without other columns; objects inside it stay, since rows can be keyed by id."""
    return lambda pairs: {name: value for name, value in pairs if name in columns or isinstance(value, dict)}


def _torn_id(line: bytes) -> Row:
    """The id of a line that cannot be parsed, if it got that far."""
    found = re.search(rb'"instance_id"\s*:\s*"([\w.+-]+)"', line)
    return {"instance_id": found[1].decode()} if found else {}


_READERS: Mapping[str, Callable[[Path, Columns], Iterator[NumberedRow]]] = {
    ".jsonl": _jsonl,
    ".ndjson": _jsonl,
    ".json": _json,
    ".parquet": _parquet,
}
ROW_SUFFIXES = frozenset(_READERS)
"""How the names of files that hold rows end, in lower case."""
