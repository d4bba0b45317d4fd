"""`runoff evaluate`: which patches of a run, or of predictions, resolve their issues."""

from __future__ import annotations

import os
import re
import sys
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console

from agent.cli import evaluate_options as options
from agent.cli import interrupts
from agent.cli.evaluate_local import LocalJudges, LocalOptions, local_bases
from agent.cli.evaluate_official import OfficialOptions, judge_officially
from agent.cli.evaluate_print import conclude
from agent.cli.json_events import JsonEvents, emit_error
from agent.cli.progress import Progress
from agent.cli.settings import NONE, SolveSettings, resolve
from agent.instances import Instances, load
from agent.progress import Watch, note
from agent.store import Run
from sandbox.errors import InputError
from sandbox.probe import choose
from sandbox.threads import DaemonThreads
from selection.evaluation.evaluate import Todo, judge_all
from selection.evaluation.harness import Harness, Parsers, find_harness
from selection.evaluation.local import LIMITS
from selection.evaluation.official import basis
from selection.evaluation.record import NOTE, Results, Submission, Summary
from selection.evaluation.sources import of_predictions, of_run
from selection.gold import Gold, load_gold

EXAMPLE = "Example: runoff evaluate predictions.jsonl --dataset SWE-bench/SWE-bench_Verified --workers 4"
RECORDED = ("dataset", "split", "install_specs", "sandbox", "setup", "image", "python", "test_command")
"""Settings of a run that hold for its evaluation too, unless a flag says otherwise."""
OF_SPECS = ("setup", "image", "python", "test_command")
"""Those of them that install specs take the place of, where a flag names some."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line says beyond settings that solving has too."""

    sources: list[str]
    instances: str | None
    local: bool
    candidates: bool
    output: Path | None
    harness_python: str
    of_local: LocalOptions
    of_official: OfficialOptions


def command(
    sources: options.Sources,
    *,
    dataset: options.Dataset = None,
    split: options.Split = None,
    instances: options.Instances = None,
    local: options.Local = False,
    candidates: options.Candidates = False,
    install_specs: options.InstallSpecs = None,
    repos: options.Repos = None,
    sandbox: options.Sandbox = None,
    test_command: options.TestCommand = None,
    network: options.Network = False,
    memory_mb: options.MemoryMb = LIMITS.memory_mb,
    timeout: options.Timeout = LIMITS.seconds,
    workers: options.Workers = None,
    run_id: options.RunId = "runoff",
    namespace: options.Namespace = "swebench",
    harness_python: options.HarnessPython = "",
    output: options.Output = None,
    runs: options.Runs = Path("runs"),
    as_json: options.AsJson = False,
) -> None:
    """Judge patches by the tests of their fixes: the official harness by its own command, or --local."""
    errors = Console(stderr=True)
    names = {"dataset": dataset, "split": split, "install_specs": install_specs, "sandbox": sandbox}
    flags = {**names, "test_command": test_command, "workers": workers, "runs": str(runs)}
    limits = replace(LIMITS, seconds=timeout, memory_mb=memory_mb)
    asked = Asked(
        sources,
        instances,
        local,
        candidates,
        output,
        harness_python,
        LocalOptions(repos, limits, network),
        OfficialOptions(run_id, namespace, timeout),
    )

    async def work(interrupt: interrupts.Interrupt) -> int:
        interrupt.hint = "the same command"
        with Progress(errors) as progress:
            watch: Watch = JsonEvents() if as_json else progress
            summary, submissions = await _evaluate(asked, flags, watch, interrupt)
        return conclude(summary, submissions, errors, as_json=as_json)

    sys.exit(interrupts.run(work, errors, on_error=emit_error if as_json else lambda error: None))


RUN_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,60}")
"""It names folders and containers."""


async def _evaluate(
    asked: Asked, flags: dict[str, Any], watch: Watch, interrupt: interrupts.Interrupt
) -> tuple[Summary, list[Submission]]:
    if not RUN_ID.fullmatch(asked.of_official.run_id):
        raise InputError("a run id is letters, digits, '.', '_' and '-'", where="--run-id", hint="--run-id mine")
    settings, recorded = _settings(asked.sources, flags)
    if asked.of_local.repos is None and recorded.get("repos"):
        asked = replace(asked, of_local=replace(asked.of_local, repos=Path(recorded["repos"])))
    harness = await find_harness(asked.harness_python)
    threads = DaemonThreads(1, "runoff-rows")
    try:
        known, gold = await threads.submit(lambda: _opened(settings))
        submissions = await threads.submit(lambda: _submissions(asked, settings, gold))
    finally:
        threads.close()
    names = _chosen(asked, known, gold, submissions, watch)
    folder = _folder(asked, Path(settings.runs))
    async with AsyncExitStack() as stack:
        results = stack.enter_context(Results(folder))
        stack.enter_context(results.lock())
        judging = _Judging(asked, settings, harness, known, gold, submissions, names, results, watch, interrupt)
        return await (judging.locally(stack) if asked.local else judging.officially()), submissions


