"""How an environment is built: one shell script for all backends, and the key under which the result is cached."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from sandbox.api import WORKDIR, EnvironmentSpec, Execution, Limits, Script, digest_of
from sandbox.errors import EnvironmentBuildError
from sandbox.history import COPY_HISTORY
from sandbox.jobs import VENV, job_of, variables

VERSION = "4"
"""Raise it when what is built changes: cached environments of older versions are then built anew."""
BUILD_LIMITS = Limits(seconds=3600.0, memory_mb=0, processes=0, disk_mb=0, output_chars=40_000)
CONDA = "/opt/miniconda3/envs/testbed"
"""Where the images of SWE-bench keep the environment of the tree."""
COMPILE_SECONDS = 300
"""How long the tree's modules may take to compile, which spares every execution that imports them the same."""
LAST_LINES = 20

Log = Callable[[str], None]

_FRAME = r"""
set -u
say() {{ printf '\n%s\n' "runoff-$1"; }}  # on a line of its own, whatever set-up printed last
fault() {{ say "fault: $1"; exit 90; }}
cd {workdir} 2>/dev/null || fault 'there is no {workdir} in the image'
own_git() {{ git -c safe.directory={workdir} -c core.hooksPath=/dev/null "$@"; }}
base={base}
command -v git > /dev/null || fault 'git is not installed in the image'
own_git rev-parse --verify -q "$base^{{commit}}" > /dev/null || fault "commit $base is not in the tree at {workdir}"
known() {{ own_git count-objects -v; own_git for-each-ref; cat .git/objects/info/alternates 2> /dev/null; }}
before=$(known)
if [ "$(id -u)" = 0 ] && [ -n "$(find {workdir} ! -user 0 -print -quit)" ]; then chown -R 0:0 {workdir}; fi
{prepare}
export PATH
bash -eo pipefail -c {setup} || {{ code=$?; say "setup: $code"; exit 91; }}
cd {workdir}
{after}
{others}
own_git diff --quiet HEAD -- || say 'note: set-up changed tracked files; they are put back'
own_git reset -q --hard "$base" || fault 'the tree cannot be put back to the base commit'
[ "$(own_git rev-parse HEAD)" = "$base" ] || fault 'set-up moved HEAD away from the base commit'
{compile}
rm -rf "$HOME" /tmp/pip-* 2>/dev/null
say "path: $PATH"
"""
_VENV = r"""
command -v {python} > /dev/null || fault {missing}
{python} -m venv {venv} || fault {no_venv}
PATH={venv}/bin:$PATH
"""
_CONDA = "if [ -x {conda}/bin/python ]; then PATH={conda}/bin:$PATH; fi\n"
_STRIP = r"""
rm -rf /tmp/runoff-history
sh -c {copy} history "$PWD/.git" "$base" /tmp/runoff-history || fault 'the history could not be cut at the base commit'
rm -rf .git && cp -r /tmp/runoff-history .git && rm -rf /tmp/runoff-history
own_git read-tree HEAD
"""
_COMPILE = r"""
if python -c 'import sys; sys.exit(sys.version_info < (3, 7))' 2> /dev/null; then
    mkdir -p .git/info && printf '\n__pycache__/\n' >> .git/info/exclude
    own_git ls-files -z -- '*.py' | tr '\0' '\n' > /tmp/runoff-sources
    timeout {seconds} python -m compileall -f -qq --invalidation-mode checked-hash -i /tmp/runoff-sources > /dev/null 2>&1
    rm -f /tmp/runoff-sources
fi
"""
"""A hash of its source in each .pyc file, rather than a time: no patch, however quick, can be hidden by a stale one."""
_STRIP_IF_FETCHED = (
    'if [ -e .git/FETCH_HEAD ] || [ -n "$(own_git remote)" ] || [ "$(known)" != "$before" ]; then\n{strip}\nfi\n'
)
# Work trees and clones beside the tree know what came after the base commit too, and so do stores that it borrowed from.
_WORK_TREES = r"""
own_git worktree list --porcelain 2> /dev/null | sed -n 's/^worktree //p' | while IFS= read -r place; do
    case {workdir}/ in "$place"/*) continue ;; esac
    rm -rf -- "$place" && say "note: a work tree of the repository at $place is removed"
done
"""
_OTHERS = r"""
git init -q --bare --template= /tmp/runoff-empty
find / {workdir} {venv} -xdev -type d -name objects -prune 2> /dev/null | while IFS= read -r store; do
    [ "$store" -ef {workdir}/.git/objects ] && continue
    GIT_OBJECT_DIRECTORY=$store git --git-dir=/tmp/runoff-empty cat-file -e "$base" 2> /dev/null || continue
    place=${{store%/objects}}
    if ! [ -f "$place/HEAD" ]; then place=$store; fi
    rm -rf -- "$place" && say "note: another copy of the history at $place is removed"
done
rm -rf /tmp/runoff-empty
"""


