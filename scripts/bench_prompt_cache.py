"""How much of its prompts the editing stage finds in a server's prompt cache: the real trajectories, a real server.

usage: python scripts/bench_prompt_cache.py [--samples 4] [--turns 3] [--layouts one,unified,split] [--protocols openai]
       python scripts/bench_prompt_cache.py --server openai:MODEL@http://HOST:8000/v1

Makes a small repository for every row, starts `scripts/model-server` anew or asks the server that is given, and runs the
editing trajectories of all samples side by side, each seeded with a script of its own, through `run_editing` and
`open_model` as `runoff solve` does. A small model's answers are noise, so most turns are feedback on replies that do not
parse; the prompts are the real ones. What the server reports as cached is counted over all calls but the first, which
nothing can precede.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

from agent.context.packing import Context, pack, render_files
from agent.executor import Executor
from agent.instances import Instance
from agent.llm.client import CallKey
from agent.llm.ledger import Ledger
from agent.llm.messages import Reply, Request, Usage
from agent.llm.model import Model
from agent.llm.open import open_model
from agent.llm.settings import LlmSettings
from agent.llm.specs import parse_spec
from agent.repository import Repository
from agent.trajectory.edit_form import EditForms
from agent.trajectory.editing import Desk, run_editing
from agent.trajectory.flow import Flow, TrajectoryKey
from agent.trajectory.journal import Journal
from agent.trajectory.outcome import TriedScript
from agent.trajectory.settings import TrajectorySettings
from sandbox.api import EnvironmentSpec, Limits, Script
from sandbox.probe import choose

SERVER = Path(__file__).parent / "model-server"
LAYOUTS = {
    "one": ("--slots", "1"),
    "unified": ("--slots", "4", "--unified"),
    "split": ("--slots", "4"),
}
"""Options of `scripts/model-server`: one slot; four that share a cache; four with a cache each."""
STATEMENT = "parse_5('a,,b') gives ['a', '', 'b']; empty fields should be dropped, as parse_4 does."
MODULE = '''"""Field {n} of record {row}: reading, checking and writing."""

SEPARATOR_{n} = ","
LIMIT_{n} = {limit}


def parse_{n}(text):
    """The fields of `text`, at most LIMIT_{n} of them; blanks around a field do not count."""
    fields = [field.strip() for field in text.split(SEPARATOR_{n})]
    if len(fields) > LIMIT_{n}:
        raise ValueError(f"{{len(fields)}} fields, expected at most {{LIMIT_{n}}}")
    return fields


def check_{n}(fields):
    """Whether every field begins with a letter and none is longer than {length} characters."""
    return all(field[:1].isalpha() and len(field) <= {length} for field in fields)


def write_{n}(fields):
    """The text from which parse_{n} reads these fields."""
    return SEPARATOR_{n}.join(field.replace(SEPARATOR_{n}, " ") for field in fields)
'''
SCRIPT = """import sys

from fields.field_5 import parse_5

got = parse_5("a{commas}b")
print(got)
sys.exit(0 if got == ["a", "b"] else 2)
"""


@dataclass(frozen=True, slots=True)
class Setting:
    """One row of the table."""

    layout: str
    protocol: str
    priming: bool

    def __str__(self) -> str:
        return f"{self.layout:<8} {self.protocol:<10} {'on' if self.priming else 'off':<8}"


@dataclass
class Watched:
    """A model whose requests and replies are kept in the order in which they ended."""

    model: Model
    requests: dict[CallKey, Request] = field(default_factory=dict)
    replies: list[tuple[CallKey, Reply]] = field(default_factory=list)

    async def complete(self, request: Request, key: CallKey) -> Reply:
        """As the model."""
        self.requests[key] = request
        reply = await self.model.complete(request, key)
        self.replies.append((key, reply))
        return reply

    def shared(self) -> float:
        """The bytes that the first requests of all samples have in common, as a share of the mean prompt."""
        texts = ["".join(message.text for message in request.messages) for request in self.requests.values()]
        firsts = ["".join(m.text for m in request.messages) for key, request in self.requests.items() if key.sequence == 0]
        return common(firsts) * len(texts) / sum(map(len, texts))


def common(texts: Sequence[str]) -> int:
    """Characters that all texts begin with."""
    different = (at for at, letters in enumerate(zip(*texts, strict=False)) if len(set(letters)) > 1)
    return next(different, min(map(len, texts)))


def make_repository(folder: Path, modules: int, row: str) -> None:
    """A package of `modules` files of the same form, in one commit. No other row has a prompt that begins alike."""
    package = folder / "fields"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    for n in range(modules):
        (package / f"field_{n}.py").write_text(MODULE.format(n=n, row=row, limit=10 + n, length=30 + 2 * n))
    identity = ("-c", "user.name=bench", "-c", "user.email=bench@localhost.invalid")
    for command in (("init", "-q"), ("add", "."), (*identity, "commit", "-q", "-m", "fields")):
        subprocess.run(["git", "-C", str(folder), *command], check=True)


@contextmanager
def server(setting: Setting, options: argparse.Namespace) -> Iterator[str]:
    """The SPEC of a fresh server, or of the one that is given."""
    if options.server:
        yield options.server
        return
    with started(setting.layout, options) as url:
        yield f"{setting.protocol}:{options.model}@{url}{'/v1' if setting.protocol == 'openai' else ''}"


@contextmanager
def started(layout: str, options: argparse.Namespace) -> Iterator[str]:
    """Base URL (without /v1) of a fresh server."""
    chosen = {"--model": options.model, "--port": 0, "--context": options.window, "--threads": options.threads}
    command = [sys.executable, str(SERVER), *LAYOUTS[layout], *(str(each) for pair in chosen.items() for each in pair)]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            assert process.stdout is not None
            spec = process.stdout.readline().strip()
            if not spec:
                log.seek(0)
                sys.exit("no model server:\n" + log.read().decode()[-2000:])
            yield spec.partition("@")[2].removesuffix("/v1")
        finally:
            process.terminate()
            process.wait(30)


async def measure(setting: Setting, options: argparse.Namespace, folder: Path) -> str:
    """One row: all samples' editing trajectories, none of whose prompts the server has seen."""
    make_repository(folder / "repository", modules=20, row=f"{folder.name} {time.time_ns()}")
    with server(setting, options) as spec:
        name = parse_spec(spec)
        with Ledger(folder / "ledger.jsonl") as ledger:
            settings = LlmSettings(prime=setting.priming, attempts=1, timeout_seconds=options.timeout)
            model = open_model(name, settings=settings, ledger=ledger, env={}, seed=1)
            watched, began = Watched(model), time.monotonic()
            try:
                await edit(watched, options, folder)
            finally:
                await model.close()
    return f"{setting} {described(watched, time.monotonic() - began, options.turns)}"


