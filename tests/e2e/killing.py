"""`runoff` in processes that kill themselves at a chosen point of what they write.

Run as a program, this is a fork server: it imports runoff once and then forks for each command line that it is sent,
so that hundreds of runs cost no start. In the child, the system calls through which runoff writes (lines of JSON and
whole files) announce each point before it passes; at the chosen one the process sends itself SIGKILL.

The points of a line: `before`, `torn` (half of it is in the file), `written` (before fsync), `synced`.
The points of a whole file: `scrap` (half of it is under its temporary name), `before` and `after` the rename.
"""

import contextlib
import ctypes
import importlib
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER: what a killed run leaves behind becomes a child of the server
LEFT_SECONDS = 15.0


class Points:
    """Names the points, counts them, and dies at one."""

    def __init__(self, die_at, trace):
        self._die_at = tuple(die_at or ())
        self._trace = trace and os.open(trace, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._counts = {}

    def due(self, label):
        """Whether this is the point; the caller then does half of its work and calls `die`."""
        self._counts[label] = number = self._counts.get(label, -1) + 1
        if self._trace:
            os.write(self._trace, f"{label}\n".encode())
        return (label, number) == self._die_at

    def pass_by(self, label):
        if self.due(label):
            self.die()

    def die(self):
        os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(60)


def name_of(path):
    """A file of a run without what differs from run to run or from sample to sample."""
    name = re.sub(r"^(.*/)?runs/[^/]+/", "", str(path))
    name = re.sub(r"^parts/.*", "parts/DIGEST", name)
    name = re.sub(r"^texttools[^/]*/", "", name)
    return re.sub(r"/\d+\.jsonl", "/N.jsonl", name)


class System:
    """The module `os` as `agent.files`, `agent.jsonl` and `agent.store` see it, with the points in front of what writes."""

    def __init__(self, points):
        self._points = points
        self._last = {}

    def __getattr__(self, name):
        return getattr(os, name)

    def write(self, handle, data):
        if not data.startswith(b"{"):  # the rest of a line that a full disk had cut
            return os.write(handle, data)
        place = name_of(str(Path(f"/proc/self/fd/{handle}").readlink()))
        self._last[handle] = label = f"{place} {json.loads(data)['kind']}"
        self._points.pass_by(f"{label}: before")
        if self._points.due(f"{label}: torn"):
            os.write(handle, data[: len(data) // 2])
            self._points.die()
        return os.write(handle, data)

    def fsync(self, handle):
        path = str(Path(f"/proc/self/fd/{handle}").readlink())
        if not path.endswith(".jsonl"):
            return self._fsync_file(handle, path)
        label = self._last[handle]
        self._points.pass_by(f"{label}: written")
        os.fsync(handle)
        self._points.pass_by(f"{label}: synced")
        return None

    def _fsync_file(self, handle, path):
        if path.endswith(".tmp") and self._points.due(f"{whole(path)}: scrap"):
            os.ftruncate(handle, os.fstat(handle).st_size // 2)
            self._points.die()
        os.fsync(handle)


def whole(temporary):
    """The label of a file that is written under this temporary name."""
    folder, name = os.path.split(str(temporary))
    return name_of(f"{folder}/{re.sub(r'^[.]|[.][0-9]+[.]tmp$', '', name)}")


def put_in_front(points):
    """Let the points of this process come before its writes."""
    import agent.files
    import agent.jsonl
    import agent.store

    agent.files.os = agent.jsonl.os = agent.store.os = System(points)
    rename = pathlib.Path.replace

    def replace(self, target):
        if not self.name.endswith(".tmp"):
            return rename(self, target)
        points.pass_by(f"{whole(self)}: before")
        renamed = rename(self, target)
        points.pass_by(f"{whole(self)}: after")
        return renamed

    pathlib.Path.replace = replace


def leave_out_the_checks():
    """Skip what a start checks before the run begins: it writes nothing and takes longer than the rest."""
    import agent.cli.environment
    import agent.cli.resume  # with all that the clock is set in
    import sandbox.probe
    from sandbox.health import Baseline
    from sandbox.local_sandbox import LocalSandbox

    async def choose(kind, workers, log):
        return LocalSandbox(workers)

    async def check_baseline(*_, **__):
        return Baseline("3")

    sandbox.probe.choose, agent.cli.environment.check_baseline = choose, check_baseline


def remember_executions(place):
    """Execute each script on each patch once in all the runs of this folder: what is under test is not the sandbox."""
    from dataclasses import asdict

    from sandbox.api import Execution, digest_of
    from sandbox.local_sandbox import LocalSandbox

    execute = LocalSandbox.execute

    async def remembered(self, environment, script, patch, limits):
        held = place / digest_of(script.digest, patch.digest if patch else "")
        if not held.exists():
            execution = await execute(self, environment, script, patch, limits)
            scrap = held.with_suffix(f".{os.getpid()}")
            scrap.write_text(json.dumps(asdict(execution)))
            scrap.rename(held)
        return Execution(**json.loads(held.read_text()))

    place.mkdir(exist_ok=True)
    LocalSandbox.execute = remembered


def set_the_clock(*, jumping):
    """A wall clock that stands still, or is years off each time that somebody looks at it."""
    import datetime as dt
    import itertools

    real, turns = time.time, itertools.count()
    off = lambda: (next(turns) % 5 - 2) * 3.2e7 if jumping else 0.0  # noqa: E731
    time.time = lambda: (real() if jumping else 1.9e9) + off()

    class Clock(dt.datetime):
        @classmethod
        def now(cls, tz=None):
            return cls.fromtimestamp(time.time(), tz)

    for module in list(sys.modules.values()):
        if getattr(module, "datetime", None) is dt.datetime and module.__name__.startswith("agent."):
            module.datetime = Clock


def child(job):
    """Become the command."""
    os.chdir(job["folder"])
    os.environ.update(job["environment"])
    for number, place in ((1, job["out"]), (2, job["err"])):
        os.dup2(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644), number)
    leave_out_the_checks()
    if job["clock"]:
        set_the_clock(jumping=job["clock"] == "jumping")
    if job["remember"]:
        remember_executions(Path(job["folder"]) / "executions")
    put_in_front(Points(job["die_at"], job["trace"]))
    sys.argv = ["runoff", *job["arguments"]]
    from agent.cli.app import main

    main()


def forked(job):
    """The exit status of the command, minus the signal's number if one ended it; killed after `job['seconds']`."""
    process = os.fork()
    if process == 0:
        code = 70
        try:
            child(job)
        except SystemExit as end:
            code = end.code or 0
            Path(job["modules"]).write_text("\n".join(sys.modules))
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            sys.stderr.flush()
            sys.stdout.flush()
            os._exit(code)
    deadline = time.monotonic() + job["seconds"]
    while not (ended := os.waitpid(process, os.WNOHANG))[0]:
        if time.monotonic() > deadline:
            os.kill(process, signal.SIGKILL)
        time.sleep(0.003)
    return os.waitstatus_to_exitcode(ended[1])


def left_behind():
    """Seconds until the last process that the command left behind was gone."""
    started = time.monotonic()
    while time.monotonic() - started < LEFT_SECONDS:
        try:
            if os.waitpid(-1, os.WNOHANG)[0] == 0:
                time.sleep(0.003)
        except ChildProcessError:
            break
    return time.monotonic() - started


def import_what_it_needed(names):
    """Import what the last command imported while it ran, so that the next one need not."""
    if names.exists():
        for name in names.read_text().splitlines():
            if name not in sys.modules and name != "__main__":
                with contextlib.suppress(ImportError):
                    importlib.import_module(name)
        names.unlink()


def serve():
    """Read jobs, a JSON line each; answer each with a line when it has ended."""
    import sandbox.local_sandbox  # noqa: F401

    ctypes.CDLL(None).prctl(SUBREAPER, 1, 0, 0, 0)
    for line in sys.stdin:
        job = json.loads(line)
        answer = {"code": forked(job), "left_seconds": left_behind()}
        import_what_it_needed(Path(job["modules"]))
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


class Forks:
    """The server, from the test's side."""

    def __init__(self, process, folder, environment):
        self._process = process
        self.folder = folder
        self._environment = environment

    def __call__(self, *arguments, die_at=None, trace=None, seconds=100.0, remember=False, clock=""):
        """(exit status, standard output, standard error) of a command; -9 if it was killed."""
        out, err = self.folder / "out.txt", self.folder / "err.txt"
        job = {
            "arguments": [str(argument) for argument in arguments],
            "folder": str(self.folder),
            "environment": self._environment,
            "out": str(out),
            "err": str(err),
            "die_at": die_at,
            "trace": trace and str(trace),
            "seconds": seconds,
            "remember": remember,
            "clock": clock,
            "modules": str(self.folder / "modules.txt"),
        }
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        assert answer["left_seconds"] < LEFT_SECONDS, "a process was left behind"
        return answer["code"], out.read_text(), err.read_text()


@contextmanager
def forking(folder, **environment):
    """A fork server whose commands run in `folder`."""
    for name in ("tmp", "cache"):
        (folder / name).mkdir(exist_ok=True)
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("RUNOFF_", "ANTHROPIC_", "OPENAI_"))}
    places = {"TMPDIR": str(folder / "tmp"), "RUNOFF_CACHE_DIR": str(folder / "cache"), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "tests.e2e.killing"]
    environment = {**inherited, **places, **environment}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdin=pipe, stdout=pipe, text=True) as process:
        try:
            yield Forks(process, folder, places)
        finally:
            process.stdin.close()


if __name__ == "__main__":
    serve()
