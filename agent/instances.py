"""An issue to resolve, and where it comes from: a SWE-bench file, or any git repository with a text."""

from __future__ import annotations

from dataclasses import dataclass

from sandbox.api import EnvironmentSpec


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
