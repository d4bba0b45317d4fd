"""The system calls that are refused: to scripts as a BPF program, to a pool's containers as a profile for the engine.

Capabilities are gone by the time a script runs, but a new user namespace would hand out a full set of them again. What
a container engine refuses by default and a test of a library does not miss is refused here too. So is what one process
may do to another of the same user where that other is the runner, PID 1: lower its limits or its priority; and
sockets that no network namespace holds back, such as those between a virtual machine and its host. The container's profile
is the wider one: the runner in it makes namespaces and mounts, which the engine's own profile allows to nobody without
CAP_SYS_ADMIN. Every script inside is under the program as well.
"""

from __future__ import annotations

import json
import os
import struct

# Linux, arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h
AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
REFUSED = {
    "x86_64": (
        *(101, 103, 155, 161, 163, 165, 166, 167, 168, 169, 172, 173, 175, 176, 179, 246, 248, 249, 250, 272, 298, 300),
        *(304, 308, 310, 311, 312, 313, 321, 323),
    ),
    "aarch64": (
        *(39, 40, 41, 51, 60, 89, 97, 104, 105, 106, 116, 117, 142, 217, 218, 219, 224, 225, 241, 262, 265, 268, 270),
        *(271, 272, 273, 280, 282),
    ),
}
"""ptrace, syslog, pivot_root, chroot, acct, mount, umount2, swapon, swapoff, reboot, iopl, ioperm, init_module,
delete_module, quotactl, kexec_load, add_key, request_key, keyctl, unshare, perf_event_open, fanotify_init,
open_by_handle_at, setns, process_vm_readv, process_vm_writev, kcmp, finit_module, bpf, userfaultfd."""
REFUSED_EVERYWHERE = (425, 426, 427, 428, 429, 430, 431, 432, 433, 438, 440, 442)
"""io_uring_setup, io_uring_enter, io_uring_register, open_tree, move_mount, fsopen, fsconfig, fsmount, fspick, pidfd_getfd,
process_madvise, mount_setattr: the same numbers on every architecture."""
RUNNER_PID = 1
PRIO_USER, IOPRIO_WHO_USER = 2, 3
REFUSED_WITH: dict[str, dict[int, tuple[tuple[int, int], ...]]] = {
    "x86_64": {
        **dict.fromkeys((142, 144, 203, 302, 314), ((0, RUNNER_PID),)),
        141: ((0, PRIO_USER), (1, RUNNER_PID)),
        251: ((0, IOPRIO_WHO_USER), (1, RUNNER_PID)),
    },
    "aarch64": {
        **dict.fromkeys((118, 119, 122, 261, 274), ((0, RUNNER_PID),)),
        140: ((0, PRIO_USER), (1, RUNNER_PID)),
        30: ((0, IOPRIO_WHO_USER), (1, RUNNER_PID)),
    },
}
"""By number: (argument, value) that make it refused. sched_setparam, sched_setscheduler, sched_setaffinity, prlimit64 and
sched_setattr of the runner; setpriority and ioprio_set of the runner, or of all processes of the user, it among them."""
SOCKET = {"x86_64": 41, "aarch64": 198}
FAMILIES = (0, 1, 2, 10, 16)
"""AF_UNSPEC, AF_UNIX, AF_INET, AF_INET6, AF_NETLINK: what a network namespace bounds. AF_VSOCK, for one, is not bounded."""
CLONE = {"x86_64": 56, "aarch64": 220}
CLONE3 = 435
X32_BIT = 0x40000000
NEW_NAMESPACES = 0x7E020000
"""CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET."""

