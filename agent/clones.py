"""Finds a repository in a folder of clones, as benchmark splits have them lying about."""

from __future__ import annotations

from pathlib import Path

from sandbox.errors import InputError


def find(folder: Path, repo: str, *before: str) -> Path | None:
    """The clone of `owner/name`: `owner__name`, `owner/name` or `name`, perhaps with `.git` behind it.

    Names in `before` are tried first. None if there is none.
    """
    names = (*before, repo.replace("/", "__"), repo, repo.rpartition("/")[2])
    places = (folder / f"{name}{end}" for name in names if name for end in ("", ".git"))
    return next((place for place in places if place.is_dir()), None)


def require(folder: Path, repo: str, *before: str) -> Path:
    """The same. Raises InputError if there is none."""
    if found := find(folder, repo, *before):
        return found
    clone = folder / repo.replace("/", "__")
    raise InputError(f"there is no clone of {repo}", where=str(folder), hint=f"git clone https://github.com/{repo} {clone}")
