"""Strikes at whatever carries executions out: kills, stops, pauses, removes, and takes the engine away."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator

from sandbox.owners import OWNER_LABEL, this_process
from tests.private_engine import PrivateEngine
from tests.processes import children, command_of

STOPPED, PAUSED = 1.5, 6.0
"""Seconds for which a process is stopped and a container paused."""
AWAY_SECONDS = 5.0
ATTEMPTS = 20
DEPTHS = {"fast": 2, "local": 2, "portable": 0}
"""How many generations below the first process the one is in which a script's namespaces begin."""


class Saboteur:
    """Strikes at whatever carries executions out. Blocks; one thread at a time uses it."""

    def __init__(self, backend: str, engine: PrivateEngine | None, dice: random.Random) -> None:
        self._backend = backend
        self._engine = engine
        self._dice = dice
        blows: list[Callable[[], bool]] = [self.kill_runner, self.kill_first, self.stop_runner, self.stop_first]
        if backend != "local":
            blows += [self.kill_container, self.remove_container, self.pause_container]
        self._blows = blows
        self._restarts = [self.restart_engine, self.crash_engine, self.engine_away]
        self._turn = 0

    def strike(self) -> str:
        """One blow at random, again until it hits somebody; its name, with `, nobody hit` where none did."""
        blow = self._dice.choice(self._blows)
        for _ in range(ATTEMPTS):
            if blow():
                return blow.__name__
            time.sleep(0.1)
        return f"{blow.__name__}, nobody hit"

    def strike_engine(self) -> str:
        """Its three ways to go take turns."""
        restart = self._restarts[self._turn % len(self._restarts)]
        self._turn += 1
        restart()
        return restart.__name__

    def kill_container(self) -> bool:
        """Kill one through the engine."""
        return self._on_container("kill")

    def remove_container(self) -> bool:
        """Remove one."""
        return self._on_container("rm", "-f")

    def pause_container(self) -> bool:
        """Freeze all of one, for longer than some scripts may take."""
        name = self._container()
        if not name or not self._docker("pause", name):
            return False
        time.sleep(PAUSED)
        self._docker("unpause", name)
        return True

    def kill_first(self) -> bool:
        """The first process of a container, or the worker of the local backend."""
        return self._signal(self._first(), signal.SIGKILL)

    def kill_runner(self) -> bool:
        """The first process of the namespaces in which a script runs."""
        return self._signal(self._runner(), signal.SIGKILL)

    def stop_first(self) -> bool:
        """Stop it for a while."""
        return self._stop(self._first())

    def stop_runner(self) -> bool:
        """Stop it for a while, without its script."""
        return self._stop(self._runner())

    def restart_engine(self) -> None:
        """Stop the engine and start it."""
        if self._engine:
            self._engine.stop()
            self._engine.start()

    def crash_engine(self) -> None:
        """Kill the engine and start it."""
        if self._engine:
            self._engine.crash()
            self._engine.start()

    def engine_away(self) -> None:
        """Stop the engine, and start it after a while."""
        if self._engine:
            self._engine.stop()
            time.sleep(AWAY_SECONDS)
            self._engine.start()

    def _docker(self, *arguments: str) -> str:
        """What docker prints, or a word if it printed nothing; empty if it failed."""
        done = subprocess.run(["docker", *arguments], check=False, capture_output=True, text=True)
        return (done.stdout.strip() or "done") if done.returncode == 0 else ""

    def _container(self) -> str:
        names = containers_of_ours()
        return self._dice.choice(names) if names else ""

    def _on_container(self, *command: str) -> bool:
        name = self._container()
        return bool(name and self._docker(*command, name))

    def _first(self) -> int:
        if self._backend == "local":
            return self._pick(pid for pid in children(os.getpid()) if " -I -S -c " in command_of(pid))
        name = self._container()
        pid = self._docker("inspect", "-f", "{{.State.Pid}}", name) if name else ""
        return int(pid) if pid.isdigit() else 0

    def _runner(self) -> int:
        for _ in range(20):
            first = self._first()
            for _ in range(DEPTHS[self._backend]):
                first = self._pick(children(first)) if first else 0
            if first:
                return first
            time.sleep(0.05)
        return 0

    def _pick(self, pids: Iterator[int]) -> int:
        found = list(pids)
        return self._dice.choice(found) if found else 0

    def _signal(self, pid: int, number: int) -> bool:
        with contextlib.suppress(OSError):
            if pid:
                os.kill(pid, number)
                return True
        return False

    def _stop(self, pid: int) -> bool:
        stopped = self._signal(pid, signal.SIGSTOP)
        if stopped:
            time.sleep(STOPPED)
            self._signal(pid, signal.SIGCONT)
        return stopped


def containers_of_ours(*options: str) -> list[str]:
    """Containers that this process made, by id."""
    command = ["docker", "ps", "-q", "--no-trunc", *options, "--filter", f"label={OWNER_LABEL}={this_process()}"]
    return subprocess.run(command, check=False, capture_output=True, text=True).stdout.split()
