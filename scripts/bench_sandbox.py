"""What isolation costs: one issue's matrix of executions on Django, in every way that this machine has, side by side.

usage: python scripts/bench_sandbox.py [--patches 10] [--scripts 10] [--rounds 3] [--a-cells 4] [--ways ...] [--json]

The matrix is every script on every patch and on the unpatched tree: 110 executions by default, by two workers. The scripts
set Django up and work with it; one rewrites the module that the patches change and leaves files about, so that a way which
keeps anything from one execution to the next gets other exit codes. Every cell of every round is compared with the exit code
that it must have; if a backend of ours has a wrong one, so has this program: 1. The ways take turns, after a warm-up of each
on the unpatched tree, each round in another order and with patches that no way has seen. `a` is run on a part of the
matrix and scaled, as an execution takes it 16 s. What a trivial script takes is measured after the rounds, one execution
at a time, in turns as well. Only ratios within one run mean something, and only on a machine that has nothing else to do.

  bare      python on this host, in a tree for each worker; git apply, and the traces of the scripts removed by name
  local     the local backend
  fast      the Docker backend with long-lived containers
  portable  the Docker backend with a container an execution
  a0        as the reference does it, but without waiting for the stop: a container, files put in, exec, exec, stop, remove
  a         the same with stop(timeout=15), which the container's first process sits out

`--python` is what bare, local and the images start their virtual environments from. Name one that is the same on this host
and in the base image (the default, where both are of one distribution): the versions found are printed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

from bench_cells import DJANGO, SETUP, Cell, git, make_cells, make_tree
from bench_ways import LIMITS, Bare, Blocking, Reference, Way, in_sandbox

from sandbox.api import Environment, EnvironmentSpec, Script
from sandbox.docker_fast import FastDockerSandbox
from sandbox.docker_sandbox import DockerSandbox
from sandbox.local_sandbox import LocalSandbox

SANDBOXES: dict[str, type[DockerSandbox | LocalSandbox]] = {
    "local": LocalSandbox,
    "fast": FastDockerSandbox,
    "portable": DockerSandbox,
}
WAYS = ("bare", *SANDBOXES, "a0", "a")
STOP_SECONDS = {"a0": 0, "a": 15}
TRIVIAL_RUNS = 25
TRIVIAL_GROUPS = (("bare", "local", "fast"), ("portable",))
"""Each takes turns in itself; containers that are being removed would slow the next one down."""
TRIVIAL = Cell(None, Script("pass"), pollutes=False, expected=0)
VERSION = "import platform, sys; print(platform.python_version(), platform.python_compiler())"
AIMS = (("a", 8.0), ("a0", 1.5))
"""How many times as long as the fast path these are to take."""
AIM_BARE, AIM_TRIVIAL_MS = 1.3, 60.0


@dataclass(slots=True)
class Taken:
    """What one way took."""

    warm_up: float = 0.0
    """Seconds of the warm-up, the start of containers included."""
    rounds: list[float] = field(default_factory=list)
    """Seconds for the whole matrix; scaled if only a part was run."""
    wrong: int = 0
    """Cells with an exit code that they must not have, in all rounds."""
    trivial: list[float] = field(default_factory=list)
    """Milliseconds."""


async def measure(way: Way, cells: Sequence[Cell], taken: Taken) -> float:
    """Seconds for all cells at once, as many side by side as the way has workers."""
    started = time.monotonic()
    codes = await asyncio.gather(*map(way, cells))
    seconds = time.monotonic() - started
    taken.wrong += sum(code != cell.expected for code, cell in zip(codes, cells, strict=True))
    return seconds


async def prepare(options: argparse.Namespace, tree: Path, place: Path, stack: AsyncExitStack) -> dict[str, Way]:
    """The ways, ready to run; whatever they need is built."""
    names, workers = options.ways, options.workers
    spec = EnvironmentSpec(git(tree, "rev-parse", "HEAD").strip(), tree, setup=SETUP, python=options.python)
    local = LocalSandbox(workers)
    stack.push_async_callback(local.close)
    built = await local.build(spec)
    blocking: list[Blocking] = [Bare(tree, place, f"{built.location}/venv/bin/python", workers)]
    ways: dict[str, Way] = {"bare": blocking[0]}
    image: Environment | None = None
    for name in names:
        if name in SANDBOXES:
            sandbox = SANDBOXES[name](workers)
            stack.push_async_callback(sandbox.close)
            environment = await sandbox.build(spec)
            ways[name] = in_sandbox(sandbox, environment)
            image = image if name == "local" else environment
            print(f"{name}: Python {(await sandbox.execute(environment, Script(VERSION))).output.strip()}", flush=True)
    for name in STOP_SECONDS.keys() & set(names):
        if image is None:
            raise SystemExit("a and a0 run in the image of a Docker backend: add fast or portable to --ways")
        blocking.append(Reference(image, STOP_SECONDS[name], workers))
        ways[name] = blocking[-1]
    for way in blocking:
        stack.push_async_callback(way.close)
    return {name: ways[name] for name in names}


async def take_turns(options: argparse.Namespace, ways: dict[str, Way], tree: Path) -> dict[str, Taken]:
    """Warm up, then all rounds, then trivial scripts."""
    names: list[str] = options.ways
    taken = {name: Taken() for name in names}
    warm = make_cells(tree, 0, options.scripts, 0)
    for name in names:
        taken[name].warm_up = await measure(ways[name], warm[:1] if name == "a" else warm, taken[name])
    for turn in range(1, options.rounds + 1):
        cells = make_cells(tree, options.patches, options.scripts, turn)
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            part = cells[-options.a_cells :] if name == "a" else cells
            seconds = await measure(ways[name], part, taken[name]) * len(cells) / len(part)
            taken[name].rounds.append(seconds)
            scaled = f" (scaled from {len(part)} executions)" if name == "a" else ""
            print(f"round {turn} {name}: {seconds:.1f} s{scaled}; load average {os.getloadavg()[0]:.1f}", flush=True)
    for group in TRIVIAL_GROUPS:
        for name in TRIVIAL_RUNS * [name for name in group if name in names]:
            taken[name].trivial.append(1000 * await measure(ways[name], [TRIVIAL], taken[name]))
    return taken


def ratio(taken: dict[str, Taken], way: str, to: str) -> float | None:
    """The median over the rounds of what one way took for each second of the other."""
    if way not in taken or to not in taken:
        return None
    return statistics.median(mine / its for mine, its in zip(taken[way].rounds, taken[to].rounds, strict=True))


def shown(value: float | None, digits: int = 2) -> str:
    """A number for the table."""
    return "-" if value is None else f"{value:.{digits}f}"


def print_table(taken: dict[str, Taken]) -> None:
    """A line for each way."""
    print("\nway       median s  rounds, s                   to bare  to fast  wrong  trivial ms  warm-up s")
    for name, its in taken.items():
        each = " ".join(f"{seconds:.1f}" for seconds in its.rounds)
        against = f"{shown(ratio(taken, name, 'bare')):>8} {shown(ratio(taken, name, 'fast')):>8}"
        trivial = shown(statistics.median(its.trivial) if its.trivial else None, 1)
        median = statistics.median(its.rounds)
        print(f"{name:8} {median:9.1f}  {each:26} {against} {its.wrong:>6} {trivial:>11} {its.warm_up:>10.1f}")


def print_aims(taken: dict[str, Taken], overhead: float | None) -> None:
    """What is aimed at, and what was found."""
    for way, aim in AIMS:
        print(f"{way} to fast: {shown(ratio(taken, way, 'fast'))}, aim: at least {aim}")
    print(f"fast to bare: {shown(ratio(taken, 'fast', 'bare'))}, aim: at most {AIM_BARE}")
    print(f"a trivial script, fast over bare: {shown(overhead, 1)} ms, aim: at most {AIM_TRIVIAL_MS:.0f}")


def figures(taken: dict[str, Taken]) -> dict[str, float | None]:
    """What `--json` prints: medians in seconds for the whole matrix, and the overhead of a trivial script."""
    keys = (("ours", "fast"), ("a", "a"), ("a0", "a0"), ("bare", "bare"))
    found: dict[str, float | None] = {
        f"{key}_s": round(statistics.median(taken[name].rounds), 2) if name in taken else None for key, name in keys
    }
    both = "fast" in taken and "bare" in taken
    medians = [statistics.median(taken[name].trivial) for name in ("fast", "bare")] if both else []
    found["overhead_ms"] = round(medians[0] - medians[1], 1) if both else None
    return found


async def bench(options: argparse.Namespace, place: Path, tree: Path) -> dict[str, Taken]:
    """Prepare and measure."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    async with AsyncExitStack() as stack:
        ways = await prepare(options, tree, place, stack)
        return await take_turns(options, ways, tree)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="The matrix of one issue, in every way that this machine has.")
    parser.add_argument("--patches", type=int, default=10)
    parser.add_argument("--scripts", type=int, default=10, help="per patch; each also runs on the unpatched tree")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--a-cells", type=int, default=4, help="executions that `a` is measured on")
    parser.add_argument("--ways", default=",".join(WAYS), help="of: " + ", ".join(WAYS))
    parser.add_argument("--python", default="/usr/bin/python3", help="on this host and in the base image; %(default)s")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON in the last line")
    options = parser.parse_args()
    options.ways = [name for name in WAYS if name in options.ways.split(",")]
    return options


def main() -> None:
    """Measure, report, and fail if one of ours got a verdict wrong."""
    options = arguments()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with tempfile.TemporaryDirectory(prefix="runoff-bench-") as place:
            taken = asyncio.run(bench(options, Path(place), make_tree(Path(place))))
    except (KeyboardInterrupt, asyncio.CancelledError):
        sys.exit("bench_sandbox: interrupted")
    found = figures(taken)
    print_table(taken)
    print_aims(taken, found["overhead_ms"])
    executions = f"{(options.patches + 1) * options.scripts} executions of {DJANGO} a round"
    print(f"{executions}, {options.workers} workers, {os.cpu_count()} processors, limits {LIMITS}")
    if options.json:
        print(json.dumps(found))
    sys.exit(any(taken[name].wrong for name in SANDBOXES if name in taken))


if __name__ == "__main__":
    main()
