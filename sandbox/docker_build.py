"""Builds environments as images of the Docker engine: `runoff/env:<key>`, found again by their key."""

from __future__ import annotations

import contextlib
import os
import re
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
from filelock import FileLock

from sandbox import history, hostnet, images, pulling, recipe
from sandbox.api import Environment, EnvironmentSpec
from sandbox.cache import cache_directory, note_use
from sandbox.disk import DiskLimit
from sandbox.engine import KILLED, NO_PYTHON, PID_LABEL, RUN_LABEL, Engine, Stop, faults
from sandbox.errors import EnvironmentBuildError, SandboxError, SandboxLost
from sandbox.jobs import SYSTEM_PATH, execution_of
from sandbox.leftovers import SCRATCH
from sandbox.owners import OWNER_LABEL

REPOSITORY = "runoff/env"
KEY_LABEL = "runoff.key"
PATH_LABEL = "runoff.path"
CONDA_LABEL = "runoff.conda"
COMMIT_LABEL = "runoff.commit"
FROM_LABEL = "runoff.from"
VERSION_LABEL = "runoff.version"
ABOUT_LABELS = {"project": "runoff.project", "instance": "runoff.instance"}
"""What an environment's `about` is written as."""
LABEL_CHARS = 200


class Builder:
    """Builds one environment; on a thread of its own."""

    def __init__(self, engine: Engine, stop: Stop, log: recipe.Log) -> None:
        self._engine = engine
        self._stop = stop
        self._log = log

    def build(self, spec: EnvironmentSpec) -> Environment:
        """As `sandbox.api.Sandbox.build`."""
        self._engine.prune()
        limit = self._engine.disk_limit()
        base = pulling.ensure(self._engine.client, spec.image or images.BASE, limit, tell=self._log)
        commit = history.commit_id(spec.repository, spec.base_commit) if spec.repository else spec.base_commit
        key = recipe.key_of(spec, commit, base.id)
        tag = f"{REPOSITORY}:{key[:12]}"
        image = self._cached(tag, key)
        if image is None:
            with FileLock(cache_directory() / "locks" / f"docker-{key[:12]}.lock"):
                image = self._cached(tag, key) or self._make(spec, commit, base, key, limit)
        else:
            self._log(f"environment {tag} is cached")
        note_use(key)
        conda = {"CONDA_PREFIX": recipe.CONDA, "CONDA_DEFAULT_ENV": "testbed"} if image.labels.get(CONDA_LABEL) else {}
        return Environment(key, "docker", image.id, {**conda, **spec.variables}, spec.network)

    def _cached(self, tag: str, key: str) -> Any | None:
        image = images.find(self._engine.client, tag)
        return image if image is not None and image.labels.get(KEY_LABEL) == key else None

    def _make(self, spec: EnvironmentSpec, commit: str, base: Any, key: str, limit: DiskLimit) -> Any:
        tag = f"{REPOSITORY}:{key[:12]}"
        limit.check(f"building {tag}")
        self._log(f"building {tag} from {spec.image or images.BASE}")
        with self._removed_at_last(), limit.watched(f"building {tag}", self._break_off):
            container = self._engine.create(base.id, self._stop, self._settings())
            if spec.repository is not None:
                self._log(f"putting the tree at {commit[:12]} into it")
                self._put_tree(container, spec.repository, commit)
            path = dict(entry.partition("=")[::2] for entry in base.attrs["Config"].get("Env") or []).get(
                "PATH", SYSTEM_PATH
            )
            job = recipe.build_job(spec, commit, spec.python or "python3", path, hostnet.build_variables())
            self._engine.put(container, job)
            if not self._stop.wanted:
                raise SandboxError("the build was interrupted", where=self._stop.name)
            for warning in hostnet.warnings():
                self._log(warning)
            if spec.setup:
                self._log(f"running the set-up command: {spec.setup}")
            built = self._run(container, spec)
            self._log("keeping the result as an image")
            return self._commit(container, spec, commit, key, built)

    def _break_off(self) -> None:
        self._engine.remove(self._stop.name)
        self._engine.release()

    @contextlib.contextmanager
    def _removed_at_last(self) -> Iterator[None]:
        try:
            yield
        finally:
            self._engine.remove(self._stop.name)

    def _settings(self) -> dict[str, Any]:
        bundle = hostnet.ca_bundle()
        # A mount, not a volume: volumes become part of the image.
        mounts = [docker.types.Mount(hostnet.BUNDLE, str(bundle), type="bind", read_only=True)] if bundle else []
        on_loopback = any("//127." in text or "//localhost" in text for text in hostnet.build_variables().values())
        return {"network_mode": "host" if on_loopback else "bridge", "mounts": mounts}

    def _put_tree(self, container: Any, repository: Path, commit: str) -> None:
        with tempfile.TemporaryDirectory(prefix=f"{SCRATCH}{os.getpid()}-") as scratch:
            tree = Path(scratch, "tree")
            history.export(repository, commit, tree)
            with tempfile.TemporaryFile() as packed:
                with tarfile.open(fileobj=packed, mode="w") as tar:
                    tar.add(tree, "testbed", filter=_owned_by_root)
                packed.seek(0)
                self._engine.put_tree(container, packed)

    def _run(self, container: Any, spec: EnvironmentSpec) -> recipe.Built:
        ending = self._engine.finish(container, recipe.BUILD_LIMITS.seconds + 60)
        where = spec.image or images.BASE
        if ending.status == NO_PYTHON and not ending.answer:
            raise EnvironmentBuildError(
                "the image has no Python that could run a job", where=where, hint="name another --image"
            )
        if not ending.answer and ending.status == KILLED and not ending.oom:
            raise SandboxLost("the container of the build was killed from outside", where=where, hint="build it again")
        execution = execution_of(ending.answer, ending.diagnosis, where)
        for note in recipe.notes(execution):
            self._log(note)
        return recipe.outcome(execution, where)

    def _commit(self, container: Any, spec: EnvironmentSpec, commit: str, key: str, built: recipe.Built) -> Any:
        labels = {
            KEY_LABEL: key,
            PATH_LABEL: built.path,
            CONDA_LABEL: "1" if built.variables else "",
            COMMIT_LABEL: commit,
            FROM_LABEL: _plain(spec.image or images.BASE),
            VERSION_LABEL: recipe.maker(),
            **{label: _plain(spec.about[name]) for name, label in ABOUT_LABELS.items() if name in spec.about},
        }
        empty = {RUN_LABEL: "", PID_LABEL: "", OWNER_LABEL: ""}
        changes = "\n".join(f'LABEL {name}="{value}"' for name, value in {**labels, **empty}.items())
        with faults("the environment could not be kept as an image"):
            return container.commit(repository=REPOSITORY, tag=key[:12], changes=changes)


def _plain(words: str) -> str:
    """Words that mean nothing in a Dockerfile's line."""
    return re.sub(r"[^\w./:@+ -]", "_", words)[:LABEL_CHARS]


def _owned_by_root(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = "root"
    return entry
