"""The limits and choices of testing and editing trajectories; every one is a setting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sandbox.api import Language

EditFormat = Literal["auto", "blocks", "file"]
TestingContext = Literal["none", "files"]


@dataclass(frozen=True, slots=True)
class TrajectorySettings:
    """Defaults are those of the paper (arXiv 2501.14723, sections 3.2 and 3.3) where it names one."""

    turns: int = 8
    """Model calls that one trajectory may make."""
    temperature: float | None = 0.5
    """Sampling temperature; None sends none."""
    max_tokens: int = 8192
    """Tokens that one reply may have."""
    window_tokens: int = 195_000
    """Estimated prompt tokens at which a trajectory ends with what it has."""
    testing_context: TestingContext = "none"
    """`none`: the testing stage sees the issue only, as in the paper. `files`: it shares the editing stage's prefix."""
    edit_format: EditFormat = "auto"
    """`blocks`: search/replace. `file`: whole files. `auto`: what suits the model; the other is offered when it fails."""
    unusable_replies: int = 2
    """With `auto`: replies without a usable edit, after which the other form is offered."""
    language: Language = "python"
    """What scripts are written in."""
    script_seconds: float = 120.0
    """Seconds that an execution may take: what the model is told, the sandbox's limits hold it."""
    diff_chars: int = 20_000
    """Characters of a diff that the feedback shows; more is cut out of the middle."""