REFUSED_TO_CONTAINERS = (
    *("acct", "add_key", "bpf", "clock_adjtime", "clock_settime", "create_module", "delete_module", "fanotify_init"),
    *("finit_module", "fsconfig", "fsmount", "fsopen", "fspick", "get_kernel_syms", "init_module", "io_uring_enter"),
    *("io_uring_register", "io_uring_setup", "ioperm", "iopl", "kcmp", "kexec_file_load", "kexec_load", "keyctl"),
    *("lookup_dcookie", "migrate_pages", "move_mount", "move_pages", "name_to_handle_at", "nfsservctl", "open_by_handle_at"),
    *("open_tree", "perf_event_open", "pidfd_getfd", "process_madvise", "process_vm_readv", "process_vm_writev", "ptrace"),
    *("query_module", "quotactl", "reboot", "request_key", "setdomainname", "setns", "settimeofday", "stime", "swapoff"),
    *("swapon", "sysfs", "_sysctl", "syslog", "uselib", "userfaultfd", "ustat", "vhangup", "vm86", "vm86old"),
)
"""By name, since the engine resolves them; those that an architecture lacks are ignored."""
NATIVE = ("SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64")
"""The only conventions of calling: 32-bit calls, which the names above would not cover, end the caller."""

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_EPERM, _ENOSYS, _EAFNOSUPPORT = 1, 38, 97
_NUMBER, _ARCH, _FIRST_ARGUMENT = 0, 4, 16  # offsets in struct seccomp_data; of an argument the low half, on both


def program(machine: str = "") -> bytes:
    """The filter as an array of `struct sock_filter`; empty for an architecture whose numbers are not known here."""
    machine = machine or os.uname().machine
    if machine not in AUDIT_ARCH:
        return b""
    lines = [
        _line(_LOAD, _ARCH),
        _line(_EQUAL, AUDIT_ARCH[machine], 1, 0),
        _line(_RETURN, _ERRNO | _ENOSYS),
        _line(_LOAD, _NUMBER),
        _line(_AT_LEAST, X32_BIT, 0, 1),
        _line(_RETURN, _ERRNO | _ENOSYS),
        _line(_EQUAL, CLONE3, 0, 1),
        _line(_RETURN, _ERRNO | _ENOSYS),  # its flags are out of reach here; libraries then use clone
    ]
    for number in (*REFUSED[machine], *REFUSED_EVERYWHERE):
        lines += [_line(_EQUAL, number, 0, 1), _line(_RETURN, _ERRNO | _EPERM)]
    for number, pairs in REFUSED_WITH[machine].items():
        lines += _where(number, pairs)
    lines += [
        _line(_EQUAL, SOCKET[machine], 0, len(FAMILIES) + 3),
        _line(_LOAD, _FIRST_ARGUMENT),
        *(_line(_EQUAL, family, len(FAMILIES) - at, 0) for at, family in enumerate(FAMILIES)),
        _line(_RETURN, _ERRNO | _EAFNOSUPPORT),
        _line(_RETURN, _ALLOW),
        _line(_EQUAL, CLONE[machine], 0, 3),
        _line(_LOAD, _FIRST_ARGUMENT),
        _line(_ANY_BIT, NEW_NAMESPACES, 0, 1),
        _line(_RETURN, _ERRNO | _EPERM),
        _line(_RETURN, _ALLOW),
    ]
    return b"".join(lines)


def programs() -> dict[str, str]:
    """The filter for each architecture that one is known for, in hexadecimal, where a container's own is not known."""
    return {machine: program(machine).hex() for machine in AUDIT_ARCH}


def _where(number: int, pairs: tuple[tuple[int, int], ...]) -> list[bytes]:
    """Refuse a call whose argument has one of these values."""
    lines = [_line(_EQUAL, number, 0, 3 * len(pairs) + 1)]
    for argument, value in pairs:
        lines += [
            _line(_LOAD, _FIRST_ARGUMENT + 8 * argument),
            _line(_EQUAL, value, 0, 1),
            _line(_RETURN, _ERRNO | _EPERM),
        ]
    return [*lines, _line(_RETURN, _ALLOW)]


def profile() -> str:
    """The profile of a pool's container, as the engine reads it (JSON)."""
    refusal = {"names": list(REFUSED_TO_CONTAINERS), "action": "SCMP_ACT_ERRNO"}
    return json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "architectures": list(NATIVE), "syscalls": [refusal]})


def _line(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)
