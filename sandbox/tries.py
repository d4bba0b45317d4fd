"""When what was lost is done again: how often, how soon, and how long an engine that is away is waited for.

An engine is away while it is restarted or updated, for a minute or so. A batch should ride that out, and what it was doing
should not count as tried; after `RUNOFF_ENGINE_WAIT` seconds it is an error, and the work is parked.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence

from sandbox.engine import HINT, Engine
from sandbox.errors import InputError, SandboxError

VARIABLE = "RUNOFF_ENGINE_WAIT"
DEFAULT_SECONDS = 120.0
LOOKS = (0.2, 0.5, 1.0, 2.0, 3.0)
"""Seconds between looks whether the engine is back; the last one stays."""
FORGOTTEN_SECONDS = 60.0
"""An outage that nobody has looked at for so long says nothing about the next one."""
OUTAGES = 10
"""How often an engine may go away during one execution."""
STEP_SECONDS = 0.1


def wait_seconds(environment: Mapping[str, str] = os.environ) -> float:
    """How long an engine may be away, from RUNOFF_ENGINE_WAIT. Raises InputError for what is no such number."""
    text = environment.get(VARIABLE, "") or str(DEFAULT_SECONDS)
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise InputError(f"{text!r} is no number of seconds", where=VARIABLE, hint=f"give seconds to wait: {VARIABLE}=120")
    return seconds


class Outages:
    """Notices that the engine is away, and waits for it; one for all threads of a sandbox."""

    def __init__(self, engine: Engine, log: Callable[[str], None], seconds: float | None = None) -> None:
        """`log` hears when the engine goes away and when it is back; `seconds` of None asks `wait_seconds`."""
        self.log = log
        self._engine = engine
        self._seconds = wait_seconds() if seconds is None else seconds
        self._since: float | None = None
        self._looked = 0.0
        self._lock = threading.Lock()

    def ride_out(self, wanted: Callable[[], bool]) -> bool:
        """Wait until the engine answers; False if it did at once, or is not wanted any more.

        Raises SandboxError if the outage lasts too long; then at once for everybody, until the engine is back.
        """
        looks = 0
        while not self._look() and wanted():
            if (away := self._away()) > self._seconds:
                raise SandboxError(f"the Docker engine has not answered for {away:.0f} s", where="Docker engine", hint=HINT)
            pause(LOOKS[min(looks, len(LOOKS) - 1)], wanted)
            looks += 1
        return looks > 0

    def _look(self) -> bool:
        answers = self._engine.answers()
        with self._lock:
            now = time.monotonic()
            if now - self._looked > FORGOTTEN_SECONDS:
                self._since = None
            self._looked = now
            if answers and self._since is not None:
                self.log(f"the Docker engine answers again, after {now - self._since:.0f} s")
                self._since = None
            elif not answers and self._since is None:
                self._since = now
                self.log(f"the Docker engine does not answer; waiting for it, at most {self._seconds:.0f} s")
        return answers

    def _away(self) -> float:
        with self._lock:
            return 0.0 if self._since is None else time.monotonic() - self._since


class Tries:
    """The tries of one piece of work. Not for use by two threads."""

    def __init__(self, outages: Outages, wanted: Callable[[], bool], pauses: Sequence[float]) -> None:
        """`pauses`: seconds before each try, the first one's included; so many are made."""
        self.reasons: list[str] = []
        """Why each has failed that counted."""
        self._outages = outages
        self._wanted = wanted
        self._pauses = pauses
        self._away = 0

    def another(self, reason: str) -> bool:
        """Whether to try again, after the pause or once the engine is back, since this try came to nothing.

        Raises SandboxError if the work is not wanted any more, or the engine stays away.
        """
        if self._wanted() and self._outages.ride_out(self._wanted) and self._away < OUTAGES:
            self._away += 1
        else:
            self.reasons.append(reason)
            if self._wanted() and len(self.reasons) < len(self._pauses):
                pause(self._pauses[len(self.reasons)], self._wanted)
        if not self._wanted():
            raise SandboxError("the execution was interrupted", where="docker", hint="runoff resume RUN")
        return len(self.reasons) < len(self._pauses)

    def spent(self) -> SandboxError:
        """What to raise when there is no other."""
        said = f"{len(self.reasons)} containers were lost over one execution, the last: {self.reasons[-1]}"
        return SandboxError(said, where="docker", hint=HINT)


def pause(seconds: float, wanted: Callable[[], bool]) -> None:
    """Sleep, but not when nobody wants what it is for."""
    until = time.monotonic() + seconds
    while wanted() and (left := until - time.monotonic()) > 0:
        time.sleep(min(left, STEP_SECONDS))
