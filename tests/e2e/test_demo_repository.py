"""The demo's base commit does not depend on who makes it, nor on the machine's settings for git."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "demo_repository.py"
CONFIGURATION = """
[user]
    name = Somebody
    email = somebody@example.org
[core]
    autocrlf = true
    fileMode = false
    excludesFile = {ignore}
[commit]
    gpgSign = true
[init]
    defaultBranch = trunk
    defaultObjectFormat = sha256
"""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the repository was made once, so that the archive is there."""
    folder = tmp_path_factory.mktemp("demo")
    make(folder)
    return folder


def make(folder: Path, umask: int = 0o022, **environ: str) -> Path:
    command = [sys.executable, str(SCRIPT), str(folder)]
    done = subprocess.run(command, env={**os.environ, **environ}, umask=umask, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.strip())


def git(tree: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=tree, capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.parametrize("umask", [0o000, 0o027, 0o077])
def test_commit_under_another_umask(cache: Path, umask: int) -> None:
    before = git(cache / "flask", "rev-parse", "HEAD")
    (cache / "flask" / "README.rst").unlink()  # a changed tree is made anew
    tree = make(cache, umask=umask)
    assert git(tree, "rev-parse", "HEAD") == before
    assert git(tree, "status", "--porcelain") == ""


def test_commit_under_another_configuration(cache: Path, tmp_path: Path) -> None:
    ignore = tmp_path / "ignore"
    ignore.write_text("*.env\n*.txt\n")
    configuration = tmp_path / "gitconfig"
    configuration.write_text(CONFIGURATION.format(ignore=ignore))
    before = git(cache / "flask", "rev-parse", "HEAD")
    (cache / "flask" / "README.rst").unlink()
    tree = make(cache, GIT_CONFIG_GLOBAL=str(configuration), GIT_AUTHOR_NAME="Somebody", GIT_DIR="/nowhere")
    assert git(tree, "rev-parse", "HEAD") == before
    assert git(tree, "log", "-1", "--format=%an %cn %aI") == "runoff demo runoff demo 2023-05-02T14:36:00+00:00"


def test_unchanged_repository_is_kept(cache: Path) -> None:
    marker = cache / "flask" / ".git" / "kept"
    marker.touch()
    make(cache)
    assert marker.exists()


def test_damaged_archive_is_replaced(cache: Path) -> None:
    (cache / "Flask-2.2.5.tar.gz").write_bytes(b"half a downl")
    (cache / "flask" / "README.rst").unlink()
    assert git(make(cache), "status", "--porcelain") == ""
