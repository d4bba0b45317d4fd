"""A process that stays: it runs one plan after another, each in namespaces of its own.

In a container of a pool it is the first process; for the local backend it is one of the host's. Starting a container
costs half a second and starting a Python with all that a runner imports a tenth, a fork a few milliseconds. Each plan (a
line of JSON on standard input) is carried out by two forks of this process: the first makes the namespaces, the second is
PID 1 in them, builds a root (`namespaces`), gives up all privileges and is then the runner (`runner`). The answer is a line
of JSON on standard output, which neither of them has. In a container a patch is put on the tree once, into a layer that
every later execution with it starts from.

There the sources of this and of its modules come over standard input (`docker_worker`): the container's root is read-only,
and the engine may be on another machine. When standard input ends, so does this process, and all that runs below it.
Only the standard library, Python 3.6 or later.
"""

import collections
import hashlib
import json
import os
import select
import shutil
import signal
import sys
import time
from typing import Any, Callable, Dict, List, Optional, Tuple

from sandbox import applying, namespaces, runner

Plan = Dict[str, Any]
LAYERS = "/runoff/layers"
STAGE = "/runoff/stage"
LAYERS_KEPT = 64
LEAST_FREE = 1 << 20
"""Bytes that must be free for another layer; below that the old ones go first."""
CHUNK = 65536
PR_SET_CHILD_SUBREAPER = 36
REFUSED = "the kernel refused the sandbox: "


class Layers:
    """Upper directories of overlays, one for each patch, the least recently used first."""

    def __init__(self) -> None:
        self.kept = collections.OrderedDict()  # type: collections.OrderedDict[str, Tuple[str, str]]
        self.made = 0

    def find(self, plan: Plan) -> Optional[Tuple[str, str]]:
        """(the layer of the plan's patch, or why there is none); None if the patch is new."""
        key = self.key(plan)
        if key in self.kept:
            self.kept.move_to_end(key)
        return self.kept.get(key)

    def place(self) -> str:
        """A new directory to make a layer in."""
        space = os.statvfs(LAYERS)
        while self.kept and (len(self.kept) >= LAYERS_KEPT or space.f_bavail * space.f_bsize < LEAST_FREE):
            self.drop(self.kept.popitem(last=False)[1][0])
            space = os.statvfs(LAYERS)
        self.made += 1
        place = "%s/%d" % (LAYERS, self.made)
        os.mkdir(place)
        return place

    def keep(self, plan: Plan, place: str, reason: str) -> Tuple[str, str]:
        self.kept[self.key(plan)] = found = (place, reason)
        return found

    @staticmethod
    def full(reason: str) -> bool:
        space = os.statvfs(LAYERS)
        return "No space left" in reason or space.f_bavail * space.f_bsize < LEAST_FREE or space.f_ffree < 16

    @staticmethod
    def drop(place: str) -> None:
        scratch = place + "/overlay/work"
        if os.path.isdir(scratch):
            os.chmod(scratch, 0o700)  # the overlay left it closed to its owner too
        shutil.rmtree(place, ignore_errors=True)

    @staticmethod
    def key(plan: Plan) -> str:
        return hashlib.sha256(plan["job"]["patch"].encode("utf-8", "surrogateescape")).hexdigest()


class Conversation:
    """Lines on standard input and output."""

    def __init__(self) -> None:
        self.pending = b""

    def hear(self) -> Optional[bytes]:
        """The next line; None at the end."""
        parts = [self.pending]
        while b"\n" not in parts[-1]:
            data = os.read(0, CHUNK)
            if not data:
                return None
            parts.append(data)
        line, _, self.pending = b"".join(parts).partition(b"\n")
        return line

    def say(self, answer: Dict[str, Any]) -> None:
        data = json.dumps(answer).encode() + b"\n"
        while data:
            data = data[os.write(1, data) :]

    def collect(self, reader: int, deadline: float) -> bytes:
        """What comes through a pipe until it is closed; stops early when time is up or nobody listens any more."""
        parts = []  # type: List[bytes]
        while True:
            left = deadline - time.monotonic()
            ready = select.select([reader, 0], [], [], max(0.0, left))[0] if left > 0 else []
            if 0 in ready:
                data = os.read(0, CHUNK)
                if not data:
                    os._exit(0)  # and the kernel ends everything below
                self.pending += data
            if reader in ready:
                data = os.read(reader, CHUNK)
                if not data:
                    return b"".join(parts)
                parts.append(data)
            if not ready:
                return b""


