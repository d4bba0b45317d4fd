"""The images of the engine that runoff made, pulled or builds on, with what is written on them.

`local_inventory` gives the environments of the local backend in the same terms.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import docker
from docker.errors import APIError
from tenacity import retry, retry_if_exception, stop_after_delay, wait_fixed

from sandbox import images, recipe
from sandbox.api import EnvironmentSpec
from sandbox.cache import last_use
from sandbox.docker_build import ABOUT_LABELS, COMMIT_LABEL, FROM_LABEL, KEY_LABEL, VERSION_LABEL
from sandbox.engine import faults
from sandbox.pulling import MARK, familiar, mark_of

Kind = Literal["environment", "pulled", "used"]
Backend = Literal["docker", "local"]


@dataclass(frozen=True, slots=True)
class Held:
    """An image, or a folder of the local backend."""

    id: str
    """The engine's, or the folder's path."""
    kind: Kind
    """`environment`: built by runoff. `pulled`: fetched by runoff. `used`: somebody else's, or the base, built upon."""
    names: tuple[str, ...]
    """Tags, without runoff's mark of what it pulled; empty if another image has taken the tag."""
    size: int
    """Bytes, shared layers included."""
    own: int
    """Bytes that no other image shares: what removing this one frees."""
    created: float
    """Seconds since the epoch."""
    containers: int
    """Containers made of it, running or not."""
    mark: str = ""
    """The tag that says that runoff pulled it."""
    key: str = ""
    project: str = ""
    instance: str = ""
    """The instance that it was first built for."""
    base_commit: str = ""
    made_from: str = ""
    """The image that the environment was built in, by name."""
    version: str = ""
    """The runoff that built it."""
    backend: Backend = "docker"
    processes: int = 0
    """Sandboxes of living processes that use it; known of folders only."""

    @property
    def shown(self) -> str:
        """How a person names it."""
        if self.backend == "local":
            return f"local:{self.key[:12]}"
        return self.names[0] if self.names else self.id.removeprefix("sha256:")[:12]

    @property
    def used(self) -> float:
        """When it was last used here, as far as is known: when it was made, or taken up by a run."""
        return max(self.created, last_use(self.key or self.mark.partition(":")[2] or "-") or 0.0)


def listed(client: docker.DockerClient) -> list[Held]:
    """All of them, the newest first. Raises SandboxError if the engine does not answer."""
    with faults("the engine cannot be asked for its images"):
        summaries = _usage(client).get("Images") or []  # the one list that says how much of an image is its own
    environments = [_held(entry, "environment") for entry in summaries if _labels(entry).get(KEY_LABEL)]
    built_on = {familiar(each.made_from) for each in environments} | {images.BASE}
    others = [entry for entry in summaries if not _labels(entry).get(KEY_LABEL)]
    pulled = [_held(entry, "pulled") for entry in others if _mark(entry)]
    used = [_held(entry, "used") for entry in others if not _mark(entry) and built_on.intersection(_tags(entry))]
    return sorted([*environments, *pulled, *used], key=lambda each: -each.created)


def key_for(client: docker.DockerClient, spec: EnvironmentSpec) -> str:
    """The key of the environment that this would be built as; empty if the image that it starts from is not here."""
    base = images.find(client, spec.image or images.BASE)
    return recipe.key_of(spec, spec.base_commit, base.id) if base is not None else ""


def _is_busy(error: BaseException) -> bool:
    """Whether the engine is counting for somebody else: older ones refuse a second count rather than let it wait."""
    return isinstance(error, APIError) and "already running" in str(error)


@retry(retry=retry_if_exception(_is_busy), wait=wait_fixed(0.5), stop=stop_after_delay(120), reraise=True)
def _usage(client: docker.DockerClient) -> dict[str, Any]:
    """What everything on the engine takes up."""
    found: dict[str, Any] = client.df()
    return found


def _held(entry: Mapping[str, Any], kind: Kind) -> Held:
    labels = _labels(entry)
    size, shared = int(entry.get("Size") or 0), max(0, int(entry.get("SharedSize") or 0))
    return Held(
        entry["Id"],
        kind,
        tuple(tag for tag in _tags(entry) if not tag.startswith(f"{MARK}:")),
        size,
        size - shared,
        float(entry.get("Created") or 0),
        max(0, int(entry.get("Containers") or 0)),
        _mark(entry),
        labels.get(KEY_LABEL, ""),
        labels.get(ABOUT_LABELS["project"], ""),
        labels.get(ABOUT_LABELS["instance"], ""),
        labels.get(COMMIT_LABEL, ""),
        labels.get(FROM_LABEL, ""),
        labels.get(VERSION_LABEL, ""),
    )


def _labels(entry: Mapping[str, Any]) -> Mapping[str, str]:
    return entry.get("Labels") or {}


def _tags(entry: Mapping[str, Any]) -> list[str]:
    return [tag for tag in entry.get("RepoTags") or [] if tag != "<none>:<none>"]


def _mark(entry: Mapping[str, Any]) -> str:
    return next((tag for tag in _tags(entry) if tag.startswith(f"{MARK}:")), "")


def pulled_names(held: Held) -> list[str]:
    """The names under which runoff pulled the image; its other tags are somebody's own."""
    return [name for name in held.names if mark_of(name) == held.mark]


def iso(seconds: float) -> str:
    """A time for JSON."""
    return datetime.fromtimestamp(seconds).astimezone().isoformat(timespec="seconds")
