"""What a chain's steps work with when they ask models or run scripts: for each instance a journaled flow and its files.

A step that has effects is given a `Bench` when it is made; who opens models, sandboxes and clones is the composition root's
affair. So the same steps serve `runoff ensemble`, `runoff solve` and tests.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Protocol

from agent.instances import Instance
from agent.trajectory.flow import Flow
from sandbox.api import Limits


class Bench(Protocol):
    """Flows and files by instance."""

    async def flow(self, instance: Instance, step: str, *, at_least: Limits | None = None) -> Flow:
        """The flow of one step of one instance: its effects go into a journal of their own, and are replayed from there.

        `at_least`: what its executions may use, where the bench allows less. Runs need an environment: it is built at the
        first. The flow raises InputError where the instance has none, or a model is asked and none was given;
        InfrastructureError where the machinery fails.
        """
        ...

    def files(self, instance: Instance, paths: Collection[str]) -> Mapping[str, str]:
        """The text at the base commit of those of the paths that are files there. Raises InputError without a clone."""
        ...
