"""Measures selection without model and execution on real submissions: the share that it closes of the gap up to the oracle.

usage: python scripts/eval_selection.py --data FOLDER [--json FILE]

FOLDER holds `submissions/NAME.jsonl` and `submissions/resolved.json` (instances resolved, by NAME). Labels are read here
and nowhere else: methods see the patches only. What is usual for a pair of members is measured on all instances, from the
patches; nothing else is fitted. Which method is best is a choice, so it is cross-validated: over instances (folds) and over
member sets (chosen on the random sets, measured on the named ones).
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import mul
from pathlib import Path
from typing import Any

from selection_methods import Method, Proposed, methods

from selection.equivalence import Level, classes
from selection.predictions import read_predictions

FOLDS = 5
NAMED = ("five strongest", "blackboxai codestory devlo gru", "ten strongest", "three SWE-Swiss runs")
FOUR = ("blackboxai", "codestory", "devlo", "gru")
SPAN = 20
"""How many resolved instances apart the members of a random set are at most."""
SIZES = (3, 8)


@dataclass(frozen=True)
class Outcome:
    """What a method gains on a set of members."""

    gain: tuple[float, ...]
    """By instance: resolved by what the method chooses (the mean over ties) less resolved by the mean member."""
    gap: tuple[float, ...]
    """By instance: resolved by any less resolved by the mean member."""

    def share(self, weights: Sequence[float] | None = None) -> float:
        """The share of the gap that is closed; `weights` say how often an instance counts."""
        if weights is None:
            return sum(self.gain) / sum(self.gap)
        gap: float = sum(map(mul, self.gap, weights))
        gain: float = sum(map(mul, self.gain, weights))
        return gain / (gap or math.inf)


@dataclass(frozen=True)
class Data:
    """Submissions and labels."""

    instances: tuple[str, ...]
    members: tuple[str, ...]
    """The strongest first."""
    proposed: Proposed
    resolved: Mapping[str, frozenset[str]]

    @staticmethod
    def read(folder: Path) -> Data:
        """The instances are those that any member answers."""
        labels = json.loads((folder / "resolved.json").read_text())
        patches = {name: read_predictions(folder / f"{name}.jsonl").patches for name in labels}
        instances = tuple(sorted({instance for found in patches.values() for instance in found}))
        proposed = {instance: [(name, patches[name].get(instance)) for name in sorted(labels)] for instance in instances}
        resolved = {name: frozenset(found) & frozenset(instances) for name, found in labels.items()}
        return Data(instances, tuple(sorted(labels, key=lambda name: (-len(resolved[name]), name))), proposed, resolved)

    def of(self, members: Sequence[str]) -> dict[str, list[tuple[str, Any]]]:
        """What these members propose."""
        return {i: [(member, patch) for member, patch in offers if member in members] for i, offers in self.proposed.items()}

    def counts(self, members: Sequence[str]) -> tuple[float, int, int]:
        """Resolved instances of the mean member, the best member and the oracle."""
        each = [len(self.resolved[member]) for member in members]
        return sum(each) / len(each), max(each), len(frozenset().union(*(self.resolved[member] for member in members)))

    def outcome(self, members: Sequence[str], method: Method) -> Outcome:
        """What the method gains over the mean member, instance by instance."""
        scores = method(self.of(members))
        gain, gap = [], []
        for instance in self.instances:
            right = {member for member in members if instance in self.resolved[member]}
            mean = len(right) / len(members)
            best = max(scores[instance].values(), default=0.0)
            first = [member for member, score in scores[instance].items() if score >= best - 1e-12]
            gain.append((sum(member in right for member in first) / len(first) if first else 0.0) - mean)
            gap.append(bool(right) - mean)
        return Outcome(tuple(gain), tuple(gap))


def member_sets(data: Data, number: int, seed: int) -> tuple[dict[str, tuple[str, ...]], list[tuple[str, ...]]]:
    """The named sets, and random ones of members that are about equally strong."""
    four = tuple(next(member for member in data.members if word in member) for word in FOUR)
    swiss = tuple(member for member in data.members if "SWE-Swiss" in member)
    named = dict(zip(NAMED, (data.members[:5], four, data.members[:10], swiss), strict=True))
    chance = random.Random(seed)
    found: dict[tuple[str, ...], None] = {}
    while len(found) < number:
        drawn = tuple(sorted(chance.sample(data.members, chance.randint(*SIZES))))
        strengths = [len(data.resolved[member]) for member in drawn]
        if max(strengths) - min(strengths) <= SPAN:
            found[drawn] = None
    return named, list(found)


def mean_share(outcomes: Sequence[Outcome], weights: Sequence[float] | None = None) -> float:
    """The mean over sets of the share of the gap that is closed."""
    return sum(outcome.share(weights) for outcome in outcomes) / len(outcomes)


def interval(outcomes: Sequence[Outcome], resamples: Sequence[Sequence[float]]) -> tuple[float, float]:
    """The 95 % interval of the mean share, by bootstrap over instances (percentiles)."""
    shares = sorted(mean_share(outcomes, weights) for weights in resamples)
    return shares[int(0.025 * len(shares))], shares[min(len(shares) - 1, int(0.975 * len(shares)))]


def draws(instances: int, number: int, seed: int) -> list[list[float]]:
    """For each resample how often each instance is drawn."""
    chance = random.Random(seed)
    resamples = []
    for _ in range(number):
        counts = [0.0] * instances
        for index in chance.choices(range(instances), k=instances):
            counts[index] += 1
        resamples.append(counts)
    return resamples


Table = Mapping[str, Mapping[str, Outcome]]
"""By method and set."""


def cross_validated(table: Table, chosen_on: Sequence[str], measured_on: Sequence[str], seed: int) -> list[Outcome]:
    """Outcomes of choosing, for each fold of the instances, the method that is best on the others."""
    instances = len(next(iter(next(iter(table.values())).values())).gain)
    order = random.Random(seed).sample(range(instances), instances)
    fold = {index: place % FOLDS for place, index in enumerate(order)}
    gains = {name: [0.0] * instances for name in measured_on}
    for number in range(FOLDS):
        others = [float(fold[index] != number) for index in range(instances)]
        best = max(table, key=lambda method: mean_share([table[method][name] for name in chosen_on], others))
        for name in measured_on:
            for index in range(instances):
                if fold[index] == number:
                    gains[name][index] = table[best][name].gain[index]
    any_method = next(iter(table.values()))
    return [Outcome(tuple(gains[name]), any_method[name].gap) for name in measured_on]


def main() -> None:
    """Measure and print."""
    arguments = parser().parse_args()
    begun = time.monotonic()
    data = Data.read(arguments.data / "submissions")
    named, drawn = member_sets(data, arguments.sets, arguments.seed)
    sets = {**named, **{f"random {number}": members for number, members in enumerate(drawn, 1)}}
    table: dict[str, dict[str, Outcome]] = {}
    tried = {label: method for label, method in methods(data.proposed).items() if arguments.methods in label}
    for label, method in tried.items():
        table[label] = {name: data.outcome(members, method) for name, members in sets.items()}
        print(f"{label}: {time.monotonic() - begun:.0f} s", file=sys.stderr)
    resamples = draws(len(data.instances), arguments.resamples, arguments.seed)
    randoms = [name for name in sets if name not in named]
    rows = [
        row(label, [outcomes[name] for name in named], [outcomes[name] for name in randoms], resamples)
        for label, outcomes in table.items()
    ]
    folds = (
        cross_validated(table, randoms, list(named), arguments.seed),
        cross_validated(table, randoms, randoms, arguments.seed),
    )
    rows.append(row("best of all these, cross-validated", *folds, resamples))
    report = {
        "instances": len(data.instances),
        "sets": {
            name: {"members": members, **dict(zip(("mean", "best", "oracle"), data.counts(members), strict=True))}
            for name, members in sets.items()
        },
        "methods": rows,
        "classes": class_table(data),
        "seconds": round(time.monotonic() - begun, 1),
    }
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=1) + "\n")
    print(markdown(report))


def class_table(data: Data) -> list[dict[str, Any]]:
    """For each level of sameness: classes over all members, pairs of patches in one class, and those whose labels differ."""
    rows = []
    for level in (level for level in Level if level is not Level.BEHAVIOUR):
        count = pairs = different = 0
        for instance, offers in data.proposed.items():
            there = [(member, patch) for member, patch in offers if patch]
            for group in classes([patch for _, patch in there], level):
                right = sum(instance in data.resolved[there[index][0]] for index in group)
                count, pairs = count + 1, pairs + math.comb(len(group), 2)
                different += right * (len(group) - right)
        rows.append({"level": level.value, "classes": count, "pairs": pairs, "different": different})
    return rows


def row(
    label: str, named: Sequence[Outcome], drawn: Sequence[Outcome], resamples: Sequence[Sequence[float]]
) -> dict[str, Any]:
    """A method's figures: shares of the gap, each with its interval."""
    shares = [{"share": one.share(), "interval": interval([one], resamples), "gain": sum(one.gain)} for one in named]
    return {
        "method": label,
        "named": shares,
        "named_mean": {"share": mean_share(named), "interval": interval(named, resamples)},
        "random_mean": {"share": mean_share(drawn), "interval": interval(drawn, resamples)},
        "random": [one.share() for one in drawn],
    }


