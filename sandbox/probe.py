"""Which sandbox works on this machine, found out by trying it, and said in words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, assert_never

import docker
import docker.errors
import requests

from sandbox import images
from sandbox.api import Sandbox
from sandbox.docker_fast import NOTHING_TO_TRY, FastDockerSandbox, Untried
from sandbox.docker_sandbox import DockerSandbox
from sandbox.engine import address, refusal
from sandbox.errors import EnvironmentBuildError, SandboxError, SandboxUnavailable
from sandbox.local_sandbox import LocalSandbox
from sandbox.threads import DaemonThreads

Kind = Literal["auto", "docker", "portable", "local"]
HINT = "scripts/docker-engine"
ENGINE_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was tried."""

    subject: str
    """Such as `docker engine`."""
    works: bool
    words: str
    """What was found, or why it does not work."""
    hint: str = ""
    """The command to try next, where something can be done."""


async def choose(kind: Kind = "auto", workers: int = 2, log: Callable[[str], None] = lambda line: None) -> Sandbox:
    """A sandbox of this kind; `auto` takes Docker where an engine answers, else the local one. `log` hears which and why.

    With Docker the fast path is tried for real, and taken where it works; else every execution gets its own container, as
    it always does with `portable`.

    Raises SandboxUnavailable with the reasons if there is none.
    """
    match kind:
        case "docker" | "portable":
            findings = [await probe_docker()]
        case "local":
            findings = [await probe_local()]
        case "auto":
            findings = [await probe_docker()]
            if not findings[0].works:
                findings.append(await probe_local())
        case _:
            assert_never(kind)
    chosen = findings[-1]
    if not chosen.works:
        reasons = "; ".join(f"{finding.subject}: {finding.words}" for finding in findings)
        raise SandboxUnavailable(f"no sandbox works here: {reasons}", where=kind, hint=chosen.hint or HINT)
    if kind == "portable":
        portable = DockerSandbox(workers, log)
        log(f"sandbox {portable.describe()} (asked for)")
        return portable
    if chosen.subject == "docker":
        return await _choose_docker(workers, log)
    sandbox = LocalSandbox(workers)
    passed_over = f" ({findings[0].subject}: {findings[0].words})" if len(findings) > 1 else ""
    log(f"sandbox {sandbox.describe()}{passed_over}")
    return sandbox


async def _choose_docker(workers: int, log: Callable[[str], None]) -> Sandbox:
    fast = FastDockerSandbox(workers, log)
    finding = await _try_fast(fast)
    if finding.works or finding.words == NOTHING_TO_TRY:
        log(f"sandbox {fast.describe()}")
        return fast
    await fast.close()
    sandbox = DockerSandbox(workers, log)
    log(f"sandbox {sandbox.describe()} ({finding.subject}: {finding.words})")
    return sandbox


async def probe() -> list[Finding]:
    """Everything that can be said about sandboxes on this machine."""
    engine, local = await probe_docker(), await probe_local()
    findings = [engine, local]
    if engine.works:
        findings[1:1] = [await _on_a_thread(_base_image), await probe_fast()]
    return findings


async def probe_docker() -> Finding:
    """Whether an engine answers."""
    return await _on_a_thread(_engine)


async def probe_fast() -> Finding:
    """Whether the engine and the kernel let long-lived containers run a script in namespaces; one is run."""
    sandbox = FastDockerSandbox(1)
    try:
        return await _try_fast(sandbox)
    finally:
        await sandbox.close()


async def _try_fast(sandbox: FastDockerSandbox) -> Finding:
    try:
        await sandbox.try_out()
    except Untried as error:
        return Finding("docker fast path", works=False, words=error.message, hint=HINT)
    except (SandboxError, EnvironmentBuildError) as error:
        words = f"{error.message}; executions get a container each, which is slower and just as closed"
        return Finding("docker fast path", works=False, words=words)
    words = f"{sandbox.describe().partition(': ')[2]}; a container an execution instead: --sandbox portable"
    return Finding("docker fast path", works=True, words=words)


async def probe_local() -> Finding:
    """Whether the kernel lets the local sandbox run a script; one is run."""
    sandbox = LocalSandbox(1)
    try:
        await sandbox.try_out()
    except (SandboxError, EnvironmentBuildError) as error:
        return Finding("local", works=False, words=error.message, hint=HINT)
    finally:
        await sandbox.close()
    return Finding("local", works=True, words=sandbox.describe().partition(": ")[2])


async def _on_a_thread(ask: Callable[[], Finding]) -> Finding:
    threads = DaemonThreads(1, "runoff-probe")
    try:
        return await threads.submit(ask)
    finally:
        threads.close()


def _engine() -> Finding:
    if reason := refusal():
        return Finding("docker", works=False, words=f"no engine answers at {address()}: {reason}", hint=HINT)
    try:
        client = docker.from_env(timeout=ENGINE_SECONDS)
        try:
            version: dict[str, Any] = client.version()
        finally:
            client.close()
    except (docker.errors.DockerException, requests.exceptions.RequestException) as error:
        return Finding("docker", works=False, words=f"no engine answers: {_innermost(error)}", hint=HINT)
    system = f"{version.get('Os', '?')}/{version.get('Arch', '?')}"
    if version.get("Os") not in (None, "linux"):
        return Finding("docker", works=False, words=f"the engine runs {system} containers, not Linux ones")
    return Finding("docker", works=True, words=f"engine {version.get('Version', '?')} on {system} answers")


def _base_image() -> Finding:
    client = docker.from_env(timeout=ENGINE_SECONDS)
    try:
        image = images.find(client, images.BASE)
    except SandboxError as error:
        return Finding("base image", works=False, words=error.message, hint=HINT)
    finally:
        client.close()
    if image is None:
        return Finding("base image", works=False, words=f"{images.BASE} has not been built", hint=HINT)
    return Finding("base image", works=True, words=f"{images.BASE} is here")


def _innermost(error: BaseException) -> str:
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return str(getattr(error, "strerror", None) or error)
