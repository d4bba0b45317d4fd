"""Builds the root and the namespaces that a runner is started in.

A module of `pooled_runner`, which is started on the host for the local backend and inside a container for the fast path of
Docker. The root is an empty tmpfs with read-only binds of programs and libraries (the host's, or all of the image's), the
tree under an overlay whose upper layer is a tmpfs of limited size, and nothing else. With privileges (root on the host) the
mounts are made with them and then all are given up for another, unprivileged user; without, a user namespace lends them.
Only the standard library, Python 3.6 or later; nothing of ours can be imported here.
"""

import ctypes
import fcntl
import os
import shutil
import signal
import socket
import struct
from typing import Any, Dict

Plan = Dict[str, Any]
CLONE = {
    "mount": 0x00020000,
    "cgroup": 0x02000000,
    "uts": 0x04000000,
    "ipc": 0x08000000,
    "user": 0x10000000,
    "pid": 0x20000000,
}
CLONE_NEWNET = 0x40000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_REMOUNT = 1, 2, 4, 8, 32
MS_BIND, MS_MOVE, MS_REC, MS_PRIVATE = 4096, 8192, 16384, 1 << 18
MNT_DETACH = 2
PR_SET_PDEATHSIG, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 1, 24, 38
PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 22, 2
SYS_MOUNT_SETATTR, AT_FDCWD, AT_RECURSIVE, MOUNT_ATTR_RDONLY = 442, -100, 0x8000, 1
CAPABILITY_VERSION_3 = 0x20080522
SYSTEM = ("bin", "sbin", "lib", "lib32", "lib64", "libx32", "usr")
ETC = ("ld.so.cache", "ld.so.conf", "ld.so.conf.d", "alternatives", "os-release", "debian_version", "mime.types")
NOT_OF_THE_IMAGE = {"dev", "proc", "runoff", "script", "sys", "testbed", "tmp"}
MASKED = (
    "acpi",
    "asound",
    "interrupts",
    "kcore",
    "keys",
    "latency_stats",
    "sched_debug",
    "scsi",
    "timer_list",
    "timer_stats",
)
"""What of /proc tells about the machine rather than the execution; container engines hide the same."""
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
LIBC = ctypes.CDLL(None, use_errno=True)


class Refused(Exception):
    """The kernel refused something that the sandbox cannot do without."""


def check(result: int, what: str) -> int:
    """Raise Refused, with what the kernel says, for a negative result."""
    if result < 0:
        raise Refused(f"{what}: {os.strerror(ctypes.get_errno())}")
    return result


def mount(source: str, target: str, kind: str = "", flags: int = 0, options: str = "") -> None:
    """The system call. Raises Refused."""
    texts = [text.encode() if text else None for text in (source, target, kind)]
    check(LIBC.mount(*texts, ctypes.c_ulong(flags), options.encode() or None), f"mount {kind or 'bind'} on {target}")


def read_only(target: str, *, below: bool = True) -> None:
    """Make a mount read-only, with what is mounted below it where the kernel can (5.12)."""
    attributes = struct.pack("=QQQQ", MOUNT_ATTR_RDONLY, 0, 0, 0)
    flags = AT_RECURSIVE if below else 0
    if LIBC.syscall(SYS_MOUNT_SETATTR, AT_FDCWD, target.encode(), flags, attributes, len(attributes)) == 0:
        return
    kept = os.statvfs(target).f_flag & (MS_NOSUID | MS_NODEV | MS_NOEXEC | 1024 | 2048)
    extra = 1 << 21 if kept & 4096 else 0  # ST_RELATIME and MS_RELATIME differ
    mount("", target, flags=MS_REMOUNT | MS_BIND | MS_RDONLY | kept | extra)


