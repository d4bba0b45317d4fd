"""What killed runs and builds left: containers, their volumes, and folders of exported trees.

Certain is it only of processes of this machine: of another's, what ended long ago is taken for left, and nothing else.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, assert_never

import docker
import docker.errors
import requests

from sandbox.errors import SandboxError
from sandbox.local_cache import remove_tree
from sandbox.owners import OWNER_LABEL, state

RUN = "runoff.run"
SCRATCH = "runoff-build-"
"""Begins the name of a build's folder below the temporary one; the process id follows."""
LONG_AGO = 24 * 3600.0
FAULTS = (docker.errors.DockerException, requests.exceptions.RequestException)


@dataclass(frozen=True, slots=True)
class Leftover:
    """Something that nobody works with any more."""

    kind: Literal["container", "volume", "folder"]
    name: str
    """The engine's id or name, or a path."""
    size: int
    """Bytes; 0 where the engine does not say."""
    reason: str


def find(client: docker.DockerClient, run: str = "") -> Iterator[Leftover]:
    """What is left, of one run if it is named (its label). Raises SandboxError if the engine does not answer."""
    label = f"{RUN}={run}" if run else RUN
    try:
        containers = client.api.containers(all=True, filters={"label": label})
        volumes = client.api.volumes(filters={"label": label, "dangling": True}).get("Volumes") or []
    except FAULTS as error:
        raise SandboxError(
            f"the engine cannot be asked what is left: {error}", where="Docker engine", hint="runoff doctor"
        ) from error
    for container in containers:
        labels = container.get("Labels") or {}
        if labels.get(RUN) and (reason := _reason(client, container, labels)):
            yield Leftover("container", container["Id"], _written(client, container["Id"]), reason)
    for volume in volumes:
        labels = volume.get("Labels") or {}
        if labels.get(RUN) and state(labels.get(OWNER_LABEL, "")) == "dead":
            yield Leftover("volume", volume["Name"], 0, "its process is gone")


def find_folders() -> Iterator[Leftover]:
    """Folders of this user's builds whose process is gone."""
    for folder in Path(tempfile.gettempdir()).glob(f"{SCRATCH}*"):
        pid = folder.name.removeprefix(SCRATCH).partition("-")[0]
        with contextlib.suppress(OSError):
            if pid.isdigit() and not Path("/proc", pid).exists() and folder.lstat().st_uid == os.geteuid():
                size = sum(path.lstat().st_size for path in folder.rglob("*"))
                yield Leftover("folder", str(folder), size, "its process is gone")


def remove(client: docker.DockerClient, left: Leftover) -> bool:
    """Remove it; whether it is gone. Never raises for what the engine refuses."""
    try:
        match left.kind:
            case "container":
                client.api.remove_container(left.name, force=True, v=True)
            case "volume":
                client.api.remove_volume(left.name)
            case "folder":
                return remove_folder(left)
            case _:
                assert_never(left.kind)
    except docker.errors.NotFound:
        return True
    except FAULTS:
        return False
    return True


def remove_folder(left: Leftover) -> bool:
    """As `remove`, for a folder: no engine is needed."""
    remove_tree(Path(left.name))
    return not Path(left.name).exists()


def _reason(client: docker.DockerClient, container: Any, labels: dict[str, str]) -> str:
    """Why a container is left; empty if it is not, or if that is not certain."""
    match state(labels.get(OWNER_LABEL, "")):
        case "dead":
            return "its process is gone"
        case "alive":
            return ""
        case "unknown":
            ended = _ended(client, container) if container.get("State") in ("exited", "dead") else None
            return "it ended long ago" if ended is not None and time.time() - ended > LONG_AGO else ""


def _ended(client: docker.DockerClient, container: Any) -> float | None:
    try:
        text = client.api.inspect_container(container["Id"])["State"]["FinishedAt"]
        return datetime.fromisoformat(text[:19] + "+00:00").timestamp()
    except (*FAULTS, KeyError, ValueError):
        return None


def _written(client: docker.DockerClient, name: str) -> int:
    with contextlib.suppress(*FAULTS):
        listed = client.api.containers(all=True, filters={"id": name}, size=True)
        return sum(int(entry.get("SizeRw") or 0) for entry in listed)
    return 0
