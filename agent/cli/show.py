"""`runoff show`: what happened in a run, and why this patch won."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from agent.cli import interrupts
from agent.cli.export import export
from agent.cli.limits import bounded_by, in_words, limits_of, reached
from agent.cli.settings import SolveSettings
from agent.endings import RECORD
from agent.jsonl import read_lines
from agent.llm.ledger import Call, Ledger
from agent.store import InstanceStore, Run
from sandbox.api import EnvironmentSpec, Execution
from sandbox.errors import InputError, RunoffError
from selection.record import Selection
from selection.show import print_selection

EXAMPLE = "Example: runoff show solve-flask-20260101-120000"
UNSETTLED_SHOWN = 20


def command(
    name: Annotated[str, typer.Argument(metavar="RUN", help="Name or folder of the run.")],
    instance: Annotated[str | None, typer.Argument(metavar="[INSTANCE]", help="One instance; all if not given.")] = None,
    *,
    runs: Annotated[Path, typer.Option("--runs", envvar="RUNOFF_RUNS", help="Folder that runs land in.")] = Path("runs"),
    as_json: Annotated[bool, typer.Option("--json", help="Print result.json.")] = False,
    export_to: Annotated[
        Path | None, typer.Option("--export", help="Write a copy to give away, redacted: FILE.tar.gz or a folder.")
    ] = None,
    with_prompts: Annotated[bool, typer.Option("--with-prompts", help="Export what was sent to models too.")] = False,
) -> None:
    """Show what happened and why this patch won."""
    try:
        run = Run.find(name, runs)
        if export_to is not None:
            export(run, export_to, instance=instance, with_prompts=with_prompts, as_json=as_json)
            return
        known = run.instances()
        if instance is not None and instance not in known:
            raise InputError(
                f"the run has no instance '{instance}'", where=str(run.path), hint=f"it has: {', '.join(known)}"
            )
        if run.is_batch and instance is None and not as_json:
            _summary(Console(), run)
            known = []
        for identifier in [instance] if instance else known:
            store = run.instance(identifier)
            if as_json:
                typer.echo(json.dumps(store.read("result.json"), indent=1, ensure_ascii=False))
            else:
                _instance(Console(), store)
        if not as_json:
            _spending(Console(), run, instance if run.is_batch else None)
    except RunoffError as error:
        interrupts.show(error, Console(stderr=True))
        sys.exit(error.exit_code)


def _instance(console: Console, store: InstanceStore) -> None:
    about, result = store.read("instance.json"), store.read("result.json")
    console.print(
        f"[bold]{escape(store.path.name)}[/]  {escape(about['repo'])} at {about['base_commit'][:12]}", highlight=False
    )
    context = store.read("01_context/context.json")
    if context:
        left_out = sum(context["left_out"].values()) + context["prefiltered"]
        console.print(
            f"context: {context['judged']} files judged, {left_out} left out, {len(context['relevant'])} relevant,"
            f" {len(context['files'])} packed",
            highlight=False,
        )
    _executions(console, store, about)
    _trajectories(console, store)
    if result is None and (failure := store.read(RECORD)):
        console.print(f"[yellow]{failure['cause']}[/]: {escape(failure['reason'])}", highlight=False)
        for label in ("where", "hint"):
            if failure[label]:
                console.print(f"{label if label == 'where' else 'next'}: {escape(failure[label])}", highlight=False)
    elif result is None:
        console.print("[yellow]unfinished[/]: " + f"runoff resume {escape(Run(store.path.parent).handle)}", highlight=False)
    elif result["selection"]:
        print_selection(Selection.from_json(result["selection"], str(store.path / "result.json")), console)
    else:
        console.print(escape(result["reason"]), highlight=False)


def _summary(console: Console, run: Run) -> None:
    """A batch: how many instances have a patch, and the others by cause."""
    order = run.order()
    missing = {name: why for name in order if (why := run.instance(name).outcome("")[1])}
    console.print(f"[bold]{escape(run.name)}[/]  {len(order) - len(missing)} of {len(order)} instances have a patch")
    table = Table("cause", "instances", "such as", box=None)
    for cause, count in Counter(why["cause"] for why in missing.values()).most_common():
        name, reason = next((name, why["reason"]) for name, why in missing.items() if why["cause"] == cause)
        table.add_row(cause, str(count), escape(f"{name}: {reason.splitlines()[0] if reason else ''}"))
    if table.row_count:
        console.print(table)
    console.print(f"one of them: runoff show {escape(run.handle)} INSTANCE", highlight=False)


def _executions(console: Console, store: InstanceStore, about: dict[str, Any]) -> None:
    """What an execution may use here, and how often one ended at such a limit."""
    recorded = Run(store.path.parent).manifest()["settings"]
    settings = SolveSettings.model_validate(
        {name: recorded[name] for name in SolveSettings.model_fields if name in recorded}
    )
    own = EnvironmentSpec("", limits=(about.get("environment") or {}).get("limits", {}))
    console.print(f"limits of an execution: {in_words(limits_of(bounded_by(settings, own)))}", highlight=False)
    if not store.executions.exists():
        return
    lines = [line for line in read_lines(store.executions, "a journal") if line["kind"] == "run"]
    executions = [Execution(**line["result"]["execution"]) for line in lines]
    ended = reached(executions)
    console.print(f"executions: {len(executions)}" + (f", ended by a limit: {ended}" if ended else ""), highlight=False)


def _trajectories(console: Console, store: InstanceStore) -> None:
    table = Table("trajectory", "asked", "ran", "faults", box=None)
    for folder in ("02_testing", "03_editing"):
        for path in sorted((store.path / folder).glob("*.jsonl"), key=lambda path: (len(path.stem), path.stem)):
            kinds = Counter(line["kind"] for line in read_lines(path, "a journal"))
            table.add_row(f"{folder[3:]} {path.stem}", str(kinds["ask"]), str(kinds["run"]), str(kinds["note"] or ""))
    if table.row_count:
        console.print(table)


def _spending(console: Console, run: Run, instance: str | None) -> None:
    """The cost by stage; of one among many instances, a line on its own share before it."""
    table = Table("stage", "calls", "in", "cached", "written", "out", "cost", "share", box=None)
    ledger = Ledger(run.ledger)
    if instance:
        own = ledger.of_instance(instance)
        console.print(f"its calls: {own.calls}, {own.tokens}, {own.cached}; {own.money}. The whole run:", highlight=False)
    whole = ledger.totals().dollars
    for stage, totals in ledger.by_stage().items():
        tokens = (totals.input, totals.cache_read, totals.cache_write, totals.output)
        share = f"{totals.dollars / whole:.1%}" if whole else ""
        table.add_row(stage, str(totals.calls), *(f"{count:,}" for count in tokens), totals.money, share)
    if table.row_count:
        console.print(table)
        console.print(ledger.totals().cached, highlight=False)
    if unsure := ledger.unsure():
        _unsettled(console, unsure, run.handle)


def _unsettled(console: Console, calls: Sequence[Call], run: str) -> None:
    """Calls that may be on the bill with more than is known, and how to settle them."""
    console.print("Not settled: cut off or repeated; they may be on the bill, and count against a budget", style="yellow")
    table = Table("call", "of", "model", "attempts", "at most", box=None)
    for call in calls[:UNSETTLED_SHOWN]:
        attempts = call.maybe_billed + int(call.open)
        most = call.worst.times(attempts or 1).dollars
        worst = "price unknown" if most is None else f"${most:.4f}"
        table.add_row(str(call.number), escape(call.key), escape(call.model), str(attempts or 1), worst)
    console.print(table)
    if len(calls) > UNSETTLED_SHOWN:
        console.print(f"... and {len(calls) - UNSETTLED_SHOWN} more")
    console.print(f"what the bill says of one: runoff resume {escape(run)} --settle CALL=USD (or all=USD)", highlight=False)
