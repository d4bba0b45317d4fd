"""Takes out of a patch what does not belong into a prediction: tests, caches, and scratch files that the model made.

A benchmark puts its own tests on the tree, so a patch that touches them fails to apply there, or changes what is
measured. Whole files are dropped; what is left of the diff stays byte for byte as it was.

What is dropped is less than what is not read (`agent.context.candidates`): a fix may well be in `django/test`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from sandbox.patching import touched

_FILE = re.compile(r"^(?=diff --git )", re.MULTILINE)
_DROPPED = frozenset(["tests", "__tests__", "e2e"])
_TOP_DROPPED = frozenset(["test", "testing", "spec"])
"""At the root only: `django/test` and `sympy/testing` are what tests are written with, not tests."""
_DROPPED_NAME = re.compile(
    r"^(test_.*|.*_test|tests?|conftest)\.(py|pyi|sh|js|ts|go|rb|c|cpp)$|\.(test|spec)\.[cm]?[jt]sx?$"
)
_ARTEFACT_FOLDERS = re.compile(
    r"^(__pycache__|\.pytest_cache|\.mypy_cache|\.ruff_cache|\.tox|\.nox|\.eggs|.*\.egg-info|node_modules|\.ipynb_checkpoints"
    r"|htmlcov|\.hypothesis|\.git)$"
)
_ARTEFACT = re.compile(r"(\.(pyc|pyo|orig|rej|swp|bak|coverage|log)|~|^\.DS_Store|^\.coverage)$")
_SCRATCH = re.compile(
    r"^(reproduc\w*|repro|debug|scratch|verify|check|example|demo|try|tmp|temp|script|fix|patch|run_tests?|simple_test)"
    r"([-_ .]?\w*)*\.(py|sh|js|ts|txt|md|diff|patch|json)$",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Cleaned:
    """What is left of a diff, and why the rest is not."""

    diff: str
    """Empty if nothing is left."""
    removed: Mapping[str, str]
    """Reason by path: `test`, `artefact` or `scratch file`."""


def clean(diff: str) -> Cleaned:
    """The diff (as git writes it) without the files that `reason` names."""
    head, *files = _FILE.split(diff) if diff.startswith("diff --git ") else ["", *_FILE.split(diff)]
    kept, removed = [head], {}
    for file in files:
        path = next((new for _, new in touched(file)), "")
        if why := reason(path, new="\nnew file mode " in file.partition("\n@@")[0]):
            removed[path] = why
        else:
            kept.append(file)
    return Cleaned("".join(kept) if removed else diff, removed)


def reason(path: str, *, new: bool) -> str:
    """Why a change of this file is no part of a prediction; empty if it is. `new`: the patch makes the file."""
    *folders, name = path.split("/")
    if _ARTEFACT.search(name) or any(map(_ARTEFACT_FOLDERS.match, folders)):
        return "artefact"
    if _DROPPED.intersection(folders) or (folders[:1] and folders[0] in _TOP_DROPPED) or _DROPPED_NAME.search(name):
        return "test"
    return "scratch file" if new and not folders and _SCRATCH.match(name) else ""
