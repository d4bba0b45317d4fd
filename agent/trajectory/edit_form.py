"""In which form a model writes its edits: search/replace blocks, or whole files where they are short enough.

Large models write reliable search/replace blocks, small ones do not: with the reference's prompts a 1.5B model gave
an applicable edit in 2 of 23 trajectories on tiny bugs, and fixed 5 of 10 when it rewrote the file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from agent.context.packing import Context
from agent.prompts.render import render
from agent.trajectory.settings import EditFormat

Form = Literal["blocks", "file"]

SHORT_FILE_LINES = 300
"""Lines up to which a file may be rewritten whole."""
SMALL_MODEL_BILLIONS = 8.0
"""Parameters up to which `auto` starts with whole files; a model whose name tells no size counts as large."""


@dataclass(frozen=True, slots=True)
class EditForms:
    """The form that is asked for first, the one that is offered when it fails, and what each says."""

    first: Form
    other: Form | None
    long_files: tuple[str, ...] = ()
    """Files of the context that are too long to be rewritten whole."""

    def instructions(self, form: Form) -> str:
        """How to write an edit in this form."""
        return render(f"edit_{form}", long_files=list(self.long_files))


def choose(wanted: EditFormat, model: str, context: Context) -> EditForms:
    """The forms for a model (by name) and a context.

    `auto` starts with whole files for a small model if at least one file of the context is short enough.
    """
    long_files = tuple(file.path for file in context.files if not file.whole or file.text.count("\n") > SHORT_FILE_LINES)
    short = len(long_files) < len(context.files)
    if wanted != "auto":
        return EditForms(wanted, None, long_files)
    if is_small(model) and short:
        return EditForms("file", "blocks", long_files)
    return EditForms("blocks", "file" if short else None, long_files)


def is_small(model: str) -> bool:
    """Whether the name says that the model has few parameters, as in `qwen2.5-coder-1.5b-instruct`."""
    sizes = [float(size) for size in re.findall(r"(?<![\w.])(\d+(?:\.\d+)?)b(?![a-z0-9])", model.lower())]
    return bool(sizes) and max(sizes) <= SMALL_MODEL_BILLIONS
