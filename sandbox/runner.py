"""Runs one job inside a sandbox, as its PID 1; all backends run this very file.

It must be PID 1 of a PID namespace of its own: the kernel then shields it from the script's signals, every orphan
becomes its child, and `kill(-1)` reaches whatever the script left behind. It makes itself undumpable, so that a script
of the same user can neither trace it nor open its descriptors. The result is one line of JSON on its standard output,
a descriptor that the script never gets. Only the standard library, Python 3.6 or later.

    runner.py JOB.json
"""

import contextlib
import ctypes
import json
import os
import resource
import select
import shutil
import signal
import subprocess
import sys
import time
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

Job = Dict[str, Any]
POLL_SECONDS = 0.05
REAP_SECONDS = 10.0
CHUNK = 65536
UNPARSED = 126
"""Exit code given to a bash script that does not parse: bash itself would exit 2, which only a script may say."""
NOTHING = {"exit_code": None, "output": "", "seconds": 0.0, "apply_error": "", "limit": None}
"""The result of a job that came to nothing; every other is this with some of it filled in."""
OOM_KILLS = (("memory/memory.oom_control", "memory.events"), "oom_kill")
FORKS_REFUSED = (("pids/pids.events", "pids.events"), "max")
PR_SET_DUMPABLE = 4
PR_SET_NO_NEW_PRIVS = 38
GIT_OPTIONS = ["-c", "core.hooksPath=/dev/null", "-c", "core.autocrlf=false"]


class Fault(Exception):
    """The sandbox, not the script, is at fault."""


class Output:
    """Head and tail of a stream of any length, in bounded memory."""

    def __init__(self, chars: int) -> None:
        self.chars = max(200, chars)
        self.half = self.chars * 2  # bytes: half of the characters, four bytes each
        self.head = bytearray()
        self.tail = bytearray()
        self.total = 0

    def add(self, data: bytes) -> None:
        self.total += len(data)
        room = self.half - len(self.head)
        if room > 0:
            self.head += data[:room]
            data = data[room:]
        self.tail += data
        if len(self.tail) > 4 * self.half + CHUNK:
            del self.tail[: -self.half]

    def text(self) -> Tuple[str, bool]:
        """(text, whether something was cut)."""
        if self.total <= self.half * 2:
            text = bytes(self.head + self.tail).decode("utf-8", "replace")
            if len(text) <= self.chars:
                return text, False
            head, tail, left_out = text, text, len(text) - self.chars
        else:
            head = bytes(self.head).decode("utf-8", "replace")
            tail = bytes(self.tail[-self.half :]).decode("utf-8", "replace")
            left_out = self.total - self.chars
        marker = "\n[... about %d characters cut ...]\n" % left_out
        keep = (self.chars - len(marker)) // 2
        return head[:keep] + marker + tail[-keep:], True


class Watch:
    """Says which limit an execution has reached, from what the kernel counts."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.deadline = time.monotonic() + job["seconds"]
        self.disk_signal = False
        self.before = (counter(*OOM_KILLS) or 0, counter(*FORKS_REFUSED) or 0)  # a pool's container has seen other jobs
        signal.signal(signal.SIGUSR1, self._on_disk)

    def _on_disk(self, number: int, frame: Any) -> None:
        self.disk_signal = True

    def reached(self) -> Optional[str]:
        if time.monotonic() > self.deadline:
            return "seconds"
        return self.exhausted()

    def exhausted(self) -> Optional[str]:
        """The limit that is reached, time aside. Building an environment is bounded by time alone."""
        if self.job.get("build"):
            return None
        return self.memory() or self.processes() or self.disk()

    def memory(self) -> Optional[str]:
        if (counter(*OOM_KILLS) or 0) > self.before[0]:
            return "memory"
        if self.job.get("watch_memory") and resident_mb() > self.job["memory_mb"]:
            return "memory"
        return None

    def processes(self) -> Optional[str]:
        refused = counter(*FORKS_REFUSED)
        if refused is None:
            return "processes" if tasks_alive() > self.job["processes"] else None
        return "processes" if refused > self.before[1] else None

    def disk(self) -> Optional[str]:
        if self.disk_signal:
            return "disk"
        for path in self.job.get("volumes", ()):
            space = os.statvfs(path)
            if space.f_blocks and space.f_bavail == 0:
                return "disk"
            if space.f_files and space.f_ffree == 0:
                return "inodes"
        return None


def counter(names: Sequence[str], key: str) -> Optional[int]:
    """A counter of the sandbox's own cgroup (version 1 or 2); None if the kernel does not show it here."""
    for name in names:
        try:
            with open("/sys/fs/cgroup/" + name) as lines:
                for line in lines:
                    words = line.split()
                    if words and words[0] == key:
                        return int(words[1])
        except OSError:
            continue
    return None


