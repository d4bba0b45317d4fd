"""Images: how those of SWE-bench are named, and whether one is here. `sandbox.pulling` fetches them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sandbox.errors import SandboxError

if TYPE_CHECKING:
    import docker

BASE = "runoff/base:bookworm"
"""What environments start from that name no image; made by `scripts/docker-engine`."""
BASE_PYTHON = "3.11"
"""The Python of the base image."""
COLUMNS = ("image", "image_name", "docker_image")


def swebench_image(row: Mapping[str, Any]) -> str:
    """The image of a row of a SWE-bench split: the column that names one, else the published name for its id."""
    for column in COLUMNS:
        if name := row.get(column):
            return str(name)
    identifier = str(row["instance_id"]).replace("__", "_1776_")
    return f"docker.io/swebench/sweb.eval.x86_64.{identifier}:latest".lower()


def find(client: docker.DockerClient, name: str) -> Any | None:
    """The image, if the engine has it. Raises SandboxError if the engine does not answer."""
    import docker.errors
    import requests

    try:
        return client.images.get(name)
    except docker.errors.ImageNotFound:
        return None
    except (docker.errors.DockerException, requests.exceptions.RequestException) as error:
        raise SandboxError(
            f"the engine cannot be asked for an image: {error}", where=name, hint="scripts/docker-engine"
        ) from error
