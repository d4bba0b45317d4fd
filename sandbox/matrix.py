"""Every script on every patch and on the unpatched tree: what the vote is counted from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sandbox.api import Execution, Patch, Script


@dataclass(frozen=True, slots=True)
class Matrix:
    """The executions of distinct scripts on distinct patches."""

    scripts: tuple[Script, ...]
    patches: tuple[Patch, ...]
    baseline: Mapping[str, tuple[Execution, ...]]
    """Executions on the unpatched tree by script digest, one for each repeat."""
    cells: Mapping[tuple[str, str], Execution]
    """Executions by (patch digest, script digest)."""