def summed(read: Callable[[str], int]) -> int:
    """The sum of something over the processes beside the runner; zero where /proc shows another PID namespace."""
    total = 0
    for name in os.listdir("/proc") if os.readlink("/proc/self") == "1" else ():
        if name.isdigit() and name != "1":
            with contextlib.suppress(OSError, IndexError):  # it has just ended
                total += read("/proc/" + name)
    return total


def resident_mb() -> float:
    def pages(place: str) -> int:
        with open(place + "/statm") as statm:
            return int(statm.read().split()[1])

    return summed(pages) * resource.getpagesize() / (1 << 20)


def tasks_alive() -> int:
    return summed(lambda place: len(os.listdir(place + "/task")))


def seal() -> None:
    """Shut the script out of this process, and privileges out of the script."""
    if os.getpid() != 1:
        raise Fault("the runner is not PID 1 of its sandbox")
    libc = ctypes.CDLL(None, use_errno=True)
    for option, value in ((PR_SET_DUMPABLE, 0), (PR_SET_NO_NEW_PRIVS, 1)):
        if libc.prctl(option, value, 0, 0, 0) != 0:
            raise Fault("prctl(%d): %s" % (option, os.strerror(ctypes.get_errno())))
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # for PID 1 the default is to ignore it


def apply_patch(diff: str, workdir: str) -> str:
    """Put the diff on the tree; returns why it cannot be, or an empty string."""
    environment = {"PATH": os.environ.get("PATH", os.defpath), "HOME": "/nonexistent", "LC_ALL": "C.UTF-8"}
    environment.update(GIT_CONFIG_NOSYSTEM="1", GIT_CONFIG_GLOBAL="/dev/null")
    if os.path.isdir(os.path.join(workdir, ".git")):
        # Named outright, so that git asks no questions about the owner of the directory.
        environment.update(GIT_DIR=os.path.join(workdir, ".git"), GIT_WORK_TREE=workdir)
    git = ["git"] + GIT_OPTIONS + ["apply", "--whitespace=nowarn"]
    loose = ["patch", "-p1", "--unified", "--batch", "--forward", "--fuzz=5", "--no-backup-if-mismatch", "-r", "-"]
    reasons = []
    for commands in ([git + ["-"]], [git + ["--ignore-whitespace", "-"]], [loose + ["--dry-run"], loose]):
        if shutil.which(commands[0][0], path=environment["PATH"]) is None:
            continue
        for command in commands:
            reason = complaint(command, diff, cwd=workdir, env=environment)
            if reason:
                break
        else:
            return ""
        reasons.append(reason)
    if not reasons:
        raise Fault("neither git nor patch is installed in the environment")
    return reasons[0]


def complaint(command: List[str], data: str, **settings: Any) -> str:
    """What a command says if it fails; an empty string if it does not."""
    text = data.encode("utf-8", "surrogateescape")
    done = subprocess.run(command, input=text, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=120, **settings)
    said = done.stdout.decode("utf-8", "replace").strip()[:2000]
    return "" if done.returncode == 0 else said or "%s failed" % command[0]


def write_script(script: Dict[str, str]) -> str:
    """Put the script outside the tree, read-only and alone in its directory; returns its path."""
    directory = script["directory"]
    os.makedirs(directory, mode=0o755, exist_ok=True)
    path = os.path.join(directory, "script." + {"python": "py", "bash": "sh"}[script["language"]])
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o444)
    with os.fdopen(handle, "wb") as file:
        file.write(script["text"].encode("utf-8", "surrogateescape"))
    os.chmod(directory, 0o555)
    return path


def command_for(script: Dict[str, str], environment: Dict[str, str]) -> List[str]:
    path = write_script(script)
    names = {"python": ["python", "python3"], "bash": ["bash"]}[script["language"]]
    for name in names:
        interpreter = shutil.which(name, path=environment["PATH"])
        if interpreter:
            return [interpreter, path]
    raise Fault("no %s on the environment's PATH" % " or ".join(names))


def bound(job: Job) -> Callable[[], None]:
    """The limits that the kernel holds for each process; runs in the script's process before it is replaced."""

    def apply() -> None:
        os.umask(0o022)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if job.get("file_mb"):
            resource.setrlimit(resource.RLIMIT_FSIZE, (job["file_mb"] << 20,) * 2)
        if job.get("rlimit_processes"):
            resource.setrlimit(resource.RLIMIT_NPROC, (job["rlimit_processes"],) * 2)
        if job.get("watch_memory"):
            resource.setrlimit(resource.RLIMIT_DATA, (2 * job["memory_mb"] << 20,) * 2)
        with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
            file.write("1000")  # when memory runs out the script goes, not the runner

    return apply


