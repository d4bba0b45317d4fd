"""Puts a patch on the tree, inside a sandbox: `git apply`, then the same ignoring white space, then `patch` with fuzz.

The diff was looked at before (`patching`), without the tree. What depends on the tree is looked at here: that no path leads
through a symbolic link of its. Only the standard library, Python 3.6 or later.
"""

import os
import shutil
import subprocess
import time
from typing import Any, Dict

Job = Dict[str, Any]
GIT_OPTIONS = ["-c", "core.hooksPath=/dev/null", "-c", "core.autocrlf=false", "-c", "core.fsmonitor=false"]
APPLY_SECONDS = 20.0
"""For all ways together: a patch that takes longer is refused, as one that does not apply."""


class Fault(Exception):
    """The sandbox, not the script, is at fault."""


def apply_patch(job: Job) -> str:
    """Put the job's patch on the tree; returns why it cannot be, or an empty string."""
    workdir = job["workdir"]
    link = first_link(workdir, job["paths"])
    if link:
        return "it goes through a symbolic link: %s" % link
    environment = {"PATH": os.environ.get("PATH", os.defpath), "HOME": "/nonexistent", "LC_ALL": "C.UTF-8"}
    environment.update(GIT_CONFIG_NOSYSTEM="1", GIT_CONFIG_GLOBAL="/dev/null")
    if os.path.isdir(os.path.join(workdir, ".git")):
        # Named outright, so that git asks no questions about the owner of the directory.
        environment.update(GIT_DIR=os.path.join(workdir, ".git"), GIT_WORK_TREE=workdir)
    git = ["git"] + GIT_OPTIONS + ["apply", "--whitespace=nowarn"]
    loose = ["patch", "-p1", "--unified", "--batch", "--forward", "--fuzz=5", "--no-backup-if-mismatch", "-r", "-"]
    reasons = []
    deadline = time.monotonic() + APPLY_SECONDS
    for commands in ([git + ["-"]], [git + ["--ignore-whitespace", "-"]], [loose + ["--dry-run"], loose]):
        if shutil.which(commands[0][0], path=environment["PATH"]) is None:
            continue
        for command in commands:
            seconds = max(0.01, deadline - time.monotonic())
            reason = complaint(command, job["patch"], seconds, cwd=workdir, env=environment)
            if reason:
                break
        else:
            return ""
        reasons.append(reason)
    if not reasons:
        raise Fault("neither git nor patch is installed in the environment")
    return reasons[0]


def first_link(workdir: str, paths: Any) -> str:
    """The first of these paths whose folder is, or is in, a symbolic link; `patch` would follow it where git would not."""
    for path in paths:
        for named in (path, path.partition("/")[2]):  # `patch` takes the first part off, whatever it is
            place = workdir
            for part in named.split("/")[:-1]:
                place = os.path.join(place, part)
                if os.path.islink(place):
                    return str(path)
    return ""


def complaint(command: Any, data: str, seconds: float, **settings: Any) -> str:
    """What a command says if it fails or takes longer; an empty string if it does not."""
    text = data.encode("utf-8", "surrogateescape")
    pipe = subprocess.PIPE
    try:
        done = subprocess.run(command, input=text, stdout=pipe, stderr=subprocess.STDOUT, timeout=seconds, **settings)
    except subprocess.TimeoutExpired:
        return "%s takes too long" % command[0]
    said = done.stdout.decode("utf-8", "replace").strip()[:2000]
    return "" if done.returncode == 0 else said or "%s failed" % command[0]
