"""What takes up room here and who needs it: the engine's images and the local sandbox's environments in the same terms.

For `runoff images` and for a batch that makes room as it goes (`agent.cli.tidying`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import docker

from sandbox import inventory, local_cache, local_inventory, pruning
from sandbox.api import EnvironmentSpec
from sandbox.engine import refusal
from sandbox.errors import SandboxLost
from sandbox.inventory import Held
from sandbox.pulling import familiar


@contextlib.contextmanager
def engine(*, answers: bool) -> Iterator[docker.DockerClient | None]:
    """A client of the engine; None if there is none to ask. Raises SandboxLost if it does not answer after all."""
    if answers and (reason := refusal()):
        raise SandboxLost(f"the Docker engine does not answer: {reason}", where="Docker engine", hint="runoff doctor")
    client = docker.from_env(timeout=120) if answers else None
    try:
        yield client
    finally:
        if client is not None:
            client.close()


def listed(client: docker.DockerClient | None) -> list[Held]:
    """All images and environments."""
    return [*(inventory.listed(client) if client else []), *local_inventory.listed()]


def keys(client: docker.DockerClient | None, spec: EnvironmentSpec) -> set[str]:
    """Of the environments that this may be built as: which sandbox a run will get is known when it goes on."""
    return {inventory.key_for(client, spec) if client else "", local_inventory.key_for(spec)} - {""}


def wanted(
    client: docker.DockerClient | None, specs: Sequence[EnvironmentSpec], *, idle: float = 0.0, project: str = ""
) -> pruning.Wanted:
    """What has to stay for these; see `sandbox.pruning.Wanted` for the rest."""
    needed = {key for spec in specs for key in keys(client, spec)}
    names = {familiar(spec.image) for spec in specs if spec.image}
    return pruning.Wanted(needed, names, idle, project)


def remove(client: docker.DockerClient | None, held: Held) -> str:
    """Why it could not be removed; empty if it could."""
    return pruning.remove(client, held) if client and held.backend == "docker" else local_cache.discard(Path(held.id))
