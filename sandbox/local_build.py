"""Builds environments for the local backend: a directory each in the cache, with the tree and its virtual environment."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from filelock import FileLock

from sandbox import history, hostnet, recipe
from sandbox.api import Environment, EnvironmentSpec, Execution
from sandbox.cache import cache_directory
from sandbox.errors import EnvironmentBuildError, SandboxError
from sandbox.jobs import SYSTEM_PATH, VENV

Launch = Callable[[dict[str, Any], float], Execution]
NETWORK_FILES = ("/etc/resolv.conf", "/etc/hosts", "/etc/ssl", "/etc/pki", "/etc/services", "/etc/protocols")
ASK = (
    "import json, os, sys, platform; print(json.dumps({"
    "'executable': os.path.realpath(getattr(sys, '_base_executable', None) or sys.executable), "
    "'prefixes': [sys.base_prefix, sys.base_exec_prefix], 'version': sys.version, 'machine': platform.machine()}))"
)


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A Python of the host's."""

    executable: str
    prefixes: tuple[str, ...]
    """Directories that it needs beside those of the system, shown in the sandbox at the same place."""
    version: str


@dataclass(frozen=True, slots=True)
class Built:
    """What the cache knows of an environment."""

    path: str
    prefixes: tuple[str, ...]


def read_built(location: Path) -> Built:
    """What is known of a cached environment. Raises SandboxError if it is gone."""
    try:
        held = json.loads((location / "built.json").read_text())
    except (OSError, ValueError) as error:
        raise SandboxError("a built environment is gone from the cache", where=str(location), hint="run it again") from error
    return Built(held["path"], tuple(held["prefixes"]))


def interpreter(command: str) -> Interpreter:
    """The Python that the command names, this one if it is empty. Raises EnvironmentBuildError if there is none."""
    found = shutil.which(command) if command else sys.executable
    if not found:
        raise EnvironmentBuildError("there is no such interpreter", where=command, hint="name another with --python")
    try:
        asked = subprocess.run([found, "-I", "-c", ASK], capture_output=True, text=True, check=False)
    except OSError as error:
        raise EnvironmentBuildError(
            f"not a Python: {error.strerror}", where=found, hint="name another with --python"
        ) from error
    if asked.returncode != 0:
        raise EnvironmentBuildError(
            f"not a Python: {asked.stderr.strip()[-300:]}", where=found, hint="name another with --python"
        )
    held = json.loads(asked.stdout)
    real = [os.path.realpath(prefix) for prefix in held["prefixes"]]
    outside = {path for path in (*held["prefixes"], *real) if not Path(path).is_relative_to("/usr")}
    return Interpreter(held["executable"], tuple(sorted(outside)), f"{held['version']} {held['machine']}")


def remove_tree(folder: Path) -> None:
    """Remove a folder whatever its permissions: set-ups leave caches read-only. One that is gone is fine."""
    for place, directories, _ in os.walk(folder):
        for name in directories:
            if not Path(place, name).is_symlink():
                Path(place, name).chmod(0o700)
    shutil.rmtree(folder, ignore_errors=True)


class Builder:
    """Builds one environment; on a thread of its own."""

    def __init__(self, uid: int, log: recipe.Log, launch: Launch) -> None:
        """`uid`: who is to own what is built, zero for this user."""
        self._uid = uid
        self._log = log
        self._launch = launch

    def build(self, spec: EnvironmentSpec) -> Environment:
        """As `sandbox.api.Sandbox.build`."""
        if spec.repository is None or spec.image:
            raise EnvironmentBuildError(
                "the local sandbox cannot use an image",
                where=spec.image or "no repository",
                hint="--sandbox docker, or say how to make one here: --install-specs FILE, --setup 'COMMAND'",
            )
        python = interpreter(spec.python)
        commit = history.commit_id(spec.repository, spec.base_commit)
        key = recipe.key_of(spec, commit, python.executable, python.version)
        location = cache_directory() / "environments" / f"{key[:24]}-{self._uid or os.geteuid()}"
        if location.is_dir():
            self._log(f"environment {key[:12]} is cached")
        else:
            with FileLock(cache_directory() / "locks" / f"{location.name}.lock"):
                for left in location.parent.glob(f".{location.name}-*"):
                    remove_tree(left)  # of a build that was killed: the lock is ours
                if not location.is_dir():
                    self._make(spec, commit, python, location)
        return Environment(key, "local", str(location), dict(spec.variables), spec.network)

    def _make(self, spec: EnvironmentSpec, commit: str, python: Interpreter, location: Path) -> None:
        assert spec.repository is not None  # noqa: S101  seen to by `build`
        draft = location.with_name(f".{location.name}-{uuid4().hex[:8]}")
        draft.mkdir(parents=True)
        try:
            self._log(f"exporting the tree at {commit[:12]}")
            history.export(spec.repository, commit, draft / "tree")
            for name in ("venv", "tmp"):
                (draft / name).mkdir()
            self._give_away(draft)
            for warning in hostnet.warnings():
                self._log(warning)
            self._log(f"running the set-up command: {spec.setup}" if spec.setup else "making a virtual environment")
            execution = self._launch(self._plan(spec, commit, python, draft), recipe.BUILD_LIMITS.seconds + 60)
            for note in recipe.notes(execution):
                self._log(note)
            built = recipe.outcome(execution, str(spec.repository))
            remove_tree(draft / "tmp")
            (draft / "built.json").write_text(json.dumps(asdict(Built(built.path, python.prefixes))))
            draft.rename(location)
        except OSError as error:
            raise SandboxError(f"the cache cannot be written: {error}", where=str(draft), hint="df -h") from error
        finally:
            remove_tree(draft)

    def _give_away(self, draft: Path) -> None:
        if not self._uid:
            return
        for place, directories, names in os.walk(draft):
            for name in (".", *directories, *names):
                os.chown(Path(place, name), self._uid, self._uid, follow_symlinks=False)

    def _plan(self, spec: EnvironmentSpec, commit: str, python: Interpreter, draft: Path) -> dict[str, Any]:
        job = recipe.build_job(spec, commit, python.executable, SYSTEM_PATH, hostnet.build_variables())
        bundle = hostnet.ca_bundle()
        certificates = [(str(bundle), hostnet.BUNDLE, False)] if bundle else []
        files = [(os.path.realpath(path), path, False) for path in NETWORK_FILES if Path(path).exists()]
        prefixes = [(path, path, False) for path in python.prefixes]
        return {
            "job": job,
            "tree": str(draft / "tree"),
            "overlay": False,
            "binds": [*prefixes, (str(draft / "venv"), VENV, True), *certificates, *files],
            "tmp": str(draft / "tmp"),
            "disk_mb": 0,
            "inodes": 0,
            "network": True,
        }
