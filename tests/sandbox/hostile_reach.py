"""Scripts that reach for what is outside of the sandbox; written as those of `hostile` are."""

from __future__ import annotations

from tests.sandbox.hostile import ENDS

REACH_OUT = (
    """
import os, socket
def tries(what, call):
    try:
        call()
        print(what)
    except (OSError, OverflowError):
        pass
def udp():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"x", ("192.0.2.1", 53))
def connect(family, kind, address):
    with socket.socket(family, kind) as made:
        made.settimeout(2)
        made.connect(address)
tries("TCP to the world", lambda: socket.create_connection(("192.0.2.1", 80), 2).close())
tries("TCP over IPv6", lambda: socket.create_connection(("2001:db8::1", 80), 2).close())
tries("TCP to the host's loopback", lambda: socket.create_connection(("127.0.0.1", {port}), 2).close())
tries("UDP", udp)
tries("DNS", lambda: socket.getaddrinfo("example.org", 80))
tries("raw", lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP).close())
tries("packet", lambda: socket.socket(17, socket.SOCK_RAW).close())
tries("vsock", lambda: socket.socket(40, socket.SOCK_STREAM).close())
tries("alg", lambda: socket.socket(38, socket.SOCK_SEQPACKET).close())
tries("bluetooth", lambda: socket.socket(31, socket.SOCK_RAW).close())
tries("the host's abstract socket", lambda: connect(socket.AF_UNIX, socket.SOCK_STREAM, "\\0{abstract}"))
for path in ("/var/run/docker.sock", "/run/docker.sock", "/run/containerd/containerd.sock", "/run/dbus/system_bus_socket"):
    tries(path, lambda: connect(socket.AF_UNIX, socket.SOCK_STREAM, path))
print("interfaces:", *[name for _, name in socket.if_nameindex() if name not in ("lo", "tunl0", "sit0", "ip6tnl0")])
with socket.create_server(("127.0.0.1", 0)) as server:
    tries("its own loopback", lambda: socket.create_connection(server.getsockname(), 5).close())
"""
    + ENDS
)
HELD_IN = ["interfaces:", "its own loopback"]
"""What `REACH_OUT` says where no network is to be had."""

LOOK_AROUND = (
    """
import glob, os, sys
wanted = {secret!r}.encode()
if wanted in str(dict(os.environ)).encode():
    print("its environment")
for path in [{path!r}, "/var/run/docker.sock", "/run/docker.sock", "/root/.docker/config.json", "/root/.ssh", "/root/.netrc"]:
    if os.path.lexists(path):
        print(path)
for path in glob.glob("/proc/*/environ") + glob.glob("/proc/*/cmdline") + glob.glob("/proc/*/task/*/environ"):
    try:
        with open(path, "rb") as file:
            if wanted in file.read():
                print(path)
    except OSError:
        pass
for home in (os.environ["HOME"], "/root", *glob.glob("/home/*")):
    try:
        own = (".bashrc", ".profile", sys.base_prefix[len(home) + 1 :].partition("/")[0])  # the interpreter may live there
        left = [name for name in os.listdir(home) if name not in own]
    except OSError:
        continue
    if left:
        print(home, left)
"""
    + ENDS
)

WALK_PROC = (
    """
import glob, os
for path in ["/proc/kcore", "/proc/kmsg", "/proc/kpageflags", "/proc/sysrq-trigger", "/dev/mem", "/dev/kmsg", "/dev/port",
             *glob.glob("/dev/sd*"), *glob.glob("/dev/vd*"), *glob.glob("/dev/nvme*"), "/dev/fuse", "/dev/kvm", "/dev/vsock"]:
    for mode in ("rb", "r+b"):
        try:
            with open(path, mode, 0) as file:
                if path == "/proc/sysrq-trigger" or file.read(1):
                    print("opened", path, mode)
        except OSError:
            pass
for path in ["/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sys/vm/overcommit_memory",
             "/proc/irq/default_smp_affinity", "/proc/sys/fs/binfmt_misc/register", *glob.glob("/sys/fs/cgroup/**/cgroup.procs", recursive=True),
             *glob.glob("/sys/fs/cgroup/**/*limit_in_bytes", recursive=True), *glob.glob("/sys/fs/cgroup/**/*.max", recursive=True),
             *glob.glob("/sys/fs/cgroup/**/release_agent", recursive=True), "/sys/kernel/uevent_helper"]:
    try:
        os.close(os.open(path, os.O_WRONLY))
        print("may write", path)
    except OSError:
        pass
for pid in [name for name in os.listdir("/proc") if name.isdigit()]:
    with open("/proc/%s/status" % pid) as status:
        parent = [line.split()[1] for line in status if line.startswith("PPid")][0]
    if pid not in ("1", str(os.getpid())) or (pid == "1" and parent != "0"):
        print("sees process", pid)
for path in glob.glob("/proc/keys") + glob.glob("/proc/timer_list") + glob.glob("/proc/sched_debug"):
    try:
        with open(path, "rb") as file:
            if file.read(1):
                print("read", path)
    except OSError:
        pass
"""
    + ENDS
)

