"""What isolation costs: one issue's matrix of executions on Django, in every way that this machine has, side by side.

usage: python scripts/bench_sandbox.py [--patches 10] [--scripts 10] [--rounds 3] [--a-cells 4] [--ways ...] [--json]

The matrix is every script on every patch and on the unpatched tree: 110 executions by default, by two workers. The scripts
set Django up and work with it; one rewrites the module that the patches change and leaves files about, so that a way which
keeps anything from one execution to the next gets other exit codes. Every cell of every round is compared with the exit code
that it must have. The ways take turns, after a warm-up of each. `a` is run on a part of the matrix and scaled, as an
execution takes it 16 s. Only ratios within one run mean something, and only on a machine that has nothing else to do.

  bare      python on this host, in a copy of the tree for each worker; git apply and back. No isolation: its workers see
            each other's files, and stale .pyc files may hide a patch, so some of its cells may be wrong
  local     the local backend
  fast      the Docker backend with long-lived containers
  portable  the Docker backend with a container an execution
  a0        as the reference does it, but without waiting for the stop: a container, files put in, exec, exec, stop, remove
  a         the same with stop(timeout=15), which the container's first process sits out
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker

from sandbox.api import Environment, EnvironmentSpec, Limits, Patch, Sandbox, Script
from sandbox.docker_build import PATH_LABEL
from sandbox.docker_fast import FastDockerSandbox
from sandbox.docker_sandbox import DockerSandbox
from sandbox.engine import archive
from sandbox.jobs import SYSTEM_PATH, variables
from sandbox.local_sandbox import LocalSandbox

DJANGO = "Django==5.1.4"
MODULE = "django/utils/text.py"
SANDBOXES: dict[str, type[DockerSandbox | LocalSandbox]] = {
    "local": LocalSandbox,
    "fast": FastDockerSandbox,
    "portable": DockerSandbox,
}
WAYS = ("bare", *SANDBOXES, "a0", "a")
LIMITS = Limits(seconds=120)
STOP_SECONDS = {"a0": 0, "a": 15}
LABEL = "runoff.bench"
TRIVIAL_RUNS = 25
IDENTITY = ("-c", "user.name=Bench", "-c", "user.email=bench@example.org", "-c", "init.defaultBranch=main")
HEAD = """\
import os, sys
import django
from django.conf import settings
settings.configure(
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "django.contrib.sessions"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates"}], ROOT_URLCONF="__main__", USE_TZ=True,
)
django.setup()
urlpatterns = []
if os.path.exists("left") or os.path.exists("/dev/shm/runoff-left"):
    sys.exit(1)
"""
POLLUTION = """\
from django.utils import text
with open(text.__file__, "a") as module:
    module.write("\\n\\ndef candidate():\\n    return 99\\n")
for path in ("left", "/dev/shm/runoff-left"):
    open(path, "w").close()
"""
"""Leaves behind what it can. It ends as the others do, since the module is loaded before it is rewritten."""
WORK = (
    "from django.template import Context, Template\nassert Template('{{ a|upper }}').render(Context({'a': 'x'})) == 'X'",
    POLLUTION,
    "from django import forms\nassert forms.IntegerField().clean('7') == 7",
    "from django.core.management import call_command\ncall_command('migrate', verbosity=0)",
    "from django.test import RequestFactory\nassert RequestFactory().get('/a').path == '/a'",
    "from django.utils.dateparse import parse_date\nassert parse_date('2024-02-3x') is None",
    "from django.contrib.auth.models import User\nassert str(User(username='u')) == 'u'",
    "from django.db.models import Q\nassert Q(a=1) | Q(b=2) != Q(a=1)",
    "from django.core.paginator import Paginator\nassert Paginator(range(95), 10).num_pages == 10",
    "from django.utils.html import escape\nassert escape('<') == '&lt;'",
)
TAIL = "\nfrom django.utils import text\nsys.exit(0 if getattr(text, 'candidate', lambda: -1)() >= {number} else 2)\n"


@dataclass(frozen=True, slots=True)
class Cell:
    """One execution and the exit code that it must have."""

    patch: Patch | None
    script: Script
    pollutes: bool
    expected: int


@dataclass(frozen=True, slots=True)
class Measured:
    """One round of one way."""

    seconds: float
    """For the whole matrix; scaled if only a part was run."""
    wrong: int
    """Cells with an exit code that they must not have."""


Way = Callable[[Cell], Awaitable[int | None]]


def git(directory: Path, *arguments: str, stdin: str = "") -> str:
    """What git prints."""
    command = ["git", "-C", str(directory), *IDENTITY, *arguments]
    return subprocess.run(command, check=True, input=stdin, capture_output=True, text=True).stdout


def make_tree(place: Path) -> Path:
    """Django's source as published, in a git repository with one commit."""
    pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary=:all:", "-d", str(place), DJANGO]
    subprocess.run(pip, check=True, stderr=subprocess.DEVNULL)
    tree = place / "tree"
    tree.mkdir()
    subprocess.run(["tar", "-xzf", next(place.glob("*.tar.gz")), "-C", tree, "--strip-components=1"], check=True)
    git(tree, "init", "-q")
    git(tree, "add", "-A")
    git(tree, "commit", "-qm", DJANGO)
    return tree