@dataclass(frozen=True, slots=True)
class Built:
    """What a build left to know."""

    path: str
    """PATH of the environment."""
    variables: Mapping[str, str]


def script_for(spec: EnvironmentSpec, commit: str, python: str) -> Script:
    """The build as a script. `python` is the interpreter's command inside the sandbox."""
    strip = _WORK_TREES.format(workdir=WORKDIR) + _STRIP.format(copy=shlex.quote(COPY_HISTORY))
    others = _OTHERS.format(workdir=WORKDIR, venv=VENV)
    if spec.repository is None:
        prepare, after = _CONDA.format(conda=CONDA), strip
    else:
        prepare = _VENV.format(
            python=shlex.quote(python),
            venv=VENV,
            missing=shlex.quote(f"there is no interpreter {python}"),
            no_venv=shlex.quote(f"{python} -m venv failed"),
        )
        after = _STRIP_IF_FETCHED.format(strip=strip)
    compiled = _COMPILE.format(seconds=COMPILE_SECONDS)
    frame = _FRAME.format(
        compile=compiled,
        workdir=WORKDIR,
        base=shlex.quote(commit),
        prepare=prepare,
        setup=shlex.quote(spec.setup or ":"),
        after=after,
        others=others,
    )
    return Script(frame, "bash")


def build_job(spec: EnvironmentSpec, commit: str, python: str, path: str, network: Mapping[str, str]) -> dict[str, Any]:
    """The runner's job that builds. `network` are the variables that reach proxies and certificates, for this job only."""
    environment = {**variables(path, spec.variables), **network}
    if "PYTHONPATH" not in spec.variables:
        del environment["PYTHONPATH"]  # the tree must not get in the way of its own build tools
    job = job_of(script_for(spec, commit, python), None, BUILD_LIMITS, environment)
    return {**job, "volumes": [], "build": True}


def key_of(spec: EnvironmentSpec, commit: str, *origin: str) -> str:
    """Digest of what a build depends on; `origin` is the image id or the interpreter."""
    pairs = [text for name in sorted(spec.variables) for text in (name, spec.variables[name])]
    tree = "image" if spec.repository is None else "repository"
    return digest_of(VERSION, tree, commit, spec.setup, spec.python, *origin, *pairs)


def maker() -> str:
    """The version of runoff that builds; empty where the packages are used without being installed."""
    try:
        return version("runoff")
    except PackageNotFoundError:
        return ""


def outcome(execution: Execution, where: str) -> Built:
    """What the build says. Raises EnvironmentBuildError with the last lines of the output if it failed."""
    lines = [line for line in execution.output.splitlines() if line.strip()]
    tail = "\n".join(line for line in lines[-LAST_LINES:] if not line.startswith("runoff-"))
    paths = re.findall(r"^runoff-path: (.+)$", execution.output, re.MULTILINE)
    if execution.exit_code == 0 and paths:
        path = paths[-1]
        conda = {"CONDA_PREFIX": CONDA, "CONDA_DEFAULT_ENV": "testbed"} if path.startswith(CONDA) else {}
        return Built(path, conda)
    if execution.timed_out:
        message = f"the set-up command did not end within {BUILD_LIMITS.seconds:.0f} s"
    elif fault := re.search(r"^runoff-fault: (.*)$", execution.output, re.MULTILINE):
        message = fault[1]
    elif setup := re.search(r"^runoff-setup: (\d+)$", execution.output, re.MULTILINE):
        message = f"the set-up command failed with exit code {setup[1]}"
    else:
        message = f"the environment could not be built (exit code {execution.exit_code})"
    raise EnvironmentBuildError(
        f"{message}; its last lines:\n{tail}" if tail else message,
        where=where,
        hint="run the set-up command by hand in a fresh clone at the base commit, then correct --setup",
    )


def notes(execution: Execution) -> list[str]:
    """What the build wants the user to know."""
    return re.findall(r"^runoff-note: (.*)$", execution.output, re.MULTILINE)
