"""Measures what running regression tests and scripts adds to consensus, from records of `runoff ensemble`.

usage: python scripts/eval_execution.py --data FOLDER --record all.selection.jsonl [--record votes.selection.jsonl]

FOLDER as for `eval_selection.py`. The records are of ensembles over all its submissions, for instances that have an
environment, with the selectors `consensus | regression` and `consensus | votes`. So tests are chosen, and scripts
weighed, by what all members propose; for a set of members those of the set are compared by what the record says of them.
Consensus is computed anew for each set. Labels are read here, and nowhere before.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval_selection import Data, Outcome, member_sets
from selection_methods import Proposed, Scores, agreement

from selection.patches.similarity import likeness

EFFECTS = ("regression", "votes")
MANY = 1e6
"""What one score is multiplied by to go before the next."""


@dataclass(frozen=True)
class Said:
    """What a step said of the members of one instance."""

    scores: Mapping[str, float]
    """By member, if its patch could be put on the tree."""
    passed: Mapping[str, tuple[int, int]]
    """By member: scripts that pass its patch, and scripts that vote."""
    figures: Mapping[str, float]


def read(paths: Sequence[Path]) -> dict[str, dict[str, Said]]:
    """By step and instance."""
    found: dict[str, dict[str, Said]] = {name: {} for name in EFFECTS}
    for path in paths:
        for line in map(json.loads, path.read_text().splitlines()[1:]):
            for step in line.get("steps", ()):
                if step["step"] in EFFECTS:
                    found[step["step"]][line["instance"]] = _said(step)
    return {name: by_instance for name, by_instance in found.items() if by_instance}


def _said(step: Mapping[str, Any]) -> Said:
    entries = [(member, one) for one in step["kept"] for member in one["members"]]
    votes = ((member, re.match(r"passes (\d+) of (\d+) script", one["reason"])) for member, one in entries)
    return Said(
        {member: one["score"] or 0.0 for member, one in entries},
        {member: (int(match[1]), int(match[2])) for member, match in votes if match},
        step["figures"],
    )


def ranked(agreed: Scores, steps: Sequence[Mapping[str, Said]]) -> Scores:
    """Scores in which each step goes before those before it, and consensus comes last; who is out of a step has none."""
    found = {}
    for instance, scores in agreed.items():
        held = dict(scores)
        for said in (step[instance] for step in steps if instance in step):
            held = {member: said.scores[member] * MANY + score for member, score in held.items() if member in said.scores}
        found[instance] = held
    return found


def methods(said: Mapping[str, Mapping[str, Said]]) -> Iterator[tuple[str, list[Mapping[str, Said]]]]:
    """The chains that the records allow."""
    yield "consensus", []
    for name, step in said.items():
        yield f"consensus | {name}", [step]
    if len(said) > 1:
        yield f"consensus | {' | '.join(said)}", list(said.values())


def outcome(data: Data, members: Sequence[str], steps: Sequence[Mapping[str, Said]], instances: Sequence[str]) -> Outcome:
    """What a chain gains on a set, over these instances; what is usual for a pair is measured on all."""
    proposed: Proposed = data.of(members)
    everywhere = agreement(likeness, discount=True)(proposed)
    scores = ranked({instance: everywhere[instance] for instance in instances}, steps)
    some = Data(tuple(instances), data.members, data.proposed, data.resolved)
    return some.outcome(members, lambda _: scores)


def alarms(data: Data, votes: Mapping[str, Said]) -> str:
    """How often scripts that vote fail patches that are resolved, beside what was estimated without labels."""
    right = [
        passed
        for instance, said in votes.items()
        for member, passed in said.passed.items()
        if instance in data.resolved[member]
    ]
    failed, asked = sum(of - passes for passes, of in right), sum(of for _, of in right)
    judged = sum(said.figures.get("judged", 0) for said in votes.values())
    guessed = sum(said.figures.get("false_alarms", 0) for said in votes.values())
    return (
        f"scripts fail resolved patches in {failed} of {asked} executions;"
        f" without labels {100 * guessed / max(judged, 1):.0f} % are estimated, from {judged:g} scripts"
    )


def main() -> None:
    """Measure and print."""
    made = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    made.add_argument("--data", type=Path, required=True, help="folder with submissions/")
    made.add_argument("--record", type=Path, action="append", required=True, help="NAME.selection.jsonl; may be repeated")
    made.add_argument("--sets", type=int, default=20, help="how many random sets (20)")
    arguments = made.parse_args()
    data = Data.read(arguments.data / "submissions")
    said = read(arguments.record)
    instances = sorted({instance for step in said.values() for instance in step})
    named, drawn = member_sets(data, arguments.sets, 0)
    sets = {**{name: [members] for name, members in named.items()}, f"{len(drawn)} random sets": drawn}
    print(f"| selector, on {len(instances)} instances | {' | '.join(sets)} |\n{'|---' * (len(sets) + 1)}|")
    for label, steps in methods(said):
        cells = [_cell([outcome(data, members, steps, instances) for members in groups]) for groups in sets.values()]
        print(f"| `{label}` | {' | '.join(cells)} |")
    for name, step in said.items():
        seconds = [one.figures.get("seconds", 0) for one in step.values()]
        print(f"\n{name}: {sum(seconds):.0f} s in the sandbox, {sum(seconds) / len(seconds):.0f} s an instance")
    if "votes" in said:
        print(alarms(data, said["votes"]))


def _cell(outcomes: Sequence[Outcome]) -> str:
    """The share of the gap that is closed, in per cent, and resolved instances over the mean member's, of the oracle's."""
    gain, gap = sum(sum(one.gain) for one in outcomes), sum(sum(one.gap) for one in outcomes)
    share = f"{100 * gain / gap:.0f}" if gap else "no gap"
    return f"{share} ({gain / len(outcomes):+.2f} of {gap / len(outcomes):.2f})"


if __name__ == "__main__":
    main()