def make_cells(tree: Path, patches: int, scripts: int) -> list[Cell]:
    """Row by row, the unpatched tree first. Patch p lets the scripts up to p pass, and no other."""
    module = tree / MODULE
    diffs = []
    for number in range(patches):
        original = module.read_text()
        module.write_text(f"{original}\n\ndef candidate():\n    return {number}\n")
        diffs.append(git(tree, "diff"))
        module.write_text(original)
    texts = [Script(HEAD + WORK[number % len(WORK)] + TAIL.format(number=number)) for number in range(scripts)]
    rows: list[Patch | None] = [None, *map(Patch, diffs)]
    return [
        Cell(patch, script, WORK[number % len(WORK)] == POLLUTION, 0 if patch is not None and row - 1 >= number else 2)
        for row, patch in enumerate(rows)
        for number, script in enumerate(texts)
    ]


class Bare:
    """No isolation at all: what the executions themselves take."""

    def __init__(self, tree: Path, place: Path, python: str, workers: int) -> None:
        self._python = python
        self._place = place
        self._trees: asyncio.Queue[Path] = asyncio.Queue()
        for number in range(workers):
            copy = place / f"bare-{number}"
            git(place, "clone", "-q", str(tree), str(copy))
            self._trees.put_nowait(copy)

    async def __call__(self, cell: Cell) -> int | None:
        """The exit code."""
        tree = await self._trees.get()
        try:
            return await asyncio.to_thread(self._run, tree, cell)
        finally:
            self._trees.put_nowait(tree)

    def _run(self, tree: Path, cell: Cell) -> int:
        if cell.patch:
            git(tree, "apply", "-", stdin=cell.patch.diff)
        with tempfile.NamedTemporaryFile("w", suffix=".py", dir=self._place) as script:
            script.write(cell.script.text)
            script.flush()
            environment = {"PYTHONPATH": str(tree), "PATH": SYSTEM_PATH, "PYTHONHASHSEED": "0"}
            code = subprocess.run([self._python, script.name], cwd=tree, env=environment, check=False).returncode
        if cell.patch or cell.pollutes:
            git(tree, "checkout", "-q", "--", MODULE)
        if cell.pollutes:  # cleaned up by name, as somebody who knows the script could
            (tree / "left").unlink()
            Path("/dev/shm/runoff-left").unlink(missing_ok=True)
        return code


class Reference:
    """As the reference does it: a container for each execution, in which everything is done by exec."""

    def __init__(self, environment: Environment, stop_seconds: int, workers: int) -> None:
        self._environment = environment
        self._stop_seconds = stop_seconds
        self._gate = asyncio.Semaphore(workers)
        self._client = docker.from_env(timeout=120)
        path = self._client.images.get(environment.location).labels.get(PATH_LABEL, SYSTEM_PATH)
        self._variables = variables(path, environment.variables)

    async def __call__(self, cell: Cell) -> int | None:
        """The exit code."""
        async with self._gate:
            return await asyncio.to_thread(self._run, cell)

    def _run(self, cell: Cell) -> int | None:
        container: Any = self._client.containers.run(
            self._environment.location,
            entrypoint=["tail", "-f", "/dev/null"],
            detach=True,
            network_mode="none",
            labels=[LABEL],
        )
        try:
            files = {"script.py": cell.script.text.encode(), "patch.diff": (cell.patch.diff if cell.patch else "").encode()}
            container.put_archive("/", archive(files))
            if cell.patch:
                applied = container.exec_run(["git", "apply", "/runoff/patch.diff"], workdir="/testbed")
                if applied.exit_code != 0:
                    raise RuntimeError(applied.output.decode())
            command = ["timeout", str(LIMITS.seconds), "python", "/runoff/script.py"]
            return int(container.exec_run(command, workdir="/testbed", environment=self._variables).exit_code)
        finally:
            container.stop(timeout=self._stop_seconds)
            container.remove()


def in_sandbox(sandbox: Sandbox, environment: Environment) -> Way:
    """A backend of ours as a way."""

    async def run(cell: Cell) -> int | None:
        return (await sandbox.execute(environment, cell.script, cell.patch, LIMITS)).exit_code

    return run


async def measure(way: Way, cells: Sequence[Cell], whole: int) -> Measured:
    """All cells at once, as many side by side as the way has workers; `whole`: how many the matrix has."""
    started = time.monotonic()
    codes = await asyncio.gather(*map(way, cells))
    seconds = (time.monotonic() - started) * whole / len(cells)
    return Measured(seconds, sum(code != cell.expected for code, cell in zip(codes, cells, strict=True)))


