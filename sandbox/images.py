"""Images: how those of SWE-bench are named, whether one is here, and fetching it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import docker
import docker.errors
import requests

from sandbox.errors import EnvironmentBuildError, InfrastructureError, SandboxError

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
    try:
        return client.images.get(name)
    except docker.errors.ImageNotFound:
        return None
    except (docker.errors.DockerException, requests.exceptions.RequestException) as error:
        raise SandboxError(
            f"the engine cannot be asked for an image: {error}", where=name, hint="scripts/docker-engine"
        ) from error


def ensure(client: docker.DockerClient, name: str) -> Any:
    """The image, pulled if it is not here.

    Raises EnvironmentBuildError if there is no such image, InfrastructureError if no registry can be reached.
    """
    if image := find(client, name):
        return image
    if name == BASE:
        raise EnvironmentBuildError("the base image has not been built", where=name, hint="scripts/docker-engine")
    try:
        return client.images.pull(name) if ":" in name.rpartition("/")[2] else client.images.pull(name, tag="latest")
    except docker.errors.APIError as error:
        if error.response is not None:
            error.response.close()  # a pull is streamed, and the client leaves a refused stream open
        said = str(error.explanation or error)
        if any(words in said for words in ("denied", "does not exist", "not found", "unauthorized", "invalid reference")):
            raise EnvironmentBuildError(f"the image cannot be pulled: {said}", where=name, hint="check --image") from error
        raise InfrastructureError(
            f"no registry answers: {said}",
            where=name,
            hint=f"docker pull {name}, or load it from a file: docker load -i FILE",
        ) from error
    except (docker.errors.DockerException, requests.exceptions.RequestException) as error:
        raise InfrastructureError(f"no registry answers: {error}", where=name, hint=f"docker pull {name}") from error