def reap(child: int) -> Optional[int]:
    """Collect what has ended; returns the child's wait status once it is among it."""
    status = None
    while True:
        try:
            pid, ended = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return status
        if pid == 0:
            return status
        if pid == child:
            status = ended


def wake_at_exits() -> int:
    """A descriptor that can be read as soon as any process has ended."""
    wakes, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.set_wakeup_fd(writer)
    return wakes


def supervise(child: int, reader: int, output: Output, watch: Watch, wakes: int) -> Tuple[Optional[int], Optional[str]]:
    """Until the script ends or reaches a limit; returns (wait status or None, limit or None)."""
    looked, sources = 0.0, [reader, wakes]
    while True:
        more = False
        ready = select.select(sources, [], [], POLL_SECONDS)[0]
        if wakes in ready:
            os.read(wakes, CHUNK)
        if reader in ready:
            data = os.read(reader, CHUNK)
            output.add(data)
            more = bool(data)
            sources = sources if more else [wakes]
        now = time.monotonic()
        if more and now - looked < POLL_SECONDS:
            continue
        status = reap(child)
        if status is not None:
            return status, None
        if now - looked >= POLL_SECONDS:
            looked = now
            limit = watch.reached()
            if limit:
                return None, limit


def kill_all(child: int) -> Optional[int]:
    """End every other process of the sandbox and wait for it; returns the child's wait status if it was among them."""
    deadline = time.monotonic() + REAP_SECONDS
    status = None
    while time.monotonic() < deadline:
        try:
            os.kill(-1, signal.SIGKILL)
        except ProcessLookupError:
            reap(child)
            return status
        ended = reap(child)
        status = ended if ended is not None else status
        time.sleep(0.002)
    raise Fault("processes of the script could not be ended")


def drain(reader: int, output: Output) -> None:
    os.set_blocking(reader, False)
    while True:
        try:
            data = os.read(reader, CHUNK)
        except BlockingIOError:
            return
        if not data:
            return
        output.add(data)


def exit_code(status: int) -> int:
    return os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status)


def start(command: List[str], job: Job, writer: int) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=writer,
        stderr=writer,
        close_fds=True,
        start_new_session=True,
        preexec_fn=bound(job),
        env=job["environment"],
        cwd=job["workdir"],
    )


def run(job: Job) -> Dict[str, Any]:
    """The job's result, as a dict."""
    os.makedirs(job["environment"]["HOME"], exist_ok=True)
    if job["patch"]:
        reason = apply_patch(job["patch"], job["workdir"])
        if reason:
            return dict(NOTHING, apply_error=reason)
    output = Output(job["output_chars"])
    command = command_for(job["script"], job["environment"])
    unparsed = complaint(command[:1] + ["-n", command[1]], "") if job["script"]["language"] == "bash" else ""
    if unparsed:
        return dict(NOTHING, exit_code=UNPARSED, output=unparsed)
    reader, writer = os.pipe()
    watch, wakes = Watch(job), wake_at_exits()
    started = time.monotonic()
    try:
        process = start(command, job, writer)
    except (OSError, subprocess.SubprocessError) as error:
        raise Fault("cannot start %s: %s" % (command[0], error))
    os.close(writer)
    status, limit = supervise(process.pid, reader, output, watch, wakes)
    seconds = time.monotonic() - started
    killed = kill_all(process.pid)
    process.returncode = 0  # reaped above; keeps subprocess from waiting for it again
    drain(reader, output)
    text, cut = output.text()
    limit = limit or watch.exhausted() or ("output" if cut else None)
    ended = status if status is not None else killed if killed is not None else int(signal.SIGKILL)
    return dict(NOTHING, exit_code=exit_code(ended), output=text, seconds=seconds, limit=limit)


def read_job(path: str) -> Job:
    """The job; its file and this one go, so that neither becomes part of an image."""
    with open(path) as file:
        job: Job = json.load(file)
    for name in (path, os.path.abspath(__file__)):
        with contextlib.suppress(OSError):  # the local backend's root is read-only and temporary anyway
            os.unlink(name)
    return job


def main() -> None:
    try:
        seal()
        job = read_job(sys.argv[1])
        result = run(job)
        if job.get("build"):
            shutil.rmtree(job["script"]["directory"], ignore_errors=True)
    except Fault as fault:
        result = {"fault": str(fault)}
    except (OSError, subprocess.SubprocessError) as error:
        result = {"fault": "%s: %s" % (type(error).__name__, error)}
    sys.stdout.write(json.dumps(result) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
