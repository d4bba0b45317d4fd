"""Runs thousands of executions while containers, runners and the engine are killed under them, and looks for what is left.

usage: python scripts/soak_sandbox.py [--executions 2000] [--backend fast|portable|local] [--engine private|current] [--json]

Scripts of all kinds (they pass, show the issue, crash, pollute, flood, leave daemons, run out of time or memory) run on
several patches; the verdict and the limit of each are known. Meanwhile a saboteur kills, removes, stops and pauses whatever
carries them out, and stops and kills the engine: one of the script's own, so this needs root. Afterwards nothing may be
wrong or lost, no container, process, mount, control group or file may be left, and memory, descriptors and threads of this
process must be what they were after the first fifth. The exit status is 1 if any of that does not hold. One thing is let
pass, and counted (`forgotten_shims`): an engine that is killed while it makes a container forgets the process that was to
look after it, and no request to the engine can end that.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import json
import os
import random
import secrets
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sandbox.api import Environment, EnvironmentSpec, Execution, Limits, Patch, Sandbox, Script, Verdict
from sandbox.docker_fast import FastDockerSandbox
from sandbox.docker_sandbox import DockerSandbox
from sandbox.errors import SandboxError
from sandbox.images import BASE
from sandbox.local_sandbox import LocalSandbox
from tests.private_engine import PrivateEngine, private_engine
from tests.processes import children, command_of, everybody
from tests.saboteur import Saboteur, containers_of_ours

DOCKER: dict[str, type[DockerSandbox]] = {"fast": FastDockerSandbox, "portable": DockerSandbox}
LIMITS = Limits(seconds=30, memory_mb=128, processes=64, disk_mb=32, output_chars=4000)
SHORT = Limits(seconds=1, memory_mb=128, processes=64, disk_mb=32, output_chars=4000)
PAUSABLE = Limits(seconds=5, memory_mb=128, processes=64, disk_mb=32, output_chars=4000)
"""For a script that takes less, but not if the time counted in which its container is paused."""
ROOM = 0.10
"""How much larger this process may be at the end than after the first fifth."""
UNDER_WAY = (6, 3)
"""Descriptors and threads by which two moments may differ, whatever the number of executions between them."""
ENGINE_FILES_KB = 4096
"""By how much the engine's folder may have grown: its own databases do. Its layers are counted."""
IDENTITY = ("-c", "user.name=Soak", "-c", "user.email=soak@example.org", "-c", "init.defaultBranch=main")
HEAD = """\
import os, subprocess, sys, time
places = ("left", "/tmp/left", "/dev/shm/left")
if any(map(os.path.exists, places)):
    sys.exit(9)
from pkg.core import double
fixed = double(2) == 4
"""
SCRIPTS = {
    "check": (40, LIMITS, "sys.exit(0 if fixed else 2)"),
    "crash": (10, LIMITS, "raise RuntimeError('broken')"),
    "pollute": (8, LIMITS, "[open(place, 'w').close() for place in (*places, 'pkg/core.py')]\nsys.exit(0 if fixed else 2)"),
    "flood": (6, LIMITS, "print('x' * 3_000_000)\nsys.exit(0 if fixed else 2)"),
    "daemon": (8, LIMITS, "subprocess.Popen(['sleep', '{token}'], start_new_session=True)\nsys.exit(0 if fixed else 2)"),
    "slow": (8, PAUSABLE, "time.sleep(0.7)\nsys.exit(0 if fixed else 2)"),
    "forever": (3, SHORT, "subprocess.Popen(['sleep', '{token}'])\nwhile True: time.sleep(9)"),
    "memory": (4, LIMITS, "kept = [bytearray(8 << 20) for _ in range(100)]"),
}
"""Name: weight, limits, what follows HEAD."""
ENDS = {"forever": (Verdict.BROKEN, "seconds"), "memory": (Verdict.BROKEN, "memory"), "crash": (Verdict.BROKEN, None)}
"""Those whose end does not depend on the patch."""


