"""Configuration files of a repository that nobody vetted: bounded in size, parsed by what cannot run code.

A file that is missing, too large, or broken is evidence of nothing, never an error.
"""

from __future__ import annotations

import ast
import configparser
import tomllib
import warnings
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, TypeVar

import yaml

from agent.repository import Repository

LARGEST = 256 * 1024
"""Bytes of a file that is read at all."""
LARGEST_YAML = 64 * 1024
"""The YAML parser takes a second for a few hundred kibibytes."""
MOST = 200
"""Items of a list that are looked at."""
LONGEST = 500
"""Characters of one item."""

T = TypeVar("T")
Table = Mapping[str, Any]
Ini = Mapping[str, Mapping[str, str]]


class ConfigFiles:
    """The files of a repository at its commit, read as what they are."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._read: dict[tuple[str, str], Any] = {}

    @cached_property
    def paths(self) -> tuple[str, ...]:
        """All regular files, in git's order."""
        return tuple(file.path for file in self._repository.files())

    @cached_property
    def folders(self) -> frozenset[str]:
        """All folders that hold a file."""
        return frozenset(
            "/".join(parts[:depth])
            for path in self.paths
            for parts in [path.split("/")]
            for depth in range(1, min(len(parts), 20))
        )

    def exists(self, path: str) -> bool:
        """Whether there is a file or a folder of this name."""
        name = path.removeprefix("./").rstrip("/")
        return name in self.folders or self._repository.entry(name) is not None

    def text(self, path: str, largest: int = LARGEST) -> str:
        """Its text with plain line ends; empty if it is missing or too large."""
        entry = self._repository.entry(path)
        if entry is None or entry.size > largest:
            return ""
        return self._repository.read(path).replace("\r\n", "\n").replace("\0", "")

    def toml(self, path: str) -> Table:
        """The document of a TOML file."""
        return self._kept("toml", path, lambda: table(tomllib.loads(self.text(path))), {})

    def ini(self, path: str) -> Ini:
        """Sections of an INI file, values as they stand: no interpolation."""
        return self._kept("ini", path, lambda: _ini(self.text(path)), {})

    def yaml(self, path: str) -> Any:
        """The document of a YAML file: strings, lists and mappings only, so `3.10` stays what it is."""
        return self._kept("yaml", path, lambda: yaml.load(self.text(path, LARGEST_YAML), Loader=yaml.BaseLoader), None)  # noqa: S506  makes no objects

    def python(self, path: str) -> ast.Module | None:
        """The syntax tree of a Python file; it is not executed."""
        return self._kept("python", path, lambda: _parse(self.text(path)), None)

    def _kept(self, kind: str, path: str, parse: Callable[[], T], nothing: T) -> T:
        if (kind, path) not in self._read:
            try:
                self._read[kind, path] = parse()
            except (
                ValueError,
                SyntaxError,
                RecursionError,
                MemoryError,
                AttributeError,
                yaml.YAMLError,
                configparser.Error,
            ):
                self._read[kind, path] = nothing
        kept: T = self._read[kind, path]
        return kept


def table(value: Any) -> Table:
    """The value if it is a mapping, else an empty one."""
    return value if isinstance(value, dict) else {}


def dig(value: Any, *keys: str) -> Any:
    """The value below these keys; None if any of them is missing."""
    for key in keys:
        value = table(value).get(key)
    return value


def strings(value: Any) -> list[str]:
    """The strings of a list, or a string's lines; nothing of anything else, and not too much of either."""
    items = value.splitlines() if isinstance(value, str) else value if isinstance(value, list | tuple) else []
    return [item.strip() for item in items[:MOST] if isinstance(item, str) and 0 < len(item.strip()) <= LONGEST]


def _ini(text: str) -> Ini:
    parser = configparser.RawConfigParser(strict=False, allow_no_value=True)
    parser.read_string(text)
    return {name: {key: value or "" for key, value in parser.items(name)} for name in parser.sections()}


def _parse(text: str) -> ast.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(text)
