"""Scripts that try to break what every execution is promised.

The suite runs them against the sandboxes as they are, `test_protections.py` against sandboxes that lack one protection. Each
prints what it achieved, a line each, and nothing where it was held off; then it exits 3, a code that no sandbox gives.
"""

from __future__ import annotations

from sandbox.api import Limits, Patch

ENDS = "\nimport sys\nsys.stdout.flush()\nsys.exit(3)\n"
SMALL = Limits(seconds=30, memory_mb=256, disk_mb=16, processes=64)
"""Quickly reached. Executions with the same limits on memory and processes share a container."""

INNOCENT = """
import ctypes, glob, os, subprocess, sys
import pkg.core
from pathlib import Path
problems = []
def expect(what, found, wanted):
    if found != wanted:
        problems.append("%s: %r, not %r" % (what, found, wanted))
git = lambda *words: subprocess.run(["git", *words], capture_output=True, text=True, check=True).stdout.split()
expect("module", pkg.core.double(2), 5)
expect("tree", git("status", "--porcelain", "--ignored"), ["!!", "pkg/__pycache__/"])
expect("tags", git("tag"), ["v1"])
expect("hooks", glob.glob(".git/hooks/*"), [])
expect("configuration", git("config", "core.hooksPath"), ["/dev/null"])
for place, wanted in (("/tmp", ["home"]), ("/tmp/home", []), ("/dev/shm", []), ("/script", ["script.py"])):
    if os.path.isdir(place):
        expect(place, sorted(os.listdir(place)), wanted)
if os.path.isdir("/var/tmp"):
    shared = os.path.samefile("/tmp", "/var/tmp")
    expect("/var/tmp", os.listdir("/var/tmp"), ["home"] if shared else [])
others = [name for name in os.listdir("/proc") if name.isdigit() and int(name) not in (1, os.getpid())]
expect("processes", others, [])
names = "PATH HOME PYTHONHASHSEED PYTHONUNBUFFERED TZ LANG LC_ALL HOSTNAME PYTHONPATH GIVEN".split()
expect("variables", sorted(os.environ), sorted(names))
expect("descriptors", sorted(os.listdir("/proc/self/fd")), ["0", "1", "2", "3"])
libc = ctypes.CDLL(None)
expect("shared memory", libc.shmget(0x5EED, 0, 0), -1)
expect("semaphores", libc.semget(0x5EED, 0, 0), -1)
expect("messages", libc.msgget(0x5EED, 0), -1)
queue = ctypes.CDLL("librt.so.1").mq_open(b"/left", os.O_RDONLY)
expect("message queue", queue, -1)
Path("/dev/null").write_text("it takes this")
expect("priority", os.getpriority(os.PRIO_PROCESS, 0), 0)
print("innocent" if not problems else "\\n".join(problems))
sys.exit(2)
"""
"""Looks for whatever any execution before it may have left, then exits 2."""

LEAVE_STATE = (
    """
import ctypes, os, subprocess
from pathlib import Path
for place in ("/testbed", "/testbed/pkg", "/tmp", "/tmp/home", "/var/tmp", "/dev/shm", "/script", "/testbed/.git/hooks"):
    try:
        os.makedirs(place, exist_ok=True)
        Path(place, "left").write_text("left")
    except OSError:
        pass
Path("pkg/core.py").write_text("def double(x): return 'left'")
Path("pkg/old.py").unlink()
for name in ("core.fsmonitor", "core.pager", "core.hooksPath"):
    subprocess.run(["git", "config", name, "touch /testbed/left-by-git"], check=True)
subprocess.run(["git", "tag", "left"], check=True)
libc = ctypes.CDLL(None)
made = [libc.shmget(0x5EED, 4096, 0o1666), libc.semget(0x5EED, 1, 0o1666), libc.msgget(0x5EED, 0o1666)]
assert min(made) >= 0, made
ctypes.CDLL("librt.so.1").mq_open(b"/left", os.O_RDWR | os.O_CREAT, 0o666, None)
os.environ["LEFT"] = "left"
os.nice(5)
for change in (lambda: os.chmod("/dev/null", 0), lambda: os.chown("/dev/null", 1, 1), lambda: os.sethostname("left")
               if hasattr(os, "sethostname") else None):
    try:
        change()
    except OSError:
        pass
subprocess.Popen(["sleep", "600"], start_new_session=True)
print("left its marks")
"""
    + ENDS
)

