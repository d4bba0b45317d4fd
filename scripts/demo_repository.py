"""The repository of the demo: flask 2.2.5 as released, in one commit whose id is the same on every machine.

The recorded replies of `runs/demo` belong to exactly this tree, so the archive is pinned by digest and the commit's author,
dates, modes and identity do not depend on the machine. pip fetches the archive: it knows the index and its certificates.
"""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

from filelock import FileLock

REQUIREMENT = "flask==2.2.5"
ARCHIVE = "Flask-2.2.5.tar.gz"
SHA256 = "edee9b0a7ff26621bd5a8c10ff484ae28737a2410d99b0bb9a6850c7fb977aa0"
COMMIT = "439a62792fa0334f68f17c259fe18058f8770f95"
GENERATED = "src/Flask.egg-info"  # an installation writes it anew

IDENTITY = {
    "GIT_AUTHOR_NAME": "runoff demo",
    "GIT_AUTHOR_EMAIL": "demo@runoff.invalid",
    "GIT_AUTHOR_DATE": "2023-05-02T14:36:00+00:00",
    "GIT_COMMITTER_NAME": "runoff demo",
    "GIT_COMMITTER_EMAIL": "demo@runoff.invalid",
    "GIT_COMMITTER_DATE": "2023-05-02T14:36:00+00:00",
}
ISOLATED = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull, "GIT_ATTR_NOSYSTEM": "1"}


def digest(path: Path) -> str:
    """SHA-256 of the file, hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def fetch(folder: Path) -> Path:
    """The archive in `folder`, downloaded unless it is there whole. Raises SystemExit when it cannot be had."""
    archive = folder / ARCHIVE
    if archive.is_file() and digest(archive) == SHA256:
        return archive
    folder.mkdir(parents=True, exist_ok=True)
    pinned = folder / "requirement.txt"  # pip compares the digest before it looks inside
    pinned.write_text(f"{REQUIREMENT} --hash=sha256:{SHA256}\n")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--no-binary", ":all:", "--require-hashes", "--dest", str(folder), "--requirement", str(pinned)]
    if subprocess.run(command, check=False).returncode != 0:
        stop(f"pip could not download {REQUIREMENT}", str(folder), "python -m pip download --no-deps " + REQUIREMENT)
    if digest(archive) != SHA256:
        stop(f"{ARCHIVE} is not the archive that the demo was recorded on", str(archive), f"rm {archive}")
    return archive


def git(tree: Path, *arguments: str) -> str:
    """What git prints in `tree`, with no configuration of this machine or its user."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment: Mapping[str, str] = {**clean, **ISOLATED, **IDENTITY}
    done = subprocess.run(["git", *arguments], cwd=tree, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        stop(f"git {arguments[0]} failed: {done.stderr.strip()}", str(tree), f"rm -r {tree}, then scripts/demo")
    return done.stdout.strip()


def unpack(archive: Path, tree: Path) -> None:
    """The archive's files under `tree`, owned by who runs this, with modes that do not depend on the umask."""
    tree.mkdir(parents=True)
    command = ["tar", "--extract", "--gzip", "--file", str(archive), "--directory", str(tree), "--strip-components", "1"]
    subprocess.run([*command, "--no-same-owner", "--no-same-permissions"], check=True, umask=0o022)
    shutil.rmtree(tree / GENERATED)


def commit(tree: Path) -> str:
    """Makes `tree` a repository of one commit and returns the commit's id."""
    git(tree, "init", "--quiet", "--template=", "--initial-branch=main", "--object-format=sha1")
    for setting in ("core.autocrlf=false", "core.fileMode=true", "core.symlinks=true", "gc.auto=0"):
        git(tree, "config", *setting.split("="))
    git(tree, "add", "--all", "--force")
    git(tree, "commit", "--quiet", "--no-verify", "--no-gpg-sign", "--message", f"{REQUIREMENT} as released")
    return git(tree, "rev-parse", "HEAD")


def is_ready(tree: Path) -> bool:
    """Whether `tree` is at the commit with no tracked file changed."""
    if not (tree / ".git").is_dir():
        return False
    return git(tree, "rev-parse", "HEAD") == COMMIT and not git(tree, "status", "--porcelain", "--untracked-files=no")


def make(folder: Path) -> Path:
    """The repository under `folder`, made unless it is there unchanged; checks its commit."""
    tree = folder / "flask"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"):  # two demos that start at once make it once
        if is_ready(tree):
            return tree
        shutil.rmtree(tree, ignore_errors=True)
        unpack(fetch(folder), tree)
        made = commit(tree)
        if made != COMMIT:
            stop(f"the repository's commit is {made}, not {COMMIT}", str(tree), "git --version; please report it")
        return tree


def stop(what: str, where: str, hint: str) -> NoReturn:
    """Ends the program with the three lines that every error of this project has."""
    sys.exit(f"error: {what}\n  where: {where}\n  try:   {hint}")


def main() -> None:
    """Prints the path of the repository."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("folder", type=Path, help="where the archive is kept and the repository is made")
    print(make(parser.parse_args().folder.resolve()))


if __name__ == "__main__":
    main()
