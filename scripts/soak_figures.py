"""What came of a soak: `scripts/soak_batch.py` says what each figure means."""

from __future__ import annotations

import json
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

from soak_lives import Journals, Life, Look, Plan, seed_of
from soak_model import Seen
from soak_split import OWNERS

from agent.llm.client import CallKey

AGAIN = 0.9
"""A run has recovered from a kill once the server holds this share of what it held before."""
LONGEST_RECOVERY = 30.0
"""Seconds from a process's first request after which the run counts as recovered, whatever the server holds."""
STARTING = 3.0
"""Seconds of a process that its memory is not counted in."""
Span = tuple[float, float]
"""Seconds of the system's monotonic clock, from and until."""


def figures(plan: Plan, run: Path, lives: Sequence[Life], journals: Journals, seen: Sequence[Seen]) -> dict[str, object]:
    """All figures, by name."""
    good = Counter((each.issue, each.seed) for each in seen if each.ending == "good")
    unresolved = json.loads((run / "unresolved.json").read_text())
    causes = Counter(each["cause"] for each in unresolved.values())
    return {
        **asdict(plan),
        "predictions": len((run / "predictions.jsonl").read_text().splitlines()),
        "unresolved": dict(causes),
        "unfinished": causes["unfinished"],
        "processes": len(lives),
        "killed": len(lives) - 1,
        "requests": len(seen),
        "endings": dict(Counter(each.ending for each in seen)),
        "calls": len(good),
        "journaled": len(journals.calls),
        "mean_prompt_kb": round(statistics.mean(each.size for each in seen) / 1000, 1),
        "paid_again": paid_again(lives, seen),
        "answered_twice": sum(count - 1 for count in good.values()),
        **times(plan, lives, seen),
        **processor(lives, seen, good),
        **memory(lives),
        **size_of(run),
    }


def times(plan: Plan, lives: Sequence[Life], seen: Sequence[Seen]) -> dict[str, object]:
    """Wall against ideal: of all, of what is left without the kills' share, and of the last process."""
    firsts = first_requests(lives, seen)
    whole = [(first, life.ended) for life, first in zip(lives, firsts, strict=True)]
    calm = without((firsts[0], lives[-1].ended), recoveries(lives, firsts, seen))
    chain = longest_chain(seen, plan)
    wall, held, calm_wall, calm_held = length(whole), work(seen, whole), length(calm), work(seen, calm)
    ideal, calm_ideal = max(held / plan.in_flight, chain), max(calm_held / plan.in_flight, chain)
    last = work(seen, whole[-1:])
    return {
        "wall_seconds": round(wall, 1),
        "whole_seconds": round(lives[-1].ended - lives[0].began, 1),
        "ideal_seconds": round(ideal, 1),
        "chain_seconds": round(chain, 1),
        "wall_over_ideal": round(wall / ideal, 3),
        "calm_seconds": round(calm_wall, 1),
        "calm_over_ideal": round(calm_wall / calm_ideal, 3),
        "seconds_a_kill": round((lives[-1].ended - firsts[0] - calm_wall) / max(1, len(lives) - 1), 1),
        "last_seconds": round(length(whole[-1:]), 1),
        "last_over_ideal": round(length(whole[-1:]) / max(last / plan.in_flight, chain), 3),
        "in_flight_by_tenths": in_flight(seen, calm),
        "start_seconds": round(statistics.mean(first - life.began for life, first in zip(lives, firsts, strict=True)), 2),
    }


def first_requests(lives: Sequence[Life], seen: Sequence[Seen]) -> list[float]:
    """When each process sent its first request; its end if it was killed before."""
    return [min(life.ended, next((each.at for each in seen if life.began <= each.at), life.ended)) for life in lives]


def recoveries(lives: Sequence[Life], firsts: Sequence[float], seen: Sequence[Seen]) -> list[Span]:
    """From each kill to where the server holds nearly as many requests as before it."""
    spans = []
    for before, life, first in zip(lives, lives[1:], firsts[1:], strict=False):
        enough = AGAIN * held_at(seen, before.ended - 0.2)
        steps = int(LONGEST_RECOVERY * 5)
        again = next((at for at in (first + step / 5 for step in range(steps)) if held_at(seen, at) >= enough), None)
        spans.append((before.ended, min(life.ended, first + LONGEST_RECOVERY if again is None else again)))
    return spans


def held_at(seen: Sequence[Seen], at: float) -> int:
    """How many requests the server held at a moment."""
    return sum(each.at <= at < each.at + each.held for each in seen)


def without(whole: Span, spans: Iterable[Span]) -> list[Span]:
    """What is left of a time; the spans are in order."""
    left, start = [], whole[0]
    for begin, end in spans:
        if begin > start:
            left.append((start, begin))
        start = max(start, end)
    return [*left, (start, whole[1])] if start < whole[1] else left


def length(spans: Iterable[Span]) -> float:
    """Seconds of all spans."""
    return sum(end - begin for begin, end in spans)


def work(seen: Sequence[Seen], spans: Sequence[Span]) -> float:
    """Seconds for which the server held requests within the spans, added up."""
    return sum(max(0.0, min(end, each.at + each.held) - max(begin, each.at)) for each in seen for begin, end in spans)