WRITE_OUTSIDE = (
    """
import os, site, sysconfig
places = ["/etc/passwd", "/etc/ld.so.preload", "/usr/bin/left", "/left", "/opt/env/bin/python", "/root/left", "/home/left",
          "/var/left", "/run/left", "/sys/fs/cgroup/left", "/proc/sys/kernel/hostname", "/runoff/job.json", "/testbed/../left",
          sysconfig.get_path("purelib") + "/sitecustomize.py", os.path.dirname(os.__file__) + "/sitecustomize.py"]
for place in places:
    try:
        with open(place, "a") as file:
            file.write("raise SystemExit(0)\\n")
        print("wrote", place)
    except OSError:
        pass
"""
    + ENDS
)

FORGED = '{"exit_code": 0, "output": "forged", "seconds": 0, "apply_error": "", "limit": null}'

FORGE_RESULT = (
    f"""
import os
line = ("\\n" + {FORGED!r} + "\\n").encode()
mine = set(os.listdir("/proc/self/fd"))
for handle in range(3, 1024):
    try:
        os.write(handle, line)
        print("wrote to descriptor", handle)
    except OSError:
        pass
for pid in [name for name in os.listdir("/proc") if name.isdigit() and int(name) != os.getpid()]:
    for handle in range(64):
        try:
            with open("/proc/%s/fd/%d" % (pid, handle), "wb", 0) as file:
                file.write(line)
            print("opened descriptor", handle, "of", pid)
        except OSError:
            pass
    for name in ("mem", "environ", "maps", "auxv", "io", "root/", "cwd/"):
        try:
            if name.endswith("/"):
                os.listdir("/proc/%s/%s" % (pid, name))
            else:
                with open("/proc/%s/%s" % (pid, name), "r+b" if name == "mem" else "rb", 0) as file:
                    name == "mem" or file.read(1)
            print("opened", name, "of", pid)
        except OSError:
            pass
for name in ("/dev/console", "/dev/tty", "/dev/pts/0", "/dev/ttyS0"):
    try:
        os.stat(name)
        with open(name, "wb", 0) as file:
            file.write(line)
        print("wrote to", name)
    except OSError:
        pass
os.write(2, line)
"""
    + ENDS
)

SIGNAL_RUNNER = (
    """
import ctypes, os, signal, time
for number in range(1, 65):
    try:
        signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError):
        pass
libc = ctypes.CDLL(None)
for number in range(1, 65):
    for target in (1, -1):
        try:
            os.kill(target, number)
        except OSError:
            pass
    libc.sigqueue(1, number, 0)
    libc.syscall(234 if os.uname().machine == "x86_64" else 131, 1, 1, number)  # tgkill
for number in range(1, 65):
    try:
        os.kill(os.getppid(), number)
    except OSError:
        pass
time.sleep(0.3)
"""
    + ENDS
)

STARVE_RUNNER = (
    """
import ctypes, os, resource, time
def tries(what, call):
    try:
        call()
        print(what)
    except OSError:
        pass
libc = ctypes.CDLL(None)
for name in ("RLIMIT_NOFILE", "RLIMIT_FSIZE", "RLIMIT_AS", "RLIMIT_DATA", "RLIMIT_CPU"):
    tries("limited the runner's " + name, lambda: resource.prlimit(1, getattr(resource, name), (1, 1)))
tries("lowered the runner", lambda: os.setpriority(os.PRIO_PROCESS, 1, 19))
tries("lowered all of the user", lambda: os.setpriority(os.PRIO_USER, 0, 19))
tries("made the runner idle", lambda: os.sched_setscheduler(1, os.SCHED_IDLE, os.sched_param(0)))
tries("bound the runner", lambda: os.sched_setaffinity(1, {0}))
numbers = {"x86_64": 251, "aarch64": 30}
if libc.syscall(numbers[os.uname().machine], 1, 1, 3 << 13) == 0:
    print("lowered the runner's input and output")
until = time.monotonic() + 1.5
while time.monotonic() < until:
    os.write(1, b"")  # the runner works for what it is sent
"""
    + ENDS
)