def answer(plan: Plan, layers: Layers, conversation: Conversation) -> Dict[str, Any]:
    """What the plan came to: the runner's result, or {"fault"}, {"lost"}: nothing is known, try again elsewhere."""
    if not plan["job"]["patch"]:
        return isolated(plan, conversation)
    found = layers.find(plan)
    if found is None:
        place = layers.place()
        result = isolated(dict(plan, upper=place, layer_only=True), conversation)
        if "fault" in result or "lost" in result or result["limit"]:  # half a patch is none
            layers.drop(place)
            return result
        reason = result["apply_error"]
        if reason and layers.full(reason):  # too large to keep: it goes on this one tree, within its limits
            layers.drop(place)
            return isolated(plan, conversation)
        found = layers.keep(plan, place, reason)
    place, reason = found
    if reason:
        return dict(runner.NOTHING, apply_error=reason)
    return isolated(dict(plan, job=dict(plan["job"], patch=""), layers=[place + "/upper"]), conversation)


def isolated(plan: Plan, conversation: Conversation) -> Dict[str, Any]:
    """As `carried_out`; a runner that ended when the container was out of memory is the script's doing."""
    kills = runner.counter(*runner.OOM_KILLS) or 0
    started = time.monotonic()
    result = carried_out(plan, conversation)
    if "lost" in result and (runner.counter(*runner.OOM_KILLS) or 0) > kills:
        ended = -int(signal.SIGKILL)
        return dict(runner.NOTHING, exit_code=ended, seconds=time.monotonic() - started, limit="memory")
    return result


def carried_out(plan: Plan, conversation: Conversation) -> Dict[str, Any]:
    """Carry the plan out in a child, and wait until nothing of it is left."""
    started = time.monotonic()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        become_first(plan, writer)
    os.close(writer)
    data = conversation.collect(reader, started + plan["job"]["seconds"] + plan["grace"])
    os.close(reader)
    if not data:
        os.kill(child, signal.SIGKILL)  # what is below it dies with it
    reap()
    result = json.loads(data.decode()) if data else {"lost": "the runner ended without an answer"}  # type: Dict[str, Any]
    return result


def reap() -> None:
    """Wait for all children, adopted ones included; a namespace's first process ends after all others in it."""
    while True:
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def become_first(plan: Plan, writer: int) -> None:
    """The child: make the namespaces, and wait for the runner in them. Does not return."""
    try:
        nothing = os.open("/dev/null", os.O_RDWR)
        for handle in (0, 1, 2):
            os.dup2(nothing, handle)
        namespaces.check(namespaces.LIBC.prctl(namespaces.PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "a signal")
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("1000")  # when memory runs out the execution goes, not the container
        for procs in plan.get("cgroups", ()):
            with open(procs, "w") as file:
                file.write("0")
        namespaces.enter(plan)
        child = os.fork()
        if child == 0:
            become_runner(plan, writer)
        os.close(writer)
        os.waitpid(child, 0)
    except (namespaces.Refused, OSError) as error:
        tell(writer, {"fault": "%s%s" % (REFUSED, error)})
    finally:
        os._exit(0)  # whatever happens, this process must not go on as its parent would


def become_runner(plan: Plan, writer: int) -> None:
    """The grandchild, PID 1 of its namespace. Does not return."""
    try:
        try:
            namespaces.confine(plan)
        except (namespaces.Refused, OSError) as error:
            tell(writer, {"fault": "%s%s" % (REFUSED, error)})
            return
        runner.seal()
        tell(writer, put_layer(plan["job"]) if plan.get("layer_only") else runner.run(plan["job"]))
    except applying.Fault as fault:
        tell(writer, {"fault": str(fault)})
    except Exception as error:
        tell(writer, {"fault": "%s: %s" % (type(error).__name__, error)})
    finally:
        os._exit(0)


def put_layer(job: Dict[str, Any]) -> Dict[str, Any]:
    return runner.put_patch(job) or dict(runner.NOTHING)


def tell(writer: int, result: Dict[str, Any]) -> None:
    data = json.dumps(result).encode()
    while data:
        data = data[os.write(writer, data) :]


def serve() -> None:
    """As the first process of a container, until standard input ends."""
    for place in (LAYERS, STAGE):
        os.mkdir(place)
    layers = Layers()
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    converse(lambda plan, conversation: answer(dict(plan, stage=STAGE, uid=0, image=True), layers, conversation))


def serve_host() -> None:
    """As a process of the host's, until standard input ends."""
    namespaces.LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)  # so that it can wait for a runner whose parent was killed
    converse(carried_out)


def converse(reply: Callable[[Plan, Conversation], Dict[str, Any]]) -> None:
    """Say that all is ready, then a reply to each plan."""
    conversation = Conversation()
    conversation.say({"ready": "%d.%d.%d" % sys.version_info[:3]})
    while True:
        line = conversation.hear()
        if line is None:
            return
        conversation.say(reply(json.loads(line.decode()), conversation))