@dataclass(frozen=True, slots=True)
class _Judging:
    asked: Asked
    settings: SolveSettings
    harness: Harness
    known: Instances
    gold: Gold
    submissions: list[Submission]
    names: list[str]
    results: Results
    watch: Watch
    interrupt: interrupts.Interrupt

    async def locally(self, stack: AsyncExitStack) -> Summary:
        """In runoff's own sandbox."""
        self.watch(note(NOTE["local"]))
        settings, options = self.settings, self.asked.of_local
        sandbox = await choose(settings.sandbox, settings.workers, lambda line: self.watch(note(line)))
        stack.push_async_callback(sandbox.close)
        self.interrupt.kill = sandbox.interrupt
        bases = local_bases(self.gold, self.names, settings, options, sandbox=sandbox.name, harness=self.harness)
        tools = {"runoff": version("runoff"), "swebench": str(self.harness.version), "sandbox": sandbox.name}
        summary = Summary(self.results, self.gold, self.submissions, bases, how="local", tools=tools)
        todo = Todo(self.results, summary, self.submissions, bases, self.watch)
        parsers = await stack.enter_async_context(Parsers(self.harness))
        judges = LocalJudges(
            self.known.by_id,
            self.gold,
            settings,
            options,
            sandbox=sandbox,
            parsers=parsers,
            results=self.results,
            watch=self.watch,
        )
        await judge_all(todo, judges.judge_for, settings.workers)
        summary.write(finished=True)
        return summary

    async def officially(self) -> Summary:
        """By the harness's own command."""
        bases = {name: basis(self.gold.of(name), self.asked.of_official.timeout) for name in self.names}
        tools = {"runoff": version("runoff"), "swebench": str(self.harness.version)}
        summary = Summary(self.results, self.gold, self.submissions, bases, how="official", tools=tools)
        todo = Todo(self.results, summary, self.submissions, bases, self.watch)
        await judge_officially(
            self.harness,
            self.settings,
            self.asked.of_official,
            todo=todo,
            bases=bases,
            results=self.results,
            interrupt=self.interrupt,
        )
        summary.write(finished=True)
        return summary


def _settings(sources: list[str], flags: dict[str, Any]) -> tuple[SolveSettings, dict[str, Any]]:
    """Flags, variables and runoff.toml, below them what the first run among the sources was made with; and the latter."""
    resolved = resolve(flags, os.environ, Path.cwd())
    run = next((found for source in sources if (found := _run(source, Path(resolved.settings.runs)))), None)
    recorded = run.settings() if run else {}
    left_out = {*resolved.sources, *(OF_SPECS if "install_specs" in resolved.sources else ())}
    taken = {name: recorded[name] for name in RECORDED if name in recorded and name not in left_out}
    if taken.get("test_command") in ("", NONE):  # no health check was wanted; that says nothing of these tests
        del taken["test_command"]
    settings = resolved.settings.model_copy(update=taken)
    if not settings.dataset:
        raise InputError("no data set is named", where="--dataset", hint="--dataset SWE-bench/SWE-bench_Verified, or a file")
    return settings, recorded


def _run(source: str, runs: Path) -> Run | None:
    """The run that a source names; None for a file."""
    return None if Path(source).is_file() else Run.find(source, runs)


def _opened(settings: SolveSettings) -> tuple[Instances, Gold]:
    return load(settings.dataset, split=settings.split), load_gold(settings.dataset, split=settings.split)


def _submissions(asked: Asked, settings: SolveSettings, gold: Gold) -> list[Submission]:
    found: list[Submission] = []
    for source in asked.sources:
        run = _run(source, Path(settings.runs))
        one = of_run(run, gold.by_id, candidates=asked.candidates) if run else of_predictions(Path(source), gold.by_id)
        if any(other.name == one.name for other in found):
            one.name = Path(source).stem
        if any(other.name == one.name for other in found):
            raise InputError(f"two sources are called '{one.name}'", where=source, hint="rename one of the files")
        found.append(one)
    return found


def _chosen(asked: Asked, known: Instances, gold: Gold, submissions: list[Submission], watch: Watch) -> list[str]:
    """The instances to judge: those that have an answer, or of these the ones asked for."""
    answered = {name for one in submissions for name in one.patches}
    wanted = {one.id for one in known.chosen(asked.instances)} if asked.instances else answered
    names = [name for name in known.by_id if name in wanted and name in answered and name in gold.by_id]
    for line in (line for one in submissions for line in one.told):
        watch(note(line))
    for one in submissions:
        if missing := [name for name in names if name not in one.patches]:
            watch(
                note(
                    f"{one.name}: no prediction for {len(missing)} of the {len(names)} instances ({', '.join(missing[:3])})"
                )
            )
    if not names:
        raise InputError(
            "no prediction is for the chosen instances", where="--instances", hint="leave --instances out for all"
        )
    return names


def _folder(asked: Asked, runs: Path) -> Path:
    if asked.output is not None:
        if asked.output.is_file():
            raise InputError("--output is a file", where=str(asked.output), hint="name a folder")
        return asked.output
    if len(asked.sources) > 1:
        raise InputError("several sources have no folder of their own", where="--output", hint="--output runs/evaluate-all")
    run = _run(asked.sources[0], runs)
    return run.path if run else runs / f"evaluate-{Path(asked.sources[0]).stem}"