def bind(source: str, target: str, *, writable: bool = False) -> None:
    """Show a file or directory of the host's at `target`, which is made."""
    if os.path.isdir(source):
        os.makedirs(target, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(target, "ab"):
            pass
    mount(source, target, flags=MS_BIND | MS_REC)
    if not writable:
        read_only(target)


def enter_user_namespace() -> None:
    """Borrow privileges: a user namespace that knows this process's user only."""
    uid, gid = os.geteuid(), os.getegid()
    check(LIBC.unshare(CLONE["user"]), "a user namespace")
    for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        try:
            handle = os.open(f"/proc/self/{name}", os.O_WRONLY)
            try:
                os.write(handle, text.encode())
            finally:
                os.close(handle)
        except OSError as error:
            raise Refused(f"a user namespace ({name}): {error.strerror}") from error


def build_root(plan: Plan, stage: str) -> str:
    """Mount the new root below `stage`; returns where it is."""
    mount("tmpfs", stage, "tmpfs", MS_NOSUID | MS_NODEV, "mode=755")
    root, work = f"{stage}/root", f"{stage}/work"
    for place in (root, work):
        os.mkdir(place)
    mount("tmpfs", root, "tmpfs", MS_NOSUID | MS_NODEV, "mode=755,size=16m")
    if plan["disk_mb"]:
        mount("tmpfs", work, "tmpfs", MS_NOSUID | MS_NODEV, f"mode=755,size={plan['disk_mb']}m,nr_inodes={plan['inodes']}")
    for name in ("tmp", "shm", "script"):
        os.mkdir(f"{work}/{name}")
        os.chmod(f"{work}/{name}", 0o1777)
    if plan["uid"]:
        os.chown(f"{work}/script", plan["uid"], plan["uid"])
    show_programs(plan, root, work)
    fill_dev(root)
    bind(f"{work}/shm", f"{root}/dev/shm", writable=True)
    bind(plan["tmp"] or f"{work}/tmp", f"{root}/tmp", writable=True)
    bind(f"{work}/script", f"{root}/script", writable=True)
    for source, target, writable in plan["binds"]:
        bind(source, root + target, writable=writable)
    put_tree(plan, stage, f"{root}{plan['job']['workdir']}")
    mount_proc(f"{root}/proc")
    return root


def show_programs(plan: Plan, root: str, work: str) -> None:
    """Read-only binds of the host's programs and libraries, or of all that a container's image has."""
    whole = plan.get("image")
    for name in sorted(set(os.listdir("/")) - NOT_OF_THE_IMAGE) if whole else SYSTEM:
        if os.path.islink(f"/{name}"):
            os.symlink(os.readlink(f"/{name}"), f"{root}/{name}")
        elif os.path.isdir(f"/{name}"):
            bind(f"/{name}", f"{root}/{name}")
    if not whole:
        fill_etc(plan, root)
        return
    bind("/sys/fs/cgroup", f"{root}/sys/fs/cgroup")
    if os.path.isdir("/var/tmp") and not os.path.islink("/var"):
        bind(f"{work}/tmp", f"{root}/var/tmp", writable=True)


def fill_etc(plan: Plan, root: str) -> None:
    """The few files of /etc that programs cannot do without; users and hosts are made up."""
    os.mkdir(f"{root}/etc")
    for name in ETC:
        if os.path.exists(f"/etc/{name}"):
            bind(f"/etc/{name}", f"{root}/etc/{name}")
    uid, gid = plan["uid"] or os.geteuid(), plan["uid"] or os.getegid()
    texts = {
        "passwd": f"root:x:0:0:root:/root:/bin/sh\nrunoff:x:{uid}:{gid}:runoff:/tmp/home:/bin/sh\n",
        "group": f"root:x:0:\nrunoff:x:{gid}:\n",
        "hosts": f"127.0.0.1 localhost {plan['host_name']}\n::1 localhost\n",
        "hostname": f"{plan['host_name']}\n",
        "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
    }
    for name, text in texts.items():
        with open(f"{root}/etc/{name}", "w", encoding="utf-8") as file:
            file.write(text)


def fill_dev(root: str) -> None:
    """Devices that hold no state, and a private set of pseudo-terminals."""
    os.mkdir(f"{root}/dev")
    for name in DEVICES:
        if os.path.exists(f"/dev/{name}"):
            bind(f"/dev/{name}", f"{root}/dev/{name}")  # may be written to all the same, but keeps its mode and owner
    for name, target in (("fd", "self/fd"), ("stdin", "self/fd/0"), ("stdout", "self/fd/1"), ("stderr", "self/fd/2")):
        os.symlink(f"/proc/{target}", f"{root}/dev/{name}")
    os.mkdir(f"{root}/dev/pts")
    try:
        mount("devpts", f"{root}/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=620")
        os.symlink("pts/ptmx", f"{root}/dev/ptmx")
    except Refused:
        pass  # a script can do without pseudo-terminals


def put_tree(plan: Plan, stage: str, target: str) -> None:
    """The tree at its place: itself for a build, else an overlay on it, else a copy where overlays are refused."""
    os.makedirs(target)
    if not plan["overlay"]:
        bind(plan["tree"], target, writable=True)
        return
    lower, above = f"{stage}/lower", plan.get("upper") or f"{stage}/work"
    bind(plan["tree"], lower)
    upper, scratch = f"{above}/upper", f"{above}/overlay"
    for place in (upper, scratch):
        os.mkdir(place)
        if plan["uid"]:
            os.chown(place, plan["uid"], plan["uid"])
    lowers = ":".join([*plan.get("layers", ()), lower])
    options = f"lowerdir={lowers},upperdir={upper},workdir={scratch}"
    # Without userxattr a user namespace gets an overlay that cannot tell a new directory from a deleted one.
    attempts = [options, f"{options},userxattr"] if plan["uid"] else [f"{options},userxattr", options]
    if plan.get("image"):
        attempts = attempts[:1]  # patch layers are made with it, and a container has another way: the portable one
    for attempt in attempts:
        try:
            mount("overlay", target, "overlay", MS_NOSUID | MS_NODEV, attempt)
            return
        except Refused:
            if plan.get("image"):
                raise
    copy_tree(plan, stage, lower, target)


def copy_tree(plan: Plan, stage: str, lower: str, target: str) -> None:
    """A copy of the tree in memory, on top of the space that the script may fill."""
    size = sum(os.lstat(os.path.join(place, name)).st_blocks for place, _, names in os.walk(lower) for name in names) * 512
    enlarged = plan["disk_mb"] + (size * 5 // 4 >> 20) + 1
    mount("", f"{stage}/work", "tmpfs", MS_REMOUNT | MS_NOSUID | MS_NODEV, f"size={enlarged}m,nr_inodes=0")
    copy = f"{stage}/work/copy"
    shutil.copytree(lower, copy, symlinks=True)
    if plan["uid"]:
        for place, directories, names in os.walk(copy):
            for name in (".", *directories, *names):
                os.lchown(os.path.join(place, name), plan["uid"], plan["uid"])
    bind(copy, target, writable=True)


def mount_proc(target: str) -> None:
    """A /proc of the new PID namespace, read-only.

    Where the kernel refuses one (inside a container, as an ordinary user) there is no sandbox: the old /proc would show the
    host's processes, and what the script uses could not be counted.
    """
    os.mkdir(target)
    mount("proc", target, "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    for name in MASKED:
        place = f"{target}/{name}"
        if os.path.isdir(place):
            mount("tmpfs", place, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY, "size=0,mode=555")
        elif os.path.exists(place):
            mount("/dev/null", place, flags=MS_BIND)
    read_only(target)


def change_root(root: str) -> None:
    """Make `root` the root and let go of the old one."""
    read_only(root, below=False)
    os.chdir(root)
    if LIBC.syscall({"x86_64": 155, "aarch64": 41}.get(os.uname().machine, -1), b".", b".") == 0:
        check(LIBC.umount2(b".", MNT_DETACH), "letting go of the old root")
    else:  # the old root is one that cannot be pivoted from
        mount(root, "/", flags=MS_MOVE)
        os.chroot(".")
    os.chdir("/")


def raise_loopback() -> None:
    """Let the new network namespace talk to itself."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        fcntl.ioctl(probe, 0x8914, struct.pack("16sh14x", b"lo", 0x41))  # SIOCSIFFLAGS, up and running


def drop_privileges(uid: int, filter_program: bytes) -> None:
    """Keep no capability, in any set, for good, and refuse the system calls that the filter (`seccomp`) names."""
    for capability in range(64):
        if LIBC.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) != 0:
            break
    if uid:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    header, nothing = struct.pack("=Ii", CAPABILITY_VERSION_3, 0), struct.pack("=6I", 0, 0, 0, 0, 0, 0)
    check(LIBC.capset(header, nothing), "dropping capabilities")
    check(LIBC.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no new privileges")
    if filter_program:
        code = ctypes.create_string_buffer(filter_program, len(filter_program))
        whole = ctypes.create_string_buffer(struct.pack("@HxxxxxxP", len(filter_program) // 8, ctypes.addressof(code)), 16)
        check(LIBC.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, whole, 0, 0), "a filter of system calls")
    check(LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "a signal at the parent's death")


def enter(plan: Plan) -> None:
    """Put this process's children into namespaces of their own. Raises Refused."""
    if not plan["uid"]:
        enter_user_namespace()
    spaces = CLONE["mount"] | CLONE["pid"] | CLONE["ipc"] | CLONE["uts"]
    check(LIBC.unshare(spaces | (0 if plan["network"] else CLONE_NEWNET)), "namespaces")


def confine(plan: Plan) -> None:
    """As the first process of the new PID namespace: build the root, move in, and give up all privileges. Raises Refused."""
    check(LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "a signal at the parent's death")
    mount("", "/", flags=MS_REC | MS_PRIVATE)
    socket.sethostname(plan["host_name"])
    if not plan["network"]:
        raise_loopback()
    change_root(build_root(plan, plan["stage"]))
    drop_privileges(plan["uid"], bytes.fromhex(plan["filters"].get(os.uname().machine, "")))
