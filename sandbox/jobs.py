"""What all backends hand to the runner and what they make of its answer, so that an execution means the same in each."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from sandbox import patching
from sandbox.api import WORKDIR, Execution, Limit, Limits, Patch, Script
from sandbox.errors import SandboxError

SOURCES = Path(__file__).parent
"""Where the modules are that run inside; they are sent there as text."""
RUNNER_MODULES = ("applying", "runner")
"""What the runner is made of; each imports only those before it, and the standard library."""
START_RUNNER = "import sys; sys.path.insert(0, '/runoff'); from sandbox import runner; runner.main()"
HOME = "/tmp/home"  # noqa: S108  inside the sandbox, where /tmp is private
HOST_NAME = "testbed"
SCRIPT_DIRECTORY = "/script"
VENV = "/opt/env"
"""Where the environment's virtual environment is; fixed, since shebangs and editable installs are absolute."""
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
VOLUMES = ("/tmp", "/dev/shm")  # noqa: S108  inside the sandbox


def variables(path: str, extra: Mapping[str, str]) -> dict[str, str]:
    """The whole environment of a script: nothing of the host's gets in. `path` is the environment's PATH."""
    fixed = {
        "PATH": path,
        "HOME": HOME,
        "PYTHONHASHSEED": "0",
        "PYTHONUNBUFFERED": "1",  # what a script has printed survives its time-out
        "TZ": "UTC",
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        "HOSTNAME": HOST_NAME,
    }
    merged = {**fixed, **extra}
    merged["PYTHONPATH"] = ":".join(part for part in (WORKDIR, extra.get("PYTHONPATH", "")) if part)
    return merged


def job_of(script: Script, patch: Patch | None, limits: Limits, environment: Mapping[str, str]) -> dict[str, Any]:
    """The job as the runner reads it. A backend adds what it bounds by other means."""
    return {
        "script": {"text": script.text, "language": script.language, "directory": SCRIPT_DIRECTORY},
        "workdir": WORKDIR,
        "patch": patch.diff if patch else "",
        "paths": patching.named(patch.diff) if patch else [],
        "environment": dict(environment),
        "seconds": limits.seconds,
        "memory_mb": limits.memory_mb,
        "processes": limits.processes,
        "output_chars": limits.output_chars,
        "volumes": list(VOLUMES),
    }


def source(name: str) -> str:
    """The text of a module of ours that runs inside."""
    return (SOURCES / f"{name}.py").read_text("utf-8")


def execution_of(answer: bytes, diagnosis: str, where: str) -> Execution:
    """The execution that the runner's answer tells of. Raises SandboxError if it is a fault, or is no answer at all."""
    try:
        result = json.loads(answer)
    except ValueError:
        result = {"fault": f"the runner gave no answer: {diagnosis.strip()[-500:] or 'it said nothing'}"}
    return execution_from(result, where)


def execution_from(result: Mapping[str, Any], where: str) -> Execution:
    """The execution that the runner's result is. Raises SandboxError if it is a fault."""
    if fault := result.get("fault"):
        raise SandboxError(str(fault), where=where, hint="runoff doctor")
    limit: Limit | None = result["limit"] if result["limit"] in get_args(Limit) else None
    return Execution(
        exit_code=result["exit_code"],
        output=result["output"],
        seconds=round(result["seconds"], 3),
        timed_out=limit == "seconds",
        oom=limit == "memory",
        apply_error=result["apply_error"],
        limit=limit,
    )


def ended_by(limit: Limit, seconds: float) -> Execution:
    """The execution of a script that took its runner with it when it reached a limit."""
    return Execution(
        exit_code=-9,
        output="",
        seconds=round(seconds, 3),
        timed_out=limit == "seconds",
        oom=limit == "memory",
        limit=limit,
    )


def naming_the_limit(execution: Execution, limits: Limits) -> Execution:
    """The execution, with what the limit that ended it was set to."""
    return replace(execution, allowed=limits.of(execution.limit)) if execution.limit else execution


def refused(reason: str) -> Execution:
    """The execution that never began, since the patch is refused."""
    return Execution(exit_code=None, output="", seconds=0.0, apply_error=reason)
