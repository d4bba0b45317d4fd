"""Measures how often the tests that are chosen without labels hold those of the gold test patch.

usage: python scripts/eval_related.py --data FOLDER --rows FILE --repos CLONES [--every N]

FOLDER as for `eval_selection.py`; FILE has the rows with labels; CLONES holds clones by name. Counted are instances whose
base commit is there and whose test patch changes a file of tests that exists. Labels are read here only, after the choice.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from eval_selection import Data

from agent.instances import Instance, load
from selection.candidates import gather
from selection.gold import Gold, load_gold
from selection.patches.trees import Trees
from selection.suites.related import is_test, python_files, related, touched

COUNTS = (1, 3, 5, 8, 15)


def ranks(data: Data, trees: Trees, instances: list[Instance], gold: Gold) -> Iterator[int | None]:
    """The place of the first of the gold test patch's files, by instance; None where none of them is chosen."""
    for instance in instances:
        files = trees.files(instance, python_files(trees.paths(instance) or ()))
        wanted = {path for path in gold.of(instance.id).test_patch.paths if files and is_test(path, files.get(path, ""))}
        if files and wanted:
            candidates, _ = gather(data.proposed[instance.id])
            order = [one.path for one in related(touched(candidates, files), files)]
            yield next((place for place, path in enumerate(order, 1) if path in wanted), None)


def main() -> None:
    """Measure and print."""
    made = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    made.add_argument("--data", type=Path, required=True, help="folder with submissions/")
    made.add_argument("--rows", required=True, help="the data set with its labels")
    made.add_argument("--repos", type=Path, required=True, help="folder of clones")
    made.add_argument("--every", type=int, default=1, help="only each N-th instance that has a clone (1)")
    arguments = made.parse_args()
    data = Data.read(arguments.data / "submissions")
    trees = Trees(arguments.repos)
    there = [one for one in load(arguments.rows).by_id.values() if trees.files(one, ()) is not None]
    instances = [one for one in there if one.id in data.proposed][:: arguments.every]
    found = list(ranks(data, trees, instances, load_gold(arguments.rows)))
    print("| files chosen | instances with a file of the gold test patch among them |\n|---|---|")
    for count in COUNTS:
        hits = sum(place is not None and place <= count for place in found)
        print(f"| {count} | {hits} of {len(found)} ({100 * hits / len(found):.0f} %) |")


if __name__ == "__main__":
    main()