@dataclass(frozen=True, slots=True)
class Cell:
    """An execution, and what it must come to."""

    name: str
    script: Script
    patch: Patch | None
    limits: Limits
    verdict: Verdict
    limit: str | None
    applies: bool

    def wrong(self, execution: Execution) -> str:
        """What is wrong with it; empty if nothing is."""
        found = (execution.verdict, execution.limit, not execution.apply_error)
        if found == (self.verdict, self.limit, self.applies):
            return ""
        said = (execution.output + execution.apply_error)[-200:]
        return f"{self.name}: {found} (exit {execution.exit_code}, {execution.seconds} s) instead of {self}: {said}"


@dataclass(slots=True)
class Progress:
    """What has been done so far."""

    done: int = 0
    wrong: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    blows: Counter[str] = field(default_factory=Counter)
    samples: list[tuple[int, int, int]] = field(default_factory=list)
    """At each tenth: resident KiB, descriptors and threads of this process."""
    notes: list[str] = field(default_factory=list)
    """What the sandbox said about the engine."""


def git(directory: Path, *arguments: str) -> str:
    """What git prints."""
    command = ["git", "-C", str(directory), *IDENTITY, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def make_repository(tree: Path) -> list[Patch]:
    """A repository with a bug, and patches: the fix, two that leave the bug alone, one that does not apply."""
    (tree / "pkg").mkdir(parents=True)
    (tree / "pkg/__init__.py").touch()
    core, notes = tree / "pkg/core.py", tree / "notes.txt"
    core.write_text("def double(x):\n    return x + x + 1\n")
    notes.write_text("one\ntwo\n")
    git(tree, "init", "-q")
    git(tree, "add", "-A")
    git(tree, "commit", "-qm", "base")
    diffs = []
    for path, text in ((core, "def double(x):\n    return x + x\n"), (notes, "two\n"), (tree / "added.txt", "new\n")):
        path.write_text(text)
        git(tree, "add", "-AN")
        diffs.append(git(tree, "diff"))
        git(tree, "reset", "-q", "--hard")
    return [*map(Patch, diffs), Patch(diffs[0].replace("x + x + 1", "something else"))]


def make_cells(patches: Sequence[Patch], token: str, count: int, dice: random.Random) -> list[Cell]:
    """So many, at random. The first patch is the fix, the last does not apply."""
    rows: list[Patch | None] = [None, *patches]
    weights = [weight for weight, _, _ in SCRIPTS.values()]
    cells = []
    for name in dice.choices(list(SCRIPTS), weights, k=count):
        _, limits, body = SCRIPTS[name]
        number = dice.choices(range(len(rows)), [4, 4, 3, 3, 1])[0]
        ordinary = Verdict.PASS if number == 1 else Verdict.ISSUE
        verdict, limit = ENDS.get(name, (ordinary, "output" if name == "flood" else None))
        if number == len(patches):
            verdict, limit = Verdict.BROKEN, None
        script = Script(HEAD + body.replace("{token}", token))
        cells.append(Cell(name, script, rows[number], limits, verdict, limit, number < len(patches)))
    return cells


def census(engine: PrivateEngine | None, backend: str, token: str) -> dict[str, list[str]]:
    """Everything that an execution could leave behind, by kind."""
    mounts = Path("/proc/self/mounts").read_text().splitlines()
    places = [tempfile.gettempdir(), str(engine.place) if engine else tempfile.gettempdir()]
    processes = [command_of(pid) for pid in everybody()]
    found = {
        "scripts": [command for command in processes if token in command],
        "children": [command_of(pid) for pid in children(os.getpid())],
        "mounts": [line for line in mounts if any(f" {place}/" in line for place in places)],
        "files": sorted(path.name for path in Path(tempfile.gettempdir()).iterdir()),
    }
    if backend == "local":
        own = f"runoff-{os.getpid()}-*"
        found["control groups"] = [str(path) for path in Path("/sys/fs/cgroup").rglob(own)]
    elif engine is None:
        found["containers"] = containers_of_ours("-a")
    else:
        found["containers"] = engine.docker("ps", "-aq", "--no-trunc").stdout.split()
        found["volumes"] = engine.docker("volume", "ls", "-q").stdout.split()
        forgotten = engine.forgotten()
        passed_over = {engine.place.name, *forgotten.values()}
        found["control groups"] = [str(path) for path in engine.groups() if path.name not in passed_over]
        found["engine"] = sorted(command_of(pid).split(" ")[0] for pid in engine.processes() if pid not in forgotten)
        for folder in ("overlay2", "containers", "image/overlay2/layerdb/mounts"):
            found[folder] = sorted(path.name for path in (engine.place / "root" / folder).iterdir())
    return found


def engine_kb(engine: PrivateEngine | None) -> int:
    """The size of its folder in KiB."""
    if engine is None:
        return 0
    done = subprocess.run(["du", "-skx", str(engine.place / "root")], check=False, capture_output=True, text=True)
    return int(done.stdout.split()[0])


def sample() -> tuple[int, int, int]:
    """Resident KiB, descriptors and threads of this process."""
    gc.collect()
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmRSS"].split()[0]), len(list(Path("/proc/self/fd").iterdir())), int(status["Threads"])


async def execute_all(
    sandbox: Sandbox, environment: Environment, cells: Sequence[Cell], workers: int, progress: Progress
) -> None:
    """Every cell once, with some waiting so that no worker is ever idle."""
    waiting = iter(cells)

    async def work() -> None:
        for cell in waiting:
            try:
                wrong = cell.wrong(await sandbox.execute(environment, cell.script, cell.patch, cell.limits))
            except SandboxError as error:
                progress.lost.append(f"{cell.name}: {error}")
            else:
                progress.wrong += [wrong] if wrong else []
            progress.done += 1

    await asyncio.gather(*(work() for _ in range(2 * workers)))


async def sabotage(
    saboteur: Saboteur, schedule: Sequence[tuple[int, bool]], quiet: asyncio.Lock, progress: Progress
) -> None:
    """The blows, each some time after so many executions are done; `schedule`: (executions, whether the engine is hit)."""
    dice = random.Random(len(schedule))
    for number, at_engine in schedule:
        while progress.done < number:  # noqa: ASYNC110  a counter is waited for
            await asyncio.sleep(0.02)
        await asyncio.sleep(dice.uniform(0, 0.4))
        async with quiet:
            name = await asyncio.to_thread(saboteur.strike_engine if at_engine else saboteur.strike)
        progress.blows[name] += 1


async def take_samples(count: int, quiet: asyncio.Lock, progress: Progress) -> None:
    """At each tenth, between blows."""
    for tenth in range(1, 11):
        while progress.done < tenth * count // 10:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        async with quiet:
            progress.samples.append(sample())
            print(
                f"{progress.done} done: {progress.samples[-1]}, {len(progress.wrong)} wrong, {len(progress.lost)} lost",
                flush=True,
            )


def scheduled(count: int, every: int, restart_every: int, dice: random.Random) -> list[tuple[int, bool]]:
    """When the saboteur strikes, in order; nothing in the last few, so that there is something to strike at."""
    blows = [(number + dice.randrange(every), False) for number in range(0, count - 2 * every, every)]
    restarts = (
        [(number, True) for number in range(restart_every // 2, count - every, restart_every)] if restart_every else []
    )
    return sorted(blows + restarts)


async def soak(options: argparse.Namespace, place: Path, engine: PrivateEngine | None) -> dict[str, Any]:
    """Build, run everything, look for what is left; the figures."""
    dice, token = random.Random(options.seed), f"{90_000 + secrets.randbelow(9_999)}.{secrets.randbelow(10**9):09d}"
    patches = make_repository(place / "tree")
    cells = make_cells(patches, token, options.executions, dice)
    progress, quiet = Progress(), asyncio.Lock()

    def make() -> DockerSandbox | LocalSandbox:
        if options.backend == "local":
            return LocalSandbox(options.workers)
        return DOCKER[options.backend](options.workers, progress.notes.append)

    spec = EnvironmentSpec(git(place / "tree", "rev-parse", "HEAD").strip(), place / "tree")
    first = make()
    environment = await first.build(spec, lambda line: None)
    await first.execute(environment, cells[0].script)
    await first.close()
    before, size = census(engine, options.backend, token), engine_kb(engine)
    sandbox = make()
    saboteur = Saboteur(options.backend, engine, random.Random(options.seed))
    schedule = scheduled(options.executions, options.every, options.restart_every if engine else 0, dice)
    started = time.monotonic()
    try:
        await asyncio.gather(
            execute_all(sandbox, environment, cells, options.workers, progress),
            sabotage(saboteur, schedule, quiet, progress),
            take_samples(options.executions, quiet, progress),
        )
    finally:
        seconds = time.monotonic() - started
        await sandbox.close()
        if options.backend != "local" and engine is None:
            remove = ["docker", "rmi", environment.location]
            await asyncio.to_thread(subprocess.run, remove, check=False, capture_output=True)
    left = await what_is_left(before, engine, options.backend, token)
    forgotten = len(engine.forgotten()) if engine else 0
    return {**figures(progress, seconds, left, engine_kb(engine) - size), "forgotten_shims": forgotten}


async def what_is_left(
    before: dict[str, list[str]], engine: PrivateEngine | None, backend: str, token: str
) -> dict[str, list[str]]:
    """What was not there before; what is about to go gets some seconds."""
    for _ in range(40):
        after = census(engine, backend, token)
        left = {kind: [each for each in after[kind] if each not in before[kind]] for kind in after}
        left = {kind: entries for kind, entries in left.items() if entries or len(after[kind]) > len(before[kind])}
        if not left:
            break
        await asyncio.sleep(0.25)
    return left


def figures(progress: Progress, seconds: float, left: dict[str, list[str]], growth_kb: int) -> dict[str, Any]:
    """All that is known in the end. `flat`: later samples are not beyond the second one by more than `ROOM`."""
    base, later = progress.samples[1], progress.samples[2:]
    most = [max(each[index] for each in later) for index in range(3)]
    spare = (0, *UNDER_WAY)
    flat = all(most[index] <= base[index] * (1 + ROOM) + spare[index] for index in range(3))
    return {
        "executions": progress.done,
        "seconds": round(seconds, 1),
        "wrong": len(progress.wrong),
        "lost": len(progress.lost),
        "blows": sum(count for name, count in progress.blows.items() if "nobody" not in name and "engine" not in name),
        "engine_restarts": sum(count for name, count in progress.blows.items() if "engine" in name),
        "each": dict(sorted(progress.blows.items())),
        "left": left,
        "engine_growth_kb": growth_kb,
        "flat": flat,
        "samples": progress.samples,
        "complaints": [*progress.wrong, *progress.lost][:20],
        "notes": progress.notes[-6:],
    }


def prepared(options: argparse.Namespace, stack: contextlib.ExitStack) -> PrivateEngine | None:
    """A private engine with the base image, which this process uses from now on; None where none is asked for."""
    if options.engine == "current" or options.backend == "local":
        return None
    engine = stack.enter_context(private_engine())
    engine.copy(BASE)
    os.environ["DOCKER_HOST"] = engine.host
    return engine


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Executions under sabotage, and what they leave.")
    parser.add_argument("--executions", type=int, default=2000)
    parser.add_argument("--backend", choices=[*DOCKER, "local"], default="fast")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--engine", choices=["private", "current"], default="private", help="current: it is not restarted")
    parser.add_argument("--every", type=int, default=12, help="executions between two blows")
    parser.add_argument("--restart-every", type=int, default=150, help="executions between two restarts of the engine")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON in the last line")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        engine = prepared(options, stack)
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="runoff-soak-")))
        (place / "tmp").mkdir()
        tempfile.tempdir = str(place / "tmp")  # so that whatever is made there is ours
        os.environ["RUNOFF_CACHE_DIR"] = str(place / "cache")
        came = asyncio.run(soak(options, place, engine))
    for name, value in came.items():
        print(f"{name:18} {value}")
    if options.json:
        print(json.dumps(came))
    shims, crashes = came["forgotten_shims"], came["each"].get("crash_engine", 0)
    good = shims <= crashes and not came["wrong"] and not came["lost"] and not came["left"] and came["flat"]
    sys.exit(0 if good and came["engine_growth_kb"] <= ENGINE_FILES_KB else 1)


if __name__ == "__main__":
    main()
