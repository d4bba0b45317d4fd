"""Pythons of this machine by version: those on the PATH, and those that version managers keep beside it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from sandbox.errors import EnvironmentBuildError
from sandbox.local_build import interpreter


def version_of(command: str) -> str:
    """The version of the interpreter that the command names, such as `3.11.2`; empty if there is none."""
    try:
        return interpreter(command).version.split()[0]
    except EnvironmentBuildError:
        return ""


def find(version: str) -> str:
    """The command or path of a Python `3.N` that runs; empty if there is none.

    A name on the PATH may be a version manager's shim for a Python that is not switched on, so each is tried.
    """
    name = f"python{version}"
    places = (name, *(str(path) for path in _kept_by_managers(name) if os.access(path, os.X_OK)))
    return next((place for place in places if shutil.which(place) and version_of(place).startswith(f"{version}.")), "")


def _kept_by_managers(name: str) -> Iterator[Path]:
    home = Path.home()
    data = Path(os.environ.get("XDG_DATA_HOME") or home / ".local/share")
    roots = (
        Path(os.environ.get("PYENV_ROOT") or home / ".pyenv") / "versions",
        Path(os.environ.get("UV_PYTHON_INSTALL_DIR") or data / "uv/python"),
        Path(os.environ.get("ASDF_DATA_DIR") or home / ".asdf") / "installs/python",
        data / "mise/installs/python",
    )
    for root in roots:
        yield from sorted(root.glob(f"*/bin/{name}"), reverse=True)
