"""Real git repositories, made by git in the test's folder with fixed author and dates."""

import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from agent.repository import Repository

Content = str | bytes
FIXED = {
    "GIT_AUTHOR_NAME": "A",
    "GIT_AUTHOR_EMAIL": "a@example.org",
    "GIT_AUTHOR_DATE": "2024-01-01T00:00:00Z",
    "GIT_COMMITTER_NAME": "A",
    "GIT_COMMITTER_EMAIL": "a@example.org",
    "GIT_COMMITTER_DATE": "2024-01-01T00:00:00Z",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
}


def run_git(folder: Path, *arguments: str, given: bytes = b"") -> bytes:
    done = subprocess.run(
        ["git", *arguments], cwd=folder, env={**os.environ, **FIXED}, input=given, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


@pytest.fixture
def git() -> Callable[..., bytes]:
    return run_git


@pytest.fixture
def make_tree(tmp_path: Path) -> Callable[..., Path]:
    """`make_tree({path: content}, name="...")`: a work tree with everything committed."""

    def make(files: Mapping[str, Content], name: str = "project") -> Path:
        folder = tmp_path / name
        folder.mkdir()
        run_git(folder, "init", "-q", "-b", "main")
        for path, content in files.items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content if isinstance(content, bytes) else content.encode())
        run_git(folder, "add", "-A", "-f")
        run_git(folder, "commit", "-q", "--allow-empty", "-m", "first")
        return folder

    return make


@pytest.fixture
def make_repository(make_tree: Callable[..., Path]) -> Iterator[Callable[..., Repository]]:
    """As `make_tree`, opened; closed after the test."""
    with ExitStack() as stack:
        yield lambda files, name="project": stack.enter_context(Repository.open(make_tree(files, name)))