def in_flight(seen: Sequence[Seen], spans: Sequence[Span]) -> list[int]:
    """Requests that the server held, the mean of each tenth of the time that the spans have together."""
    each = length(spans) / 10
    tenths = [_cut(spans, number * each, (number + 1) * each) for number in range(10)]
    return [round(work(seen, tenth) / max(1e-9, length(tenth))) for tenth in tenths]


def _cut(spans: Sequence[Span], first: float, last: float) -> list[Span]:
    """What lies between the `first` and the `last` second of the spans' own time."""
    parts, passed = [], 0.0
    for begin, end in spans:
        cut = (max(begin, begin + first - passed), min(end, begin + last - passed))
        parts += [cut] if cut[0] < cut[1] else []
        passed += end - begin
    return parts


def processor(lives: Sequence[Life], seen: Sequence[Seen], good: Counter[tuple[int, int]]) -> dict[str, object]:
    """Processor time for each reply: of all processes, and of the last one for the replies that it had."""
    firsts = first_requests(lives, seen)
    spent = [cpu_between(life, first) for life, first in zip(lives, firsts, strict=True)]
    user, system, children = (1000 * sum(seconds) / sum(good.values()) for seconds in zip(*spent, strict=True))
    last = sum(each.ending == "good" and each.at >= lives[-1].began for each in seen)
    return {
        "cpu_ms_a_call": round(user + system, 2),
        "of_it_in_kernel": round(system, 2),
        "cpu_ms_a_call_of_git": round(children, 2),
        "last_calls": last,
        "last_cpu_ms_a_call": round(1000 * sum(spent[-1][:2]) / max(1, last), 2),
    }


def paid_again(lives: Sequence[Life], seen: Sequence[Seen]) -> int:
    """Requests for what a journal held already when an earlier process ended."""
    again = 0
    for number, life in enumerate(lives[1:], 1):
        until = lives[number + 1].began if number + 1 < len(lives) else float("inf")
        held = lives[number - 1].journaled
        again += sum((each.issue, each.seed) in held for each in seen if life.began <= each.at < until)
    return again


def longest_chain(seen: Sequence[Seen], plan: Plan) -> float:
    """Seconds of the longest chain of replies in which each needs the one before."""
    owners = {f"{stage}/{sample}": (stage, sample) for stage in ("testing", "editing") for sample in range(plan.samples)}
    names = instance_names(plan)
    samples = {
        (number, seed_of(CallKey(name, stage, sample, "", sequence))): sample
        for number, name in names.items()
        for stage, sample in owners.values()
        for sequence in range(20)
    }
    slowest: dict[tuple[int, str], float] = defaultdict(float)
    sums: dict[tuple[int, int], float] = defaultdict(float)
    for each in (each for each in seen if each.ending == "good"):
        place = (each.issue, each.seed)
        if each.stage == "selection":
            slowest[each.issue, "selection"] += each.held
        elif place in samples:
            sums[each.issue, samples[place]] += each.held
        else:
            slowest[each.issue, each.stage] = max(slowest[each.issue, each.stage], each.held)
    totals: dict[int, float] = defaultdict(float)
    for (issue, _), seconds in slowest.items():
        totals[issue] += seconds
    return max(
        total + max((seconds for (number, _), seconds in sums.items() if number == issue), default=0.0)
        for issue, total in totals.items()
    )


def instance_names(plan: Plan) -> dict[int, str]:
    """Ids by number, as `soak_split` makes them."""
    return {number: f"{OWNERS[number % len(OWNERS)]}__tables-{number}" for number in range(plan.instances)}


def cpu_between(life: Life, first: float) -> tuple[float, float, float]:
    """CPU seconds (user, system, children's) of a process from its first request to the last look at it."""
    if not life.looks:
        return 0.0, 0.0, 0.0
    before, last = next((look for look in reversed(life.looks) if look.at <= first), life.looks[0]), life.looks[-1]
    return last.user - before.user, last.system - before.system, last.children - before.children


def memory(lives: Sequence[Life]) -> dict[str, object]:
    """Resident memory and descriptors by fifths of the last process, without its start; the most of all processes."""
    looks = [look for look in lives[-1].looks if look.at - lives[-1].began > STARTING] or lives[-1].looks
    began, ended = looks[0].at, looks[-1].at
    fifths: list[list[Look]] = [[] for _ in range(5)]
    for look in looks:
        fifths[min(4, int(5 * (look.at - began) / max(1e-9, ended - began)))].append(look)
    rss = [round(statistics.median(look.rss_mb for look in fifth), 1) if fifth else None for fifth in fifths]
    descriptors = [int(statistics.median(look.descriptors for look in fifth)) if fifth else None for fifth in fifths]
    every = [look for life in lives for look in life.looks]
    return {
        "rss_mb": rss,
        "rss_mb_most": round(max(look.rss_mb for look in every), 1),
        "descriptors": descriptors,
        "descriptors_most": max(look.descriptors for look in every),
    }


def size_of(run: Path) -> dict[str, object]:
    """Files and bytes of the run's folder."""
    files = [path.stat() for path in run.rglob("*") if path.is_file()]
    content, blocks = sum(each.st_size for each in files), sum(each.st_blocks * 512 for each in files)
    return {"run_files": len(files), "run_mb": round(content / 1e6, 1), "run_mb_on_disk": round(blocks / 1e6, 1)}