def markdown(report: Mapping[str, Any]) -> str:
    """Three tables: the member sets, the methods on them, the levels of sameness."""
    lines = ["| members | mean member | best member | oracle | best member closes, % |", "|---|---|---|---|---|"]
    for name, one in report["sets"].items():
        closes = (one["best"] - one["mean"]) / (one["oracle"] - one["mean"])
        lines.append(
            f"| {name} ({len(one['members'])}) | {one['mean']:.1f} | {one['best']} | {one['oracle']} | {100 * closes:.1f} |"
        )
    heads = ["method", *NAMED, "mean of the four", f"mean of {len(report['sets']) - len(NAMED)} random sets"]
    lines += ["", f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for one in report["methods"]:
        cells = [_percent(cell) for cell in (*one["named"], one["named_mean"], one["random_mean"])]
        lines.append(f"| {one['method']} | {' | '.join(cells)} |")
    lines += ["", "| level | classes | pairs in one class | of them with different labels |", "|---|---|---|---|"]
    lines += [f"| {one['level']} | {one['classes']} | {one['pairs']} | {one['different']} |" for one in report["classes"]]
    return "\n".join([*lines, "", f"{report['instances']} instances, {report['seconds']} s"])


def _percent(cell: Mapping[str, Any]) -> str:
    low, high = cell["interval"]
    return f"{100 * cell['share']:.1f} ({100 * low:.0f} to {100 * high:.0f})"


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    made.add_argument("--data", type=Path, required=True, help="folder with submissions/")
    made.add_argument("--methods", default="", help="only methods whose name has this in it")
    made.add_argument("--sets", type=int, default=20, help="how many random sets (20)")
    made.add_argument("--resamples", type=int, default=1000, help="of the bootstrap (1000)")
    made.add_argument("--seed", type=int, default=0, help="of random sets, folds and resamples (0)")
    made.add_argument("--json", type=Path, help="write all figures to this file too")
    return made


if __name__ == "__main__":
    main()
