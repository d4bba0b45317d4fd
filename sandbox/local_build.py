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

from sandbox import history, hostnet, recipe
from sandbox.api import Environment, EnvironmentSpec, Execution
from sandbox.cache import note_use
from sandbox.errors import EnvironmentBuildError, SandboxError
from sandbox.jobs import SYSTEM_PATH, VENV
from sandbox.local_cache import Built, Uses, build_lock, draft_of, drafts_of, environments, remove_tree, size_of

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


class Builder:
    """Builds one environment; on a thread of its own."""

    def __init__(self, uid: int, uses: Uses, log: recipe.Log, launch: Launch) -> None:
        """`uid`: who is to own what is built, zero for this user. `uses` is told, so that what is built stays."""
        self._uid = uid
        self._uses = uses
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
        location = environments() / f"{key[:24]}-{self._uid or os.geteuid()}"
        if self._uses.take(location):
            self._log(f"environment {key[:12]} is cached")
        else:
            self._build(spec, commit, python, key, location)
        note_use(key)
        return Environment(key, "local", str(location), dict(spec.variables), spec.network)

    def _build(self, spec: EnvironmentSpec, commit: str, python: Interpreter, key: str, location: Path) -> None:
        while not self._uses.take(location):  # one that was built may have been pruned at once
            with build_lock(location):
                for left in drafts_of(location):
                    remove_tree(left)  # of a build that was killed: the lock is ours
                if not location.is_dir():
                    self._make(spec, commit, python, key, location)

    def _make(self, spec: EnvironmentSpec, commit: str, python: Interpreter, key: str, location: Path) -> None:
        assert spec.repository is not None  # noqa: S101  seen to by `build`
        draft = draft_of(location)
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
            path = recipe.outcome(execution, str(spec.repository)).path
            remove_tree(draft / "tmp")
            about = {name: spec.about.get(name, "") for name in ("project", "instance")}
            built = Built(path, python.prefixes, key, **about, commit=commit, version=recipe.maker(), size=size_of(draft))
            (draft / "built.json").write_text(json.dumps(asdict(built)))
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
