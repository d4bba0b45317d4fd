"""What the order inside the relevance stage's prompts is worth on a server with a prefix cache, over a real repository.

usage: python scripts/bench_vllm_order.py --server openai:MODEL@http://HOST:8000/v1 --repo CLONE --dataset ROWS --instance ID
       [--files 24] [--in-flight 8] [--rounds 2] [--json]

Judges the same files of one issue's repository three ways, taking turns, each on an empty cache:

- shared first: as runoff asks. Instructions and issue, which all questions share, come before the file; the first request
  goes alone until they are in the cache.
- unprimed: the same prompts, all at once.
- file first: the same words with the file in front, as one writes them who does not think of the cache.

The stage, the client and the server are real; only the replies are replaced by a verdict, so that every way asks the same
questions and none of them repeats one. vLLM empties its cache when told to (`POST /reset_prefix_cache`) if it was started
with VLLM_SERVER_DEV_MODE=1, and says what it found there with --enable-prompt-tokens-details.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from agent.context.bm25 import nearest
from agent.context.candidates import candidates
from agent.context.relevance import RelevanceSettings, judge
from agent.instances import Instance, find
from agent.llm.client import CallKey
from agent.llm.ledger import Ledger
from agent.llm.messages import Message, Reply, Request, Usage
from agent.llm.model import Model
from agent.llm.open import open_model
from agent.llm.settings import LlmSettings
from agent.llm.specs import parse_spec
from agent.llm.tokens import estimate_bytes
from agent.repository import Repository, SourceFile
from agent.trajectory.flow import Flow, TrajectoryKey
from agent.trajectory.journal import Journal

VERDICT = "RELEVANCE: Not Relevant"


@dataclass(frozen=True, slots=True)
class Way:
    """One way to ask the same questions."""

    name: str
    lay_out: Callable[[Request], Request]
    prime: bool = True


@dataclass(frozen=True, slots=True)
class Round:
    """What one way took, once."""

    way: str
    calls: int
    prompt_tokens: int
    cached_tokens: int | None
    """None: the server does not say."""
    seconds: float

    @property
    def speed(self) -> float:
        """Prompt tokens a second, whether the server read them or found them."""
        return self.prompt_tokens / self.seconds


@dataclass
class Counting:
    """A model whose prompts are laid out anew, and whose replies are counted and replaced by a verdict."""

    model: Model
    lay_out: Callable[[Request], Request]
    usages: list[Usage] = field(default_factory=list)

    async def complete(self, request: Request, key: CallKey) -> Reply:
        """As the model, but for the verdict."""
        reply = await self.model.complete(self.lay_out(request), key)
        self.usages.append(reply.usage)
        return replace(reply, text=VERDICT)


def file_first(request: Request) -> Request:
    """The same parts in one message: the file, then what all questions share, then what is asked."""
    parts = [replace(part, cache=False) for message in request.messages for part in message.parts]
    parts.sort(key=lambda part: ("file", "instructions", "issue", "step").index(part.name))
    return replace(request, messages=(Message("user", tuple(parts)),))


WAYS = (
    Way("shared first", lambda request: request),
    Way("unprimed", lambda request: request, prime=False),
    Way("file first", file_first),
)


async def ask(
    way: Way, options: argparse.Namespace, instance: Instance, repository: Repository, files: Sequence[SourceFile]
) -> Round:
    """Judge all files one way, on an empty cache."""
    empty_cache(options.server)
    settings = LlmSettings(in_flight=options.in_flight, prime=way.prime, attempts=1, timeout_seconds=options.timeout)
    with tempfile.TemporaryDirectory() as scratch, Ledger(Path(scratch) / "ledger.jsonl") as ledger:
        model = open_model(parse_spec(options.server), settings=settings, ledger=ledger, env={}, seed=1)
        journal = Journal(Path(scratch) / "relevance.jsonl")
        counting = Counting(model, way.lay_out)
        began = time.monotonic()
        try:
            await judge(
                Flow(TrajectoryKey(instance.id, "relevance", 0), journal, model=counting),
                files,
                read=repository.read,
                issue=instance.statement,
                repository=instance.repo,
                settings=RelevanceSettings(in_flight=options.in_flight, max_tokens=options.max_tokens),
            )
        finally:
            seconds = time.monotonic() - began
            journal.close()
            await model.close()
    return counted(way.name, counting.usages, seconds)


def counted(way: str, usages: Sequence[Usage], seconds: float) -> Round:
    """The sums over all calls."""
    prompt = sum((usage.input or 0) + (usage.cache_read or 0) + (usage.cache_write or 0) for usage in usages)
    told = [usage.cache_read for usage in usages if usage.cache_read is not None]
    return Round(way, len(usages), prompt, sum(told) if len(told) == len(usages) else None, seconds)


def empty_cache(spec: str) -> None:
    """Have the server forget all prompts; ends the script where it does not, as while it works for others."""
    url = urllib.parse.urlsplit(spec.partition("@")[2])
    where = f"{url.scheme}://{url.netloc}/reset_prefix_cache"
    try:
        with urllib.request.urlopen(urllib.request.Request(where, method="POST"), timeout=60) as reply:
            said = reply.read()
    except (urllib.error.URLError, OSError) as error:
        sys.exit(f"the cache cannot be emptied: {where}: {error}\nstart vLLM with VLLM_SERVER_DEV_MODE=1")
    if said and not json.loads(said).get("success", True):
        sys.exit(f"the cache is in use: {where}: {said.decode()}\nmeasure while the server has nothing else to do")


def files_of(repository: Repository, issue: str, options: argparse.Namespace) -> list[SourceFile]:
    """The files that are judged: those nearest the issue by words, of at most --file-tokens each."""
    short = [file for file in candidates(repository).files if estimate_bytes(file.size) <= options.file_tokens]
    return list(nearest(short, issue, options.files, read=repository.read))


def summary(rounds: Sequence[Round]) -> list[dict[str, object]]:
    """One row a way: medians over its rounds."""
    rows: list[dict[str, object]] = []
    for way in dict.fromkeys(each.way for each in rounds):
        own = [each for each in rounds if each.way == way]
        cached = [each.cached_tokens for each in own if each.cached_tokens is not None]
        rows.append(
            {
                "way": way,
                "calls": own[0].calls,
                "prompt_tokens": own[0].prompt_tokens,
                "cached_share": statistics.median(cached) / own[0].prompt_tokens if cached else None,
                "seconds": round(statistics.median(each.seconds for each in own), 1),
                "prompt_tokens_a_second": round(statistics.median(each.speed for each in own), 1),
            }
        )
    return rows


def told(rows: Sequence[dict[str, object]]) -> str:
    """The table."""
    lines = [f"{'way':<13} {'calls':>5} {'prompt tokens':>13} {'cached':>7} {'seconds':>8} {'tokens a second':>15}"]
    for row in rows:
        cached = "unknown" if row["cached_share"] is None else f"{row['cached_share']:.1%}"
        lines.append(
            f"{row['way']:<13} {row['calls']:>5} {row['prompt_tokens']:>13,} {cached:>7} {row['seconds']:>8}"
            f" {row['prompt_tokens_a_second']:>15,}"
        )
    return "\n".join(lines)


async def measure(options: argparse.Namespace) -> list[Round]:
    """All rounds, the ways taking turns; each goes first once in a while."""
    instance = find(options.dataset, options.instance)
    with Repository.open(options.repo, instance.base_commit) as repository:
        files = files_of(repository, instance.statement, options)
        rounds = []
        for number in range(options.rounds):
            for way in WAYS[number % len(WAYS) :] + WAYS[: number % len(WAYS)]:
                rounds.append(await ask(way, options, instance, repository, files))
                print(rounds[-1], file=sys.stderr, flush=True)
    return rounds


def main() -> None:
    """Measure, then print the table, or with --json an object on the last line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--server", required=True, help="the SPEC of a vLLM server: openai:MODEL@http://HOST:8000/v1")
    parser.add_argument("--repo", required=True, help="a clone that has the instance's base commit")
    parser.add_argument("--dataset", required=True, help="rows of SWE-bench, for the issue's text")
    parser.add_argument("--instance", required=True)
    parser.add_argument("--files", type=int, default=24, help="files to judge")
    parser.add_argument("--file-tokens", type=int, default=4000, help="longer files, as estimated, are left out")
    parser.add_argument("--max-tokens", type=int, default=8, help="tokens of a reply")
    parser.add_argument("--in-flight", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--timeout", type=float, default=1800.0, help="seconds that one call may take")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rounds = asyncio.run(measure(options))
    rows = summary(rounds)
    print(told(rows))
    if options.json:
        print(json.dumps({"settings": vars(options), "ways": rows, "rounds": [asdict(each) for each in rounds]}))


if __name__ == "__main__":
    main()