async def trivial_ms(way: Way) -> float:
    """Median milliseconds of a script that does nothing, one at a time."""
    cell, taken = Cell(None, Script("pass"), pollutes=False, expected=0), []
    for _ in range(TRIVIAL_RUNS):
        started = time.monotonic()
        await way(cell)
        taken.append(1000 * (time.monotonic() - started))
    return statistics.median(taken)


async def prepare(names: Sequence[str], tree: Path, place: Path, workers: int, stack: AsyncExitStack) -> dict[str, Way]:
    """The ways, ready to run; whatever they need is built."""
    spec = EnvironmentSpec(git(tree, "rev-parse", "HEAD").strip(), tree, setup="pip install -q asgiref sqlparse")
    local = LocalSandbox(workers)
    stack.push_async_callback(local.close)
    built = await local.build(spec)
    ways: dict[str, Way] = {"bare": Bare(tree, place, f"{built.location}/venv/bin/python", workers)}
    image: Environment | None = None
    for name in names:
        if name in SANDBOXES:
            sandbox = SANDBOXES[name](workers)
            stack.push_async_callback(sandbox.close)
            environment = await sandbox.build(spec)
            ways[name] = in_sandbox(sandbox, environment)
            image = image if name == "local" else environment
    for name in STOP_SECONDS.keys() & set(names):
        if image is None:
            raise SystemExit("a and a0 run in the image of a Docker backend: add fast or portable to --ways")
        ways[name] = Reference(image, STOP_SECONDS[name], workers)
    return {name: ways[name] for name in names}


def report(rounds: dict[str, list[Measured]], trivial: dict[str, float], cells: int) -> dict[str, float | None]:
    """Print the table; returns the figures of the last line."""
    median = {name: statistics.median(entry.seconds for entry in entries) for name, entries in rounds.items()}
    print(f"\n{'way':10} {'median s':>9} {'all rounds, s':28} {'x bare':>7} {'fast is':>8} {'wrong':>6} {'trivial ms':>11}")
    for name, entries in rounds.items():
        each = " ".join(f"{entry.seconds:.1f}" for entry in entries)
        bare = f"{median[name] / median['bare']:.2f}" if "bare" in median else "-"
        fast = f"{median[name] / median['fast']:.2f}x" if "fast" in median else "-"
        empty = f"{trivial[name]:.0f}" if name in trivial else "-"
        wrong = sum(entry.wrong for entry in entries)
        print(f"{name:10} {median[name]:9.1f} {each:28} {bare:>7} {fast:>8} {wrong:>6} {empty:>11}")
    print(f"{cells} executions a round; load average at the end {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")
    figures: dict[str, float | None] = {
        f"{key}_s": round(median[name], 2) if name in median else None
        for key, name in (("ours", "fast"), ("a", "a"), ("a0", "a0"), ("bare", "bare"))
    }
    both = "fast" in trivial and "bare" in trivial
    figures["overhead_ms"] = round(trivial["fast"] - trivial["bare"], 1) if both else None
    return figures


async def bench(options: argparse.Namespace, place: Path) -> dict[str, float | None]:
    """Prepare, warm up, measure in turns, report."""
    names = [name for name in WAYS if name in options.ways.split(",")]
    tree = make_tree(place)
    cells = make_cells(tree, options.patches, options.scripts)
    async with AsyncExitStack() as stack:
        ways = await prepare(names, tree, place, options.workers, stack)
        part = {name: cells[-options.a_cells :] if name == "a" else cells for name in names}
        for name in names:
            if name != "a":
                await measure(ways[name], cells[: options.scripts], len(cells))
        rounds: dict[str, list[Measured]] = {name: [] for name in names}
        for number in range(options.rounds):
            for name in names:
                rounds[name].append(await measure(ways[name], part[name], len(cells)))
                scaled = f" (from {len(part[name])} executions)" if name == "a" else ""
                print(f"round {number + 1} {name}: {rounds[name][-1].seconds:.1f} s{scaled}", flush=True)
        trivial = {name: await trivial_ms(ways[name]) for name in names if name not in STOP_SECONDS}
    return report(rounds, trivial, len(cells))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="The matrix of one issue, in every way that this machine has.")
    parser.add_argument("--patches", type=int, default=10)
    parser.add_argument("--scripts", type=int, default=10, help="per patch; each also runs on the unpatched tree")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--a-cells", type=int, default=4, help="executions that `a` is measured on")
    parser.add_argument("--ways", default=",".join(WAYS), help="of: " + ", ".join(WAYS))
    parser.add_argument("--json", action="store_true", help="print the figures as JSON in the last line")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="runoff-bench-") as place:
        figures = asyncio.run(bench(options, Path(place)))
    if options.json:
        print(json.dumps(figures))


if __name__ == "__main__":
    main()
