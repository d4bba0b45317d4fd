"""What share of a run's replies could be used: parsed replies, edits that apply, scripts that show the issue.

usage: python scripts/trajectory_stats.py RUN [RUN ...]          RUN: a run's folder

Counts from the journals: every reply of the testing and editing stages is parsed again, every edit applied again to
the tree at the base commit. A script counts once for each trajectory that wrote it and ran it on the unpatched tree.
"""

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from agent.edits.apply import interpret
from agent.repository import Repository
from agent.store import Run
from agent.trajectory.flow import reply_from
from agent.trajectory.journal import Journal
from agent.trajectory.replies import Approve, Malformed, NewEdit, NewScript, Tag, parse
from sandbox.api import Execution, Patch, Verdict


def count_testing(journal: Journal) -> Counter[str]:
    """Replies and scripts of one testing trajectory."""
    counts: Counter[str] = Counter()
    allowed: tuple[Tag, ...] = ("test",)
    for entry in journal.entries():
        if entry.kind == "run":
            counts += script(Execution(**entry.result["execution"]))
        elif "reply" in entry.result:
            action = parse(reply_from(entry.result["reply"]), allowed)
            counts += replies(usable=not isinstance(action, Malformed))
            if isinstance(action, NewScript):
                allowed = ("test", "done")
    return counts


def count_editing(journal: Journal, repository: Repository) -> Counter[str]:
    """Replies, edits and scripts of one editing trajectory."""
    counts: Counter[str] = Counter()
    allowed: tuple[Tag, ...] = ("edit", "test")
    for entry in journal.entries():
        if entry.kind == "run":
            counts += script(Execution(**entry.result["execution"])) if entry.step == "baseline" else Counter()
            continue
        if "reply" not in entry.result:
            continue
        action = parse(reply_from(entry.result["reply"]), allowed)
        counts += replies(usable=not isinstance(action, Malformed))
        match action:
            case NewEdit(text, closed):
                applies = isinstance(interpret(text, repository=repository, fences=True, closed=closed), Patch)
                counts += Counter({"edits": 1, "edits that apply": int(applies)})
                allowed = ("edit", "test", "done") if applies else allowed
            case Approve() | NewScript() | Malformed():
                pass
    return counts


def replies(*, usable: bool) -> Counter[str]:
    """One reply."""
    return Counter({"replies": 1, "replies that parse": int(usable)})


def script(execution: Execution) -> Counter[str]:
    """One script on the unpatched tree."""
    return Counter({"scripts": 1, "scripts that exit 2 there": int(execution.verdict is Verdict.ISSUE)})


def journals(instance: Path, stage: str) -> Iterator[Journal]:
    """The journals of a stage of one instance, forks left aside."""
    for path in sorted(instance.glob(f"{stage}/*.jsonl")):
        if path.stem.isdigit():
            yield Journal(path)


def count_run(folder: Path) -> Counter[str]:
    """All trajectories of a run."""
    run = Run(folder)
    counts: Counter[str] = Counter()
    for name in run.instances():
        store = run.instance(name)
        for journal in journals(store.path, "02_testing"):
            counts += count_testing(journal)
        about = store.read("instance.json")
        if not about["source"]:  # a batch has not begun it
            continue
        with Repository.open(about["source"], about["base_commit"]) as repository:
            for journal in journals(store.path, "03_editing"):
                counts += count_editing(journal, repository)
    return counts


def main(folders: Sequence[str]) -> None:
    """Print the shares over all runs."""
    counts = sum((count_run(Path(folder)) for folder in folders), Counter[str]())
    for part, whole in (
        ("replies that parse", "replies"),
        ("edits that apply", "edits"),
        ("scripts that exit 2 there", "scripts"),
    ):
        share = f"{counts[part] / counts[whole]:.0%}" if counts[whole] else "-"
        print(f"{part}: {counts[part]} of {counts[whole]} ({share})")


if __name__ == "__main__":
    main(sys.argv[1:])