BREAK_OUT = (
    """
import ctypes, os, stat
libc = ctypes.CDLL(None, use_errno=True)
at = ("x86_64", "aarch64").index(os.uname().machine)
zeros = ctypes.create_string_buffer(256)
NUMBERS = {{"ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "kcmp": (312, 272),
    "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282), "add_key": (248, 217), "request_key": (249, 218),
    "keyctl": (250, 219), "open_by_handle_at": (304, 265), "kexec_load": (246, 104), "init_module": (175, 105),
    "finit_module": (313, 273), "delete_module": (176, 106), "reboot": (169, 142), "swapon": (167, 224), "swapoff": (168, 225),
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51), "setns": (308, 268),
    "syslog": (103, 116), "acct": (163, 89), "quotactl": (179, 60), "fanotify_init": (300, 262), "sethostname": (170, 161),
    "settimeofday": (164, 170), "io_uring_setup": (425, 425), "open_tree": (428, 428), "move_mount": (429, 429),
    "fsopen": (430, 430), "fsmount": (432, 432), "fspick": (433, 433), "pidfd_getfd": (438, 438), "mount_setattr": (442, 442)}}
place = ctypes.c_char_p(b"/tmp")
ARGUMENTS = {{"ptrace": (0, 0, 0, 0), "mount": (ctypes.c_char_p(b"x"), place, ctypes.c_char_p(b"tmpfs"), 0, None),
    "umount2": (place, 2), "pivot_root": (place, place), "chroot": (place,), "syslog": (3, zeros, 256), "keyctl": (0, -3, 1),
    "add_key": (ctypes.c_char_p(b"user"), ctypes.c_char_p(b"left"), zeros, 4, -3), "open_tree": (-100, place, 1),
    "process_vm_readv": (1, zeros, 0, zeros, 0, 0), "process_vm_writev": (1, zeros, 0, zeros, 0, 0), "kcmp": (1, os.getpid(), 2, 1, 1),
    "perf_event_open": (ctypes.create_string_buffer(bytes([1, 0, 0, 0, 112]) + bytes(107) + b"", 112), 0, -1, -1, 0),
    "userfaultfd": (1,), "io_uring_setup": (1, zeros), "fsopen": (ctypes.c_char_p(b"tmpfs"), 0), "bpf": (0, zeros, 48),
    "reboot": (0xfee1dead, 672274793, 0, 0), "sethostname": (place, 4), "acct": (None,), "fanotify_init": (0x200, 0),
    "settimeofday": (zeros, None), "swapon": (place, 0), "swapoff": (place,)}}
for name, number in NUMBERS.items():
    if libc.syscall(number[at], *ARGUMENTS.get(name, (0, 0, 0, 0, 0))) >= 0:
        print("called", name)
for flag, name in ((0x10000000, "user"), (0x20000, "mount"), (0x40000000, "network"), (0x20000000, "pid"), (0x8000000, "ipc")):
    if libc.unshare(flag) == 0:
        print("made a namespace:", name)
child = libc.syscall((56, 220)[at], 0x10000000 | 17, 0, 0, 0, 0)
if child == 0:
    os._exit(0)
if child > 0:
    print("cloned into a user namespace")
for kind, number in ((stat.S_IFCHR, os.makedev(1, 1)), (stat.S_IFBLK, os.makedev(254, 0))):
    try:
        os.mknod("/tmp/node", 0o600 | kind, number)
        print("made a device")
    except OSError:
        pass
with open("/proc/self/status") as lines:
    status = dict(line.split(":", 1) for line in lines)
held = [name for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb") if int(status[name], 16)]
if held or status["NoNewPrivs"].strip() != "1":
    print("has privileges:", held, status["NoNewPrivs"])
""".format()
    + ENDS
)
