"""`runoff solve`: one issue from a repository to the patch that won."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from agent.cli import dry_run, interrupts
from agent.cli.compose import Session
from agent.cli.inputs import found_in
from agent.cli.json_events import JsonEvents, emit, emit_error, spent_json
from agent.cli.progress import Progress
from agent.cli.settings import Resolved, resolve, with_options
from agent.files import write_text
from agent.pipeline import Result
from agent.repository import Repository
from sandbox.errors import InputError

EXAMPLE = (
    "Example: runoff solve --repo . --issue issue.md --model anthropic:claude-sonnet-4-5"
    " --setup 'pip install -e .' --test-command 'pytest -q'"
)


@with_options
def command(
    *,
    output: Annotated[Path | None, typer.Option("--output", help="Write the patch to this file too.")] = None,
    apply: Annotated[bool, typer.Option("--apply", help="Put the patch on the work tree of --repo.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON lines: what happens, then the result.")] = False,
    dry: Annotated[
        bool, typer.Option("--dry-run", help="List files and estimate tokens and dollars; spend nothing.")
    ] = False,
    show_settings: Annotated[bool, typer.Option("--show-settings", help="Print the settings and their sources.")] = False,
    **flags: Any,
) -> None:
    """Resolve one issue: read the repository, draft tests and edits, run them, and pick the patch that wins."""
    errors = Console(stderr=True)

    async def work(interrupt: interrupts.Interrupt) -> int:
        resolved = resolve(flags, os.environ, Path.cwd())
        if show_settings:
            return print_settings(resolved, await found_in(resolved.settings))
        if dry:
            return await dry_run.command(resolved.settings, as_json=as_json)
        if output is not None and output.is_dir():
            raise InputError("--output is a folder", where=str(output), hint="name a file, such as --output won.diff")
        async with watched(errors, interrupt, as_json=as_json, needs_work_tree=apply) as session:
            result = await session.solve(resolved.settings)
            return deliver(session, result, output=output, apply=apply, as_json=as_json)

    sys.exit(interrupts.run(work, errors, on_error=emit_error if as_json else lambda error: None))


@asynccontextmanager
async def watched(
    errors: Console, interrupt: interrupts.Interrupt, *, as_json: bool, **options: bool
) -> AsyncIterator[Session]:
    """A session that is shown on standard error, or told on standard output as JSON lines."""
    if as_json:
        events = JsonEvents()
        async with Session(events, interrupt, **options) as session:
            events.spent = session.spent
            yield session
        return
    with Progress(errors) as progress:
        async with Session(progress, interrupt, **options) as session:
            progress.spending = session.spending
            yield session


def deliver(session: Session, result: Result, *, output: Path | None, apply: bool, as_json: bool) -> int:
    """Print the result and hand out the patch. The exit code: 0 with a patch, 1 without.

    Raises InputError if `apply` is wanted and the patch conflicts with the work tree.
    """
    folder = session.folder
    if result.patch is None:
        if as_json:
            emit("result", **result.to_json(), run=str(session.run.path), spent=spent_json(session.spent()))
        else:
            typer.echo(f"no patch: {result.reason}\nsee: runoff show {session.run.handle}")
        return 1 if "selection" in session.settings.stages else 0
    place = folder / "patch.diff"
    if output is not None:
        write_text(output, result.patch.diff)
        place = output
    if as_json:
        spent = spent_json(session.spent())
        emit("result", **result.to_json(), run=str(session.run.path), patch_file=str(place), spent=spent)
    else:
        typer.echo(f"won: {result.reason}\n{session.spending()}\nwhy: runoff show {session.run.handle}\npatch: {place}")
    if apply:
        put_on_work_tree(session.repository, folder / "patch.diff")
    return 0


def put_on_work_tree(repository: Repository, patch: Path) -> None:
    """Apply the patch to the user's files. Raises InputError, having changed nothing, if it conflicts."""
    from git import GitCommandError, Repo

    with Repo(repository.path) as repo:
        try:
            repo.git.apply("--check", str(patch.resolve()))
            repo.git.apply(str(patch.resolve()))
        except GitCommandError as error:
            raise InputError(
                f"the patch conflicts with the work tree: {str(error.stderr).strip()}",
                where=repository.where,
                hint=f"commit or stash your changes, then: git apply {patch}",
            ) from error


def print_settings(resolved: Resolved[Any], found: Sequence[str]) -> int:
    """All settings with their sources, a line each, and what was found; a value of several lines is shown as one."""
    lines = [("setting", "value", "source"), *resolved.lines()]
    shown = [(name, value.replace("\n", "\\n") or "-", source) for name, value, source in lines]
    widths = [min(40, max(len(line[column]) for line in shown)) for column in (0, 1)]
    for name, value, source in shown:
        typer.echo(f"{name:<{widths[0]}}  {value:<{widths[1]}}  {source}")
    for line in found:
        typer.echo(line)
    return 0
