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
