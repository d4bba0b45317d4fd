"""Removes what nothing needs any more: images that runoff built or pulled and no others, and local environments."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass

import docker
import docker.errors
import requests

from sandbox.docker_build import REPOSITORY
from sandbox.inventory import Held, pulled_names
from sandbox.pulling import familiar


@dataclass(frozen=True, slots=True)
class Wanted:
    """What has to stay."""

    keys: Collection[str] = ()
    """Of environments."""
    names: Collection[str] = ()
    """Of images, in the engine's way of writing (`pulling.familiar`)."""
    idle_seconds: float = 0.0
    """What was used less long ago stays too."""
    project: str = ""
    """If given, whatever is not an environment of this project."""


@dataclass(frozen=True, slots=True)
class Kept:
    """An image or environment that stays, and why."""

    held: Held
    reason: str


def plan(held: Collection[Held], wanted: Wanted) -> tuple[list[Held], list[Kept]]:
    """What goes and what stays. Images that environments which stay were built in stay as well."""
    going: list[Held] = []
    kept: list[Kept] = []
    ordered = sorted(held, key=lambda each: each.kind != "environment")
    for each in ordered:
        built_on = {familiar(other.held.made_from) for other in kept if other.held.made_from}
        if reason := _reason(each, wanted, built_on):
            kept.append(Kept(each, reason))
        else:
            going.append(each)
    return going, kept


def remove(client: docker.DockerClient, held: Held) -> str:
    """Remove an image, by our tags only; why it could not be removed, empty if it could.

    Somebody's own tag keeps the image; so does a container, running or not.
    """
    ours = (
        [*pulled_names(held), held.mark] if held.mark else [name for name in held.names if name.startswith(f"{REPOSITORY}:")]
    )
    foreign = [name for name in held.names if name not in ours]
    try:
        for name in ours or ([] if foreign else [held.id]):
            client.images.remove(name, force=False)
    except docker.errors.ImageNotFound:
        return ""
    except docker.errors.APIError as error:
        return str(error.explanation or error)
    except (docker.errors.DockerException, requests.exceptions.RequestException) as error:
        return str(error)
    return f"it has a tag of somebody's: {foreign[0]}" if foreign else ""


def _reason(held: Held, wanted: Wanted, built_on: Collection[str]) -> str:
    """Why it stays; empty if it goes."""
    names = set(map(familiar, held.names))
    reasons = (
        (held.kind == "used", "runoff did not make it"),
        (bool(wanted.project) and held.project != wanted.project, "it is of another project"),
        (held.containers > 0, "a container uses it"),
        (held.processes > 0, "a process uses it"),
        (held.key in wanted.keys or bool(names.intersection(wanted.names)), "an unfinished run needs it"),
        (held.kind == "pulled" and bool(names.intersection(built_on)), "an environment that stays was built in it"),
        (time.time() - held.used < wanted.idle_seconds, "it was used not long ago"),
    )
    return next((words for holds, words in reasons if holds), "")