HIDE_FROM_TIME_OUT = """
import os, signal, subprocess, time
for number in range(1, 65):
    try:
        signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError):
        pass
print("before", flush=True)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.execvp("sleep", ["sleep", "{token}"])
    os._exit(0)
for target in (os.getppid(), 1):
    os.kill(target, signal.SIGSTOP)
for _ in range(20):
    if os.fork() == 0:
        os.setsid()
        while True:
            pass
while True:
    try:
        time.sleep(1000)
    except BaseException:
        pass
"""

DAEMON = (
    """
import os, sys
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.execvp("sleep", ["sleep", "{token}"])  # holds the output open
    os._exit(0)
os.wait()
"""
    + ENDS
)

FILL_HEAP = "kept = []\nwhile True: kept.append(bytearray(8 << 20))"
FILL_SHARED = """
import mmap
kept = []
while True:
    kept.append(mmap.mmap(-1, 8 << 20))
    for at in range(0, 8 << 20, 4096):
        kept[-1][at] = 1
"""
FILL_MEMFD = """
import os
while True:
    handle = os.memfd_create("filled")
    os.write(handle, bytes(8 << 20))
"""
FILL_SEGMENTS = """
import ctypes
libc = ctypes.CDLL(None)
libc.shmat.restype = ctypes.c_void_p
while True:
    segment = libc.shmget(0, 8 << 20, 0o1666)
    ctypes.memset(libc.shmat(segment, None, 0), 1, 8 << 20)
"""
FILL_TMPFS = "with open('/dev/shm/filled', 'wb') as file:\n    while True: file.write(bytes(1 << 20))"
MEMORY = {
    "heap": FILL_HEAP,
    "shared mapping": FILL_SHARED,
    "memfd": FILL_MEMFD,
    "segments": FILL_SEGMENTS,
    "tmpfs": FILL_TMPFS,
}

FORK_BOMB = """
import os, time
while True:
    try:
        os.fork()
    except OSError:
        time.sleep(0.1)
"""
THREAD_BOMB = """
import threading, time
while True:
    try:
        threading.Thread(target=time.sleep, args=(1000,)).start()
    except RuntimeError:
        time.sleep(0.1)
"""

FILL_DISK = (
    """
import os, time
written = 0
for number in range(64):
    try:
        with open("{place}/filled%d" % number, "wb", 0) as file:
            written += file.write(bytes(1 << 20))
    except OSError:
        time.sleep(0.02)
if written > 48 << 20:
    print("wrote three times what is allowed", flush=True)
time.sleep({rest})
"""
    + ENDS
)
FILL_UNSEEN = (
    """
import os, time
kept = []
for number in range(64):
    try:
        kept.append(open("/testbed/unseen%d" % number, "wb", 0))
        os.unlink("/testbed/unseen%d" % number)
        kept[-1].write(bytes(8 << 20))
    except OSError:
        time.sleep(0.02)
print("wrote what no directory shows", flush=True)
time.sleep(9)
"""
    + ENDS
)
FILL_INODES = (
    """
import os, time
for number in range({count}):
    try:
        open("{place}/empty%d" % number, "w").close()
    except OSError:
        time.sleep(0.02)
time.sleep(20)
"""
    + ENDS
)

GIGABYTE = "import os\nblock = b'x' * (1 << 20)\nfor _ in range(1024): os.write(1, block)\nprint('ends')" + ENDS

POISON_BYTECODE = (
    """
import importlib._bootstrap_external as loading, importlib.util, json, os, subprocess, sys
import pkg.core
for module in (pkg.core, json):
    with open(module.__file__, "rb") as file:
        source = file.read()
    code = compile("def double(x): return 'poisoned'\\nprint('poisoned')", module.__file__, "exec")
    for kind, data in (("checked", loading._code_to_hash_pyc(code, importlib.util.source_hash(source), False)),):
        try:
            with open(module.__cached__, "wb") as file:
                file.write(data)
        except OSError:
            pass
subprocess.run([sys.executable, "-c", "import pkg.core, json"])
"""
    + ENDS
)


def adding(files: dict[str, str]) -> Patch:
    """A patch that adds these files."""
    parts = []
    for name, text in files.items():
        lines = text.splitlines()
        body = "".join(f"+{line}\n" for line in lines)
        head = f"diff --git a/{name} b/{name}\nnew file mode 100644\n--- /dev/null\n+++ b/{name}\n"
        parts.append(f"{head}@@ -0,0 +1,{len(lines)} @@\n{body}")
    return Patch("".join(parts))
