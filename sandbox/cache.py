"""Where built environments are kept between runs."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def cache_directory() -> Path:
    """RUNOFF_CACHE_DIR, else the user's cache directory (XDG_CACHE_HOME); made if it is absent."""
    named = os.environ.get("RUNOFF_CACHE_DIR")
    directory = Path(named).absolute() if named else platformdirs.user_cache_path("runoff")
    (directory / "locks").mkdir(parents=True, exist_ok=True)
    return directory


def note_use(key: str) -> None:
    """Remember that an environment is used now, so that pruning can tell the idle ones."""
    place = cache_directory() / "used" / key
    place.parent.mkdir(exist_ok=True)
    place.touch()


def last_use(key: str) -> float | None:
    """When this machine last used an environment, in seconds since the epoch; None if it never did."""
    try:
        return (cache_directory() / "used" / key).stat().st_mtime
    except OSError:
        return None
