"""Runs one job inside a sandbox, as its PID 1; all backends run this very code.

It must be PID 1 of a PID namespace of its own: the kernel then shields it from the script's signals, every orphan
becomes its child, and `kill(-1)` reaches whatever the script left behind. It makes itself undumpable, so that a script
of the same user can neither trace it nor open its descriptors. The result is one line of JSON on its standard output,
a descriptor that the script never gets. Only the standard library, Python 3.6 or later.

As a program it takes the path of its job (JSON), and removes the folder that it came in.
"""

import contextlib
import ctypes
import json
import os
import resource
import select
import shutil
import signal
import struct
import subprocess
import sys
import time
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

from sandbox.applying import Fault, Job, apply_patch, complaint

POLL_SECONDS = 0.05
REAP_SECONDS = 10.0
STALL_SECONDS = 1.0
STALLS_SECONDS = 30.0
CHUNK = 65536
UNPARSED = 126
"""Exit code given to a bash script that does not parse: bash itself would exit 2, which only a script may say."""
NOTHING = {"exit_code": None, "output": "", "seconds": 0.0, "apply_error": "", "limit": None}
"""The result of a job that came to nothing; every other is this with some of it filled in."""
OOM_KILLS = (("memory/memory.oom_control", "memory.events"), "oom_kill")
FORKS_REFUSED = (("pids/pids.events", "pids.events"), "max")
PR_SET_DUMPABLE = 4
PR_SET_NO_NEW_PRIVS = 38
PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 22, 2
TOLD = {signal.SIGUSR1: "disk", signal.SIGUSR2: "inodes"}
"""What the portable backend, which sees more of the disk than this process, tells by a signal."""


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
        self.looked, self.spare = time.monotonic(), STALLS_SECONDS
        self.deadline = self.looked + job["seconds"]
        self.told = None  # type: Optional[str]
        self.before = (counter(*OOM_KILLS) or 0, counter(*FORKS_REFUSED) or 0)  # a pool's container has seen other jobs
        signal.pthread_sigmask(signal.SIG_BLOCK, TOLD)

    def hear(self) -> Optional[str]:
        """What the backend tells: a signal of the script's has a sender that can be seen from here."""
        info = signal.sigtimedwait(TOLD, 0)
        while info:
            if info.si_code == 0 and info.si_pid == 0:
                self.told = TOLD[signal.Signals(info.si_signo)]
            info = signal.sigtimedwait(TOLD, 0)
        return self.told

    def reached(self) -> Optional[str]:
        now = time.monotonic()
        stalled = min(now - self.looked, self.spare)
        if stalled > STALL_SECONDS:  # a paused container or a machine that slept: the script stood still too
            self.deadline, self.spare = self.deadline + stalled, self.spare - stalled
        self.looked = now
        return "seconds" if now > self.deadline else self.exhausted()

    def exhausted(self) -> Optional[str]:
        """The limit that is reached, time aside. Building an environment is bounded by time alone."""
        if self.job.get("build"):
            return None
        return self.memory() or self.processes() or self.hear() or self.disk()

    def memory(self) -> Optional[str]:
        killed = (counter(*OOM_KILLS) or 0) > self.before[0]
        over = self.job.get("watch_memory") and resident_mb() > self.job["memory_mb"]
        return "memory" if killed or over else None

    def processes(self) -> Optional[str]:
        refused = counter(*FORKS_REFUSED)
        if refused is None:
            return "processes" if tasks_alive() > self.job["processes"] else None
        return "processes" if refused > self.before[1] else None

    def disk(self) -> Optional[str]:
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


def write_script(script: Dict[str, str]) -> str:
    """Put the script outside the tree, read-only and alone in its directory; returns its path."""
    directory = script["directory"]
    os.makedirs(directory, mode=0o755, exist_ok=True)
    path = os.path.join(directory, "script." + {"python": "py", "bash": "sh"}[script["language"]])
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o444), "wb") as file:
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
        signal.pthread_sigmask(signal.SIG_UNBLOCK, TOLD)
        refuse_calls(job.get("filters", {}).get(os.uname().machine, ""))
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


def refuse_calls(program: str) -> None:
    """Put the filter on this process, where none is on it yet and the kernel takes it: an emulated one may not."""
    code = bytes.fromhex(program)
    if code:
        held = ctypes.create_string_buffer(code, len(code))
        whole = ctypes.create_string_buffer(struct.pack("@HxxxxxxP", len(code) // 8, ctypes.addressof(held)), 16)
        ctypes.CDLL(None).prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, whole, 0, 0)


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


def put_patch(job: Job) -> Optional[Dict[str, Any]]:
    """The result of a job whose patch cannot be put on the tree; None once it is there."""
    before = counter(*OOM_KILLS) or 0
    reason = apply_patch(job)
    if reason and (counter(*OOM_KILLS) or 0) > before:
        return dict(NOTHING, exit_code=-int(signal.SIGKILL), limit="memory")
    return dict(NOTHING, apply_error=reason) if reason else None


def run(job: Job) -> Dict[str, Any]:
    """The job's result, as a dict."""
    os.makedirs(job["environment"]["HOME"], exist_ok=True)
    ending = put_patch(job) if job["patch"] else None
    if ending:
        return ending
    output = Output(job["output_chars"])
    command = command_for(job["script"], job["environment"])
    unparsed = complaint(command[:1] + ["-n", command[1]], "", 60.0) if job["script"]["language"] == "bash" else ""
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
    """The job; its folder goes, with what is being run here, so that it becomes no part of an image."""
    with open(path) as file:
        job: Job = json.load(file)
    shutil.rmtree(os.path.dirname(path), ignore_errors=True)
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
