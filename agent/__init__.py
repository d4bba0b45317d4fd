"""Reads a repository, drafts tests and edits with a model, and carries one issue from start to result.

The library is what `__all__` names; it is loaded at first use, so that to import a part of the package costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agent.cli.library import (
        Batch,
        Solution,
        batch,
        batch_async,
        resume,
        resume_async,
        resume_batch,
        resume_batch_async,
        solve,
        solve_async,
    )
    from agent.cli.settings import BatchSettings, SolveSettings
    from agent.llm.totals import Totals
    from agent.pipeline import Result
    from agent.progress import Event
    from sandbox.errors import BudgetReached, InfrastructureError, InputError, RunoffError

__all__ = [
    "Batch",
    "BatchSettings",
    "BudgetReached",
    "Event",
    "InfrastructureError",
    "InputError",
    "Result",
    "RunoffError",
    "Solution",
    "SolveSettings",
    "Totals",
    "batch",
    "batch_async",
    "resume",
    "resume_async",
    "resume_batch",
    "resume_batch_async",
    "solve",
    "solve_async",
]

_PLACES = {
    "Event": "agent.progress",
    "Result": "agent.pipeline",
    **dict.fromkeys(("BatchSettings", "SolveSettings"), "agent.cli.settings"),
    "Totals": "agent.llm.totals",
    **dict.fromkeys(("Solution", "resume", "resume_async", "solve", "solve_async"), "agent.cli.library"),
    **dict.fromkeys(("Batch", "batch", "batch_async", "resume_batch", "resume_batch_async"), "agent.cli.library"),
    **dict.fromkeys(("BudgetReached", "InfrastructureError", "InputError", "RunoffError"), "sandbox.errors"),
}


def __getattr__(name: str) -> Any:
    """Load what is asked for."""
    if name not in _PLACES:
        raise AttributeError(f"module 'agent' has no attribute '{name}'")
    from importlib import import_module

    return getattr(import_module(_PLACES[name]), name)
