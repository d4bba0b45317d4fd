"""Edits as a model writes them: parse, match, apply, and say what was wrong."""

from agent.edits.apply import interpret
from agent.edits.types import EditFault, FaultKind, Faults

__all__ = ["EditFault", "FaultKind", "Faults", "interpret"]
