"""A tree at its base commit, with the history before it and nothing after.

Whoever can read the commits after the base commit can read the fix. So neither a clone nor a pruned copy is handed to
a script, but a fresh repository that only ever received the base commit, its ancestors and the tags among them (which
`setuptools_scm` and its kind read): no remotes, no reflogs, no alternates, no hooks.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from sandbox.errors import EnvironmentBuildError, SandboxError

# Arguments: source git directory, base commit, destination git directory (absent). Runs on the host and inside images.
COPY_HISTORY = r"""
set -eu
source=$1 base=$2 fresh=$3
format=$(git --git-dir="$source" rev-parse --show-object-format)
git init -q --bare --template= --object-format="$format" "$fresh"
list() { git --git-dir="$source" for-each-ref --merged="$base" --format='%(objectname) %(refname)' refs/tags; }
tags=$(list)
{ echo "$base"; echo "$tags" | cut -d' ' -f1; } | sed '/^$/d' |
    git --git-dir="$source" pack-objects --revs --stdout --delta-base-offset -q > "$fresh/history.pack"
git --git-dir="$fresh" index-pack --stdin < "$fresh/history.pack" > /dev/null
rm "$fresh/history.pack"
if [ -f "$source/shallow" ]; then
    while read -r commit; do
        if git --git-dir="$fresh" cat-file -e "$commit" 2>/dev/null; then echo "$commit"; fi
    done < "$source/shallow" > "$fresh/shallow.kept"
    if [ -s "$fresh/shallow.kept" ]; then mv "$fresh/shallow.kept" "$fresh/shallow"; else rm "$fresh/shallow.kept"; fi
fi
echo "$tags" | while read -r object name; do
    if [ -n "$name" ]; then echo "create $name $object"; fi
done | git --git-dir="$fresh" update-ref --stdin
git --git-dir="$fresh" update-ref refs/heads/main "$base"
git --git-dir="$fresh" symbolic-ref HEAD refs/heads/main
git --git-dir="$fresh" config core.bare false
git --git-dir="$fresh" config core.logAllRefUpdates false
git --git-dir="$fresh" config core.hooksPath /dev/null
git --git-dir="$fresh" config gc.auto 0
"""


def git_environment() -> dict[str, str]:
    """Variables under which git heeds neither the user's settings nor the system's, and starts no foreign program."""
    kept = {name: os.environ[name] for name in ("PATH", "TMPDIR", "LD_LIBRARY_PATH") if name in os.environ}
    return {
        **kept,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_LFS_SKIP_SMUDGE": "1",
        "LC_ALL": "C.UTF-8",
    }


def git_directory(repository: Path) -> Path:
    """The git directory of a work tree, a bare repository or a .git directory. Raises EnvironmentBuildError if none."""
    for start in (repository / ".git", repository):
        if (start / "objects").is_dir() and (start / "HEAD").is_file():
            return start.resolve()
    if (repository / ".git").is_file():  # a linked work tree or a submodule
        found = _git(
            ["-C", str(repository), "-c", "safe.directory=*", "rev-parse", "--path-format=absolute", "--git-common-dir"]
        )
        if found.returncode == 0:
            return Path(found.stdout.strip())
    raise EnvironmentBuildError("not a git repository", where=str(repository), hint="give --repo a directory with a .git")


def commit_id(repository: Path, revision: str) -> str:
    """The full id of the commit that the revision names. Raises EnvironmentBuildError if there is none."""
    found = _git(["--git-dir", str(git_directory(repository)), "rev-parse", "--verify", "-q", f"{revision}^{{commit}}"])
    if found.returncode != 0:
        raise EnvironmentBuildError(
            f"no commit {revision!r} in the repository", where=str(repository), hint=f"git -C {repository} fetch --all"
        )
    return found.stdout.strip()


def export(repository: Path, base_commit: str, destination: Path) -> None:
    """Make `destination` (absent) a work tree whose HEAD is the base commit and which knows nothing newer.

    Raises EnvironmentBuildError for a repository or commit that cannot be used, SandboxError where git or the disk fails.
    """
    source = git_directory(repository)
    commit = commit_id(repository, base_commit)
    destination.mkdir(parents=True)
    fresh = destination / ".git"
    _checked(["sh", "-c", COPY_HISTORY, "history", str(source), commit, str(fresh)], destination)
    _checked(["git", "--git-dir", str(fresh), "--work-tree", str(destination), "reset", "-q", "--hard", commit], destination)


def _git(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", *arguments], capture_output=True, text=True, env=git_environment(), check=False)


def _checked(command: list[str], directory: Path) -> None:
    done = subprocess.run(
        command, capture_output=True, text=True, errors="replace", cwd=directory, env=git_environment(), check=False
    )
    if done.returncode != 0:
        raise SandboxError(
            f"the tree could not be exported: {done.stderr.strip()[-500:]}", where=str(directory), hint="df -h"
        )
