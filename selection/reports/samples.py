"""The samples of evaluated runs one by one: which resolve, which scripts voted for them, what each turn cost.

For reports: it reads the outcomes of an evaluation beside the run's own record and journals, and decides nothing. The
pickers below are the label-free ways of choosing that can be repeated on any subset of samples: all they need is recorded.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from itertools import accumulate
from typing import Any

from agent.llm.totals import Totals
from agent.store import InstanceStore, Run, journal_path
from agent.trajectory.journal import Journal
from sandbox.api import Verdict
from sandbox.errors import InputError
from selection.candidates import changed_lines
from selection.evaluation.record import read_summary
from selection.evaluation.verdicts import Outcome
from selection.patches.similarity import likeness, profile
from selection.record import Entrant, Selection
from selection.scaling import Counts, Pick
from selection.verifiers import Rates
from selection.votes import Status

NOTHING = Totals()


@dataclass(frozen=True, slots=True)
class Sample:
    """A testing and an editing trajectory of the same number."""

    origin: str
    """Such as `editing/3`."""
    resolved: bool
    candidate: str
    """Id of the change that it came to; empty for none."""
    diff: str
    testing: tuple[Totals, ...] = ()
    """What each turn cost."""
    editing: tuple[Totals, ...] = ()
    settled: int = 0
    """Turns of the editing trajectory after which its patch was the final one; 0 without a patch."""

    def spent(self, turns: int | None = None) -> Totals:
        """What it cost; with `turns`, what it would have, had each trajectory been stopped after so many."""
        return sum((*self.testing[:turns], *self.editing[:turns]), NOTHING)


@dataclass(frozen=True)
class Sampled:
    """What the samples of one instance came to, all of them judged."""

    instance: str
    samples: tuple[Sample, ...]
    voters: tuple[str, ...]
    """By sample: the digest of the script that it ended with, if that may vote; else empty."""
    verdicts: Mapping[str, Mapping[str, Verdict]]
    """By candidate, then by script."""
    chosen: bool | None
    """Whether what the run selected resolves; None where nothing was."""
    context: Totals = NOTHING
    selection: Totals = NOTHING

    @property
    def resolved(self) -> tuple[bool, ...]:
        """By sample."""
        return tuple(one.resolved for one in self.samples)

    @cached_property
    def likeness(self) -> Mapping[tuple[int, int], float]:
        """How alike the code of each two samples' patches is; pairs without code are left out."""
        profiles = {number: profile(one.diff) for number, one in enumerate(self.samples) if one.diff}
        there = [number for number, one in profiles.items() if not one.empty]
        return {(i, j): likeness(profiles[i], profiles[j]) for i in there for j in there if i != j}

    def cost(self, k: int, turns: int | None = None) -> Totals:
        """Context, selection, and the mean of `k` of the samples. Counts are rounded."""
        whole = sum((one.spent(turns) for one in self.samples), NOTHING)
        return self.context + scaled(whole, k / len(self.samples)) + self.selection


def scaled(totals: Totals, share: float) -> Totals:
    """A share of sums: counts rounded, dollars and seconds as they come."""
    values = {each.name: getattr(totals, each.name) for each in fields(totals)}
    parts: dict[str, Any] = {
        name: value * share if isinstance(value, float) else round(value * share) for name, value in values.items()
    }
    return replace(totals, **parts)


def sampled(run: Run) -> tuple[Sampled, ...]:
    """The instances of a run whose samples and choice were all judged, in the order of their ids.

    Raises InputError if the run was not evaluated with its candidates, StoreError for damaged files.
    """
    summary = read_summary(run.path)
    held = summary["submissions"].get(run.name) if summary else None
    if not held or not held["candidates"]:
        hint = f"runoff evaluate {run.name} --candidates"
        raise InputError("the samples of the run were not judged", where=str(run.path), hint=hint)
    return tuple(one for name in sorted(held["candidates"]) if (one := _sampled(run.instance(name), name, held)))


def _sampled(store: InstanceStore, name: str, held: Mapping[str, Any]) -> Sampled | None:
    entries = {origin: entry["outcome"] for origin, entry in held["candidates"][name].items()}
    own = held["outcomes"].get(name, {}).get("outcome")
    result = store.read("result.json", "selection")
    told = (*entries.values(), own)
    if not entries or not result or not result["selection"] or not all(one and Outcome(one).judged for one in told):
        return None
    selection = Selection.from_json(result["selection"], str(store.path / "result.json"))
    came_to = {origin: entrant for entrant in selection.candidates for origin in entrant.origins}
    voting = {origin: one.script for one in selection.standings if one.status is Status.VOTES for origin in one.origins}
    samples = tuple(
        _sample(store, origin, came_to.get(origin), resolved=outcome == Outcome.RESOLVED)
        for origin, outcome in entries.items()
    )
    return Sampled(
        name,
        samples,
        tuple(voting.get(one.origin, "") for one in samples),
        {entrant.id: entrant.verdicts for entrant in selection.candidates},
        own == Outcome.RESOLVED,
        sum((*_turns(store, "relevance", 0), *_turns(store, "ranking", 0)), NOTHING),
        sum(_turns(store, "selection", 0), NOTHING),
    )


