"""`runoff ensemble`: the best of what several systems, or several runs, propose."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from agent.cli import interrupts
from agent.cli.json_events import emit, emit_error
from agent.instances import Instances, load
from sandbox.errors import InputError
from selection.chain import parse_chain
from selection.consensus import Split
from selection.ensemble import Member, choose, digest, proposals, read_members
from selection.ensemble_store import EnsembleStore
from selection.steps import label_free
from selection.trees import Trees

EXAMPLE = (
    "Example: runoff ensemble --instances SWE-bench/SWE-bench_Verified --predictions a.jsonl b.json runs/mine"
    " --selector consensus --output chosen.jsonl"
)


def command(
    *,
    instances: Annotated[str, typer.Option("--instances", help="A Hub id, or a .jsonl, .json or .parquet file.")],
    predictions: Annotated[list[Path], typer.Option("--predictions", help="Files of predictions, or folders of runs.")],
    more: Annotated[list[Path] | None, typer.Argument(metavar="[FILE]...", help="More predictions.")] = None,
    output: Annotated[Path, typer.Option("--output", help="Write the chosen predictions to this file.")],
    selector: Annotated[
        str, typer.Option("--selector", help="consensus, first, random, or a chain such as 'consensus | top:3'.")
    ] = "consensus",
    split: Annotated[str | None, typer.Option("--split", help="Of a Hub data set.")] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the selector `random`.")] = 0,
    stop_at: Annotated[
        float | None,
        typer.Option("--stop-at", min=0.0, max=1.0, help="End a chain early where more than this share came to one change."),
    ] = None,
    repos: Annotated[
        Path | None,
        typer.Option("--repos", help="Folder of clones (owner__name, owner/name, name): look whether patches apply."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON lines.")] = False,
) -> None:
    """Choose one prediction for each instance among those of several systems, without labels."""
    errors = Console(stderr=True)

    async def work(interrupt: interrupts.Interrupt) -> int:
        interrupt.hint = "the same command"
        begun = time.monotonic()
        known = load(instances, split=split)
        members = read_members([*predictions, *(more or ())])
        if len(members) < 2:  # noqa: PLR2004  two are the fewest that there is a choice between
            raise InputError("an ensemble has at least two members", where="--predictions", hint="name more files")
        proposed = proposals(members, known.by_id)
        trees = Trees(repos.expanduser()) if repos else None
        steps = label_free(Split(proposed), [one.name for one in members], seed=seed, trees=trees)
        chain = parse_chain(selector, steps, stop_at=stop_at)
        with EnsembleStore(output, digest(chain, proposed, f"{repos or ''}"), chain.name) as store:
            left = [instance for name, instance in known.by_id.items() if name not in store.made]
            await choose(chain, left, proposed, done=store.add)
            store.finish(proposed)
        report = _report(store, members, known, chain.name, time.monotonic() - begun)
        emit("result", **report) if as_json else _print(report)
        return 0 if report["chosen"] else 1

    sys.exit(interrupts.run(work, errors, on_error=emit_error if as_json else lambda error: None))


def _report(
    store: EnsembleStore, members: tuple[Member, ...], known: Instances, chain: str, seconds: float
) -> dict[str, Any]:
    chosen = [made for made in store.made.values() if made.chosen]
    return {
        "selector": chain,
        "instances": len(known.by_id),
        "broken_instances": len(known.broken),
        "chosen": len(chosen),
        "unresolved": len(store.made) - len(chosen),
        "resumed": store.resumed,
        "members": [_member(member, known, Counter(name for made in chosen for name in made.members)) for member in members],
        "told": [line for member in members for line in member.told(known.by_id)],
        "seconds": round(seconds, 2),
        "output": str(store.output),
        "record": str(store.record),
    }


def _member(member: Member, known: Instances, chosen: Mapping[str, int]) -> dict[str, Any]:
    held = member.predictions
    return {
        "name": member.name,
        "source": held.source,
        "patches": sum(patch is not None and instance in known.by_id for instance, patch in held.patches.items()),
        "empty": len(held.empty),
        "missing": len(held.missing(known.by_id)),
        "unknown": len(held.unknown(known.by_id)),
        "repeated": len(held.repeated),
        "contradicted": len(held.contradicted),
        "unreadable": len(held.unreadable),
        "chosen": chosen[member.name],
    }


def _print(report: Mapping[str, Any]) -> None:
    width = max(len(member["name"]) for member in report["members"])
    columns = ("patches", "empty", "missing", "unknown", "unreadable", "chosen")
    typer.echo("  ".join([f"{'member':<{width}}", *columns]))
    for member in report["members"]:
        typer.echo("  ".join([f"{member['name']:<{width}}", *(f"{member[column]:>{len(column)}}" for column in columns)]))
    for line in report["told"]:
        typer.echo(line)
    if report["broken_instances"]:
        typer.echo(f"{report['broken_instances']} rows of the data set cannot be read")
    again = f", {report['resumed']} choices from the record" if report["resumed"] else ""
    typer.echo(
        f"selector: {report['selector']}\n"
        f"chosen: {report['chosen']} of {report['instances']}{again}, in {report['seconds']:.1f} s\n"
        f"predictions: {report['output']}\nwhy: {report['record']}"
    )
