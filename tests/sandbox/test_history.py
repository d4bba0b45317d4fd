"""The exported tree: at its base commit, complete, and ignorant of what came after."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from sandbox import history
from sandbox.errors import EnvironmentBuildError


def git(directory: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", "-C", str(directory), *arguments], check=True, capture_output=True, text=True
    ).stdout.strip()


def objects(directory: Path) -> set[str]:
    return {line.split()[0] for line in git(directory, "cat-file", "--batch-all-objects", "--batch-check").splitlines()}


@pytest.fixture(params=["work tree", "bare", "git directory", "linked work tree", "borrowing clone"])
def source(request: pytest.FixtureRequest, repository: Any, tmp_path: Path) -> Path:
    """The repository in every form in which one may be given."""
    place = tmp_path / "source"
    match request.param:
        case "bare":
            git(repository.path, "clone", "-q", "--bare", ".", str(place))
        case "linked work tree":
            git(repository.path, "worktree", "add", "-q", "--detach", "--force", str(place), repository.future)
        case "borrowing clone":
            git(repository.path, "clone", "-q", "--shared", ".", str(place))
        case "git directory":
            return Path(repository.path / ".git")
        case _:
            return Path(repository.path)
    return place


def test_export(source: Path, repository: Any, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    history.export(source, repository.base, tree)
    reachable = {line.split()[0] for line in git(tree, "rev-list", "--objects", "HEAD", "--tags").splitlines()}
    assert git(tree, "rev-parse", "HEAD") == repository.base
    assert git(tree, "status", "--porcelain") == ""
    assert objects(tree) == reachable | {git(tree, "rev-parse", "v1")}
    assert repository.future not in objects(tree)
    assert git(tree, "tag").split() == ["v1"]
    assert git(tree, "remote") == ""
    assert not (tree / ".git/logs").exists()
    assert not (tree / ".git/hooks").exists()
    assert not (tree / ".git/objects/info/alternates").exists()
    git(tree, "fsck", "--strict")


def test_export_of_a_shallow_clone(repository: Any, tmp_path: Path) -> None:
    clone, tree = tmp_path / "clone", tmp_path / "tree"
    git(repository.path, "clone", "-q", "--depth=2", f"file://{repository.path}", str(clone))
    history.export(clone, repository.base, tree)
    assert git(tree, "log", "--format=%H").split() == [repository.base]
    assert git(tree, "status", "--porcelain") == ""
    git(tree, "fsck")


def test_revision_is_resolved(repository: Any) -> None:
    assert history.commit_id(repository.path, "v1") == repository.past
    assert history.commit_id(repository.path, repository.base[:9]) == repository.base


def test_what_is_no_repository(tmp_path: Path, repository: Any) -> None:
    with pytest.raises(EnvironmentBuildError, match="not a git repository"):
        history.git_directory(tmp_path)
    with pytest.raises(EnvironmentBuildError, match="no commit 'absent'"):
        history.commit_id(repository.path, "absent")