def _sample(store: InstanceStore, origin: str, entrant: Entrant | None, *, resolved: bool) -> Sample:
    number = int(origin.rpartition("/")[2])
    steps = list(_steps(store, "editing", number))
    asked = list(accumulate(kind == "ask" for kind, _, _ in steps))
    patched = [turn for turn, (_, step, _) in zip(asked, steps, strict=True) if step == "patched"]
    turns = tuple(spent for kind, _, spent in steps if kind == "ask")
    return Sample(
        origin,
        resolved,
        entrant.id if entrant else "",
        entrant.diff if entrant else "",
        _turns(store, "testing", number),
        turns,
        (patched[-1] if patched else len(turns)) if entrant else 0,
    )


def _turns(store: InstanceStore, stage: str, sample: int) -> tuple[Totals, ...]:
    return tuple(spent for kind, _, spent in _steps(store, stage, sample) if kind == "ask")


def _steps(store: InstanceStore, stage: str, sample: int) -> Iterator[tuple[str, str, Totals]]:
    """(ask or run, step, what it cost) of each effect in a journal, in order."""
    for entry in Journal(journal_path(store.path, stage, sample)).entries():
        reply = entry.result.get("reply")
        yield entry.kind, entry.step, _spent(reply) if reply else NOTHING


def _spent(reply: Mapping[str, Any]) -> Totals:
    usage, dollars = reply["usage"], reply["dollars"]
    tokens = {name: usage[name] or 0 for name in ("input", "cache_read", "cache_write", "output")}
    seconds = reply.get("seconds", 0.0)
    return Totals(calls=1, **tokens, dollars=dollars or 0.0, unpriced=int(dollars is None), seconds=seconds)


def counts(found: Sequence[Sampled], turns: int | None = None) -> Counts:
    """(samples, those that resolve) of each instance; with `turns`, those whose patch stood after so many turns."""
    return [
        (len(one.samples), sum(s.resolved and (turns is None or s.settled <= turns) for s in one.samples)) for one in found
    ]


def by_votes(one: Sampled) -> Pick:
    """Votes of the given samples' scripts, then how many came to the change, then shortness, as the short-list does."""
    return _picker(one, lambda votes, size, agreement: (votes, size))


def by_class_size(one: Sampled) -> Pick:
    """The change that most of the given samples came to."""
    return _picker(one, lambda votes, size, agreement: (size,))


def by_votes_and_consensus(one: Sampled) -> Pick:
    """Votes, then agreement with the other samples' patches."""
    return _picker(one, lambda votes, size, agreement: (votes, agreement))


def by_consensus(one: Sampled) -> Pick:
    """Agreement with the other samples' patches: neither model nor execution."""
    return _picker(one, lambda votes, size, agreement: (agreement,))


def _picker(one: Sampled, key: Callable[[int, int, float], tuple[float, ...]]) -> Pick:
    """Of equals the shortest, then the first by id."""
    lines = {sample.candidate: changed_lines(sample.diff) for sample in one.samples if sample.candidate}

    def pick(chosen: Sequence[int]) -> int | None:
        there = [number for number in chosen if one.samples[number].candidate]
        scripts = {one.voters[number] for number in chosen} - {""}
        sizes = [one.samples[number].candidate for number in there]

        def rank(number: int) -> tuple[tuple[float, ...], int, str]:
            candidate = one.samples[number].candidate
            said = one.verdicts.get(candidate, {})
            votes = sum(said.get(script) is Verdict.PASS for script in scripts)
            worth = key(votes, sizes.count(candidate), _agreement(one, number, there))
            return tuple(-value for value in worth), lines[candidate], candidate

        return min(there, key=rank, default=None)

    return pick


def _agreement(one: Sampled, number: int, there: Sequence[int]) -> float:
    """The mean likeness to the others' patches, rounded so that the order of adding decides nothing."""
    found = [one.likeness.get((number, other), 0.0) for other in there if other != number]
    return round(math.fsum(found) / len(found), 12) if found else 0.0


def rates(found: Sequence[Sampled]) -> Rates:
    """How the scripts that may vote did on each distinct candidate."""
    cast = [
        (right, said.get(script) is Verdict.PASS)
        for one in found
        for candidate, said in one.verdicts.items()
        for right in [any(s.resolved for s in one.samples if s.candidate == candidate)]
        for script in set(one.voters) - {""}
        if script in said
    ]
    right, wrong = ([voted for good, voted in cast if good is side] for side in (True, False))
    return Rates(len(right), sum(right), len(wrong), sum(wrong))
