"""The containers of the fast path: kept between executions, and replaced when they die.

Nothing that happens to a container becomes a script's failure: a job whose container or runner is gone is carried out
again in another, a few times, and then the sandbox is at fault (`tries`).
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from sandbox.docker_worker import Kind, Lost, Unusable, Worker
from sandbox.engine import Engine, Stop
from sandbox.errors import SandboxError
from sandbox.pooled_runner import REFUSED
from sandbox.tries import Outages, Tries

PAUSES = (0.0, 0.2, 1.0, 3.0, 6.0)
"""Seconds before each try of a job."""
TRIES_UNPROVEN = 3
"""How often it is tried in containers of an image that have given no answer yet."""


class Pool:
    """At most `limit` containers, of any kinds. Its methods block; they are called on threads."""

    def __init__(self, engine: Engine, limit: int, outages: Outages) -> None:
        self._engine = engine
        self._limit = limit
        self._outages = outages
        self._idle: list[Worker] = []
        self._busy = 0
        self._proven: set[str] = set()
        self._closed = False
        self._lock = threading.Lock()

    def run(self, stop: Stop, kind: Kind, plan: Mapping[str, Any], seconds: float) -> dict[str, Any]:
        """The runner's answer to the plan. `stop` gets the name of the container that works on it.

        Raises Unusable if containers of this kind cannot run plans, SandboxError if no try gave an answer.
        """
        pauses = PAUSES if kind.image in self._proven else PAUSES[:TRIES_UNPROVEN]
        tries = Tries(self._outages, lambda: self._wanted(stop), pauses)
        while True:
            try:
                answer = self._ask(self._take(kind, stop), stop, plan, seconds)
            except (Lost, Unusable, SandboxError) as error:
                if isinstance(error, Unusable) and kind.image not in self._proven:
                    raise
                refused = isinstance(error, SandboxError)
                reason = error.message if isinstance(error, SandboxError) else str(error)
            else:
                self._proven.add(kind.image)
                return answer
            if not tries.another(reason):
                break
        if refused and kind.image not in self._proven:
            raise Unusable(reason)
        raise tries.spent()

    def forbid(self) -> None:
        """Start nothing any more; what runs goes on."""
        self._closed = True

    def close(self) -> None:
        """Remove the idle containers; busy ones are removed when their threads notice."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for worker in idle:
            worker.close()

    def _ask(self, worker: Worker, stop: Stop, plan: Mapping[str, Any], seconds: float) -> dict[str, Any]:
        healthy = False
        try:
            if not self._wanted(stop):
                raise Lost("it is not wanted any more")
            try:
                answer: dict[str, Any] = worker.ask(plan, seconds)
            except Lost:
                # The engine's word is about the container's whole life, so it is taken for a container's first job only.
                if self._wanted(stop) and worker.asked == 1 and worker.ran_out_of_memory():
                    return {"limit": "memory"}
                raise
            if "lost" in answer:
                raise Lost(answer["lost"])
            if (fault := str(answer.get("fault", ""))).startswith(REFUSED):
                raise Lost(fault) if worker.kind.image in self._proven else Unusable(fault)
            healthy = "fault" not in answer
            return answer
        finally:
            self._give(worker, healthy=healthy)

    def _take(self, kind: Kind, stop: Stop) -> Worker:
        """An idle container of this kind, else a new one, for which an idle one of another kind may have to go."""
        with self._lock:
            self._busy += 1
            dead = [worker for worker in self._idle if not worker.alive()]  # they were killed, or the engine was restarted
            self._idle = [worker for worker in self._idle if worker not in dead]
            found = next((worker for worker in reversed(self._idle) if worker.kind == kind), None)
            if found is not None:
                self._idle.remove(found)
            surplus = []
            while self._idle and len(self._idle) + self._busy > self._limit:
                surplus.append(self._idle.pop(0))
        for worker in dead + surplus:
            worker.close()
        if found is not None:
            stop.name = found.name
            return found
        try:
            return Worker.start(self._engine, kind, stop)
        except BaseException:
            with self._lock:
                self._busy -= 1
            raise

    def _give(self, worker: Worker, *, healthy: bool) -> None:
        with self._lock:
            self._busy -= 1
            keep = healthy and not self._closed
            if keep:
                self._idle.append(worker)
        if not keep:
            worker.close()

    def _wanted(self, stop: Stop) -> bool:
        return stop.wanted and not self._closed


__all__ = ["Kind", "Pool", "Unusable"]