async def edit(model: Watched, options: argparse.Namespace, folder: Path) -> None:
    """The editing stage: every sample with a script of its own, which has run on the unpatched tree."""
    sandbox = await choose("local", 1)
    with ExitStack() as stack:
        repository = stack.enter_context(Repository.open(folder / "repository"))
        environment = await sandbox.build(EnvironmentSpec(repository.commit, folder / "repository"))
        executor = Executor(sandbox, environment, Limits(seconds=20), folder / "executions.jsonl")
        stack.callback(executor.close)
        desk = desk_for(repository, options.context_tokens)
        settings = TrajectorySettings(turns=options.turns, max_tokens=options.max_tokens)
        seeds = [Script(SCRIPT.format(commas="," * (2 + number))) for number in range(options.samples)]
        tried = [TriedScript(script, await executor.run(script)) for script in seeds]

        async def sample(number: int) -> None:
            journal = Journal(folder / f"{number}.jsonl")
            stack.callback(journal.close)
            flow = Flow(TrajectoryKey("fields-1", "editing", number), journal, model=model, executor=executor)
            await run_editing(flow, desk, settings, tried[number])

        await asyncio.gather(*(sample(number) for number in range(options.samples)))
    await sandbox.close()


def desk_for(repository: Repository, tokens: int) -> Desk:
    """As many of the repository's files as the budget holds, asked for as search/replace blocks."""
    paths = sorted(file.path for file in repository.files() if file.size)
    context: Context = pack(paths, read=repository.read, budget=tokens)
    instance = Instance("fields-1", "example/fields", repository.commit, STATEMENT)
    return Desk(instance, repository, context, render_files(context), EditForms("blocks", None))


def described(watched: Watched, seconds: float, turns: int) -> str:
    """The row's figures."""
    later = [(key, reply.usage) for key, reply in watched.replies[1:]]
    by_turn = [share([usage for key, usage in later if asked(watched, key) == turn]) for turn in range(turns)]
    reread = sum(usage.input or 0 for _, usage in later)
    return (
        f"{len(watched.replies):>5} {watched.shared():>7.0%} {share([usage for _, usage in later]):>8} {reread:>8,}"
        f" {' '.join(f'{each:>7}' for each in by_turn)} {seconds:>7.0f}"
    )


def asked(watched: Watched, key: CallKey) -> int:
    """Which request of its sample this is, from 0."""
    return sorted(other.sequence for other in watched.requests if other.sample == key.sample).index(key.sequence)


def share(usages: Sequence[Usage]) -> str:
    """Cached prompt tokens over all prompt tokens; unknown where a call did not tell."""
    if not usages or any(usage.input is None or usage.cache_read is None for usage in usages):
        return "unknown" if usages else "-"
    read = sum(usage.cache_read or 0 for usage in usages)
    prompt = sum((usage.input or 0) + (usage.cache_read or 0) + (usage.cache_write or 0) for usage in usages)
    return f"{read / prompt:.1%}"


def main() -> None:
    """Measure every combination that is asked for, and print a row for each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="smollm2", help="a model of scripts/model-server")
    parser.add_argument("--server", default="", help="the SPEC of a server that runs, in place of --model and --layouts")
    parser.add_argument("--samples", type=int, default=4)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--context-tokens", type=int, default=4800, help="estimated tokens of the files in the prompt")
    parser.add_argument("--window", type=int, default=8192, help="tokens that the server holds for one request")
    parser.add_argument("--max-tokens", type=int, default=64, help="tokens of a reply")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="of the server; fewer on a busy machine")
    parser.add_argument("--timeout", type=float, default=1800.0, help="seconds that one call may take")
    parser.add_argument("--layouts", default="one,unified,split", help=f"of {', '.join(LAYOUTS)}")
    parser.add_argument("--protocols", default="openai,anthropic")
    parser.add_argument("--priming", default="on,off")
    options = parser.parse_args()
    turns = " ".join(f"turn {turn + 1:>2}" for turn in range(options.turns))
    print(f"{'server':<8} {'protocol':<10} {'priming':<8} calls  shared   cached   reread {turns} seconds", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        protocols = [options.server.partition(":")[0]] if options.server else options.protocols.split(",")
        lists = (["given"] if options.server else options.layouts.split(","), protocols, options.priming.split(","))
        for row, (layout, protocol, priming) in enumerate(product(*lists)):
            folder = Path(scratch) / f"row-{row}"
            folder.mkdir()
            print(asyncio.run(measure(Setting(layout, protocol, priming == "on"), options, folder)), flush=True)


if __name__ == "__main__":
    main()
