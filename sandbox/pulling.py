"""Pulls images: outside every time-out, again after a fault of the network, and never until the disk is full.

What runoff pulled gets a second tag, `runoff/pulled:<digest of the name>`: an image that others made cannot be given a
label without becoming another image, and pruning must not touch what somebody else has pulled.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import docker
import docker.auth
import docker.errors
import docker.utils
import requests
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt
from tenacity.wait import wait_exponential_jitter

from sandbox import images
from sandbox.api import digest_of
from sandbox.cache import note_use
from sandbox.disk import LOOK_SECONDS, DiskLimit, DiskLow
from sandbox.errors import EnvironmentBuildError, InfrastructureError

MARK = "runoff/pulled"
PERMANENT = (
    *("denied", "does not exist", "not found", "unauthorized", "authentication required", "invalid reference"),
    *("manifest unknown", "no matching manifest", "unsupported"),
)
"""Words of answers that another attempt does not change."""
FULL = "no space left"
FIRST_WAIT, LONGEST_WAIT = 1.0, 30.0

Report = Callable[[int, int], None]
"""Hears of bytes that are here, and of bytes in all as far as they are known."""
Tell = Callable[[str], None]


def familiar(name: str) -> str:
    """The name as the engine writes it: with a tag or digest, and without what stands for Docker Hub."""
    short = name.removeprefix("docker.io/").removeprefix("library/")
    return short if "@" in short or ":" in short.rpartition("/")[2] else f"{short}:latest"


def mark_of(name: str) -> str:
    """The tag that says that runoff pulled the image of this name."""
    return f"{MARK}:{digest_of(familiar(name))[:12]}"


def ensure(
    client: docker.DockerClient,
    name: str,
    limit: DiskLimit,
    *,
    attempts: int = 3,
    report: Report = lambda here, total: None,
    tell: Tell = lambda line: None,
) -> Any:
    """The image, pulled if it is not here.

    Raises EnvironmentBuildError if there is no such image, InfrastructureError if no registry can be reached after so
    many attempts, DiskLow if it would not fit.
    """
    note_use(mark_of(name).partition(":")[2])
    if image := images.find(client, name):
        return image
    if name == images.BASE:
        raise EnvironmentBuildError("the base image has not been built", where=name, hint="scripts/docker-engine")

    def say(state: RetryCallState) -> None:
        wait = state.next_action.sleep if state.next_action else 0.0
        fault = state.outcome.exception() if state.outcome else None
        tell(f"{name}: {fault}; attempt {state.attempt_number + 1} of {attempts} follows in {wait:.0f} s")

    limit.check(f"pulling {name}")
    retrying = Retrying(
        retry=retry_if_exception_type(_Passing),
        stop=stop_after_attempt(attempts),
        wait=wait_exponential_jitter(multiplier=FIRST_WAIT, max=LONGEST_WAIT, jitter=FIRST_WAIT),
        before_sleep=say,
        reraise=True,
    )
    try:
        retrying(_attempt, client, name, limit, report)
    except _Passing as error:
        hint = f"docker pull {name}, or load it from a file: docker load -i FILE"
        raise InfrastructureError(f"no registry answers: {error}", where=name, hint=hint) from error
    image = client.images.get(name)
    repository, _, tag = mark_of(name).partition(":")
    image.tag(repository, tag=tag)
    return image


class _Passing(Exception):
    """A fault that may be gone at the next attempt."""


def _attempt(client: docker.DockerClient, name: str, limit: DiskLimit, report: Report) -> None:
    repository, tag = docker.utils.parse_repository_tag(name)
    registry, _ = docker.auth.resolve_repository_name(repository)
    login = docker.auth.get_config_header(client.api, registry)
    try:
        with client.api.post(  # not client.api.pull: its stream cannot be closed, and closing it is what ends the pull
            f"{client.api.base_url}/v{client.api.api_version}/images/create",
            params={"fromImage": repository, "tag": tag or "latest"},
            headers={"X-Registry-Auth": login} if login else {},
            stream=True,
            timeout=None,  # a pull takes as long as it takes
        ) as response:
            if not response.ok:
                raise _fault(_message(response.text), name, limit)
            _follow(response, name, limit, report)
    except requests.exceptions.RequestException as error:
        raise _Passing(f"the engine broke off: {error}") from error


def _follow(response: requests.Response, name: str, limit: DiskLimit, report: Report) -> None:
    layers: dict[str, tuple[int, int]] = {}
    looked = 0.0
    for line in response.iter_lines():
        event = json.loads(line)
        if said := event.get("error"):
            raise _fault(str(said), name, limit)
        detail = event.get("progressDetail") or {}
        if event.get("status") == "Downloading" and detail.get("total"):
            layers[event["id"]] = (int(detail["current"]), int(detail["total"]))
        elif event.get("status") == "Download complete" and event.get("id") in layers:
            layers[event["id"]] = (layers[event["id"]][1],) * 2
        if time.monotonic() - looked > LOOK_SECONDS:
            looked = time.monotonic()
            limit.check(f"pulling {name}")
            report(sum(here for here, _ in layers.values()), sum(total for _, total in layers.values()))


def _message(text: str) -> str:
    try:
        return str(json.loads(text)["message"])
    except (ValueError, KeyError, TypeError):
        return text.strip()


def _fault(said: str, name: str, limit: DiskLimit) -> Exception:
    if FULL in said:
        return DiskLow(
            f"pulling {name}: {said}", where=str(limit.place or "Docker engine"), hint="runoff images prune --dry-run"
        )
    if any(words in said for words in PERMANENT):
        return EnvironmentBuildError(f"the image cannot be pulled: {said}", where=name, hint=f"docker pull {name}")
    return _Passing(said)
