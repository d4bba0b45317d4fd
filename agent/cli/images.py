"""`runoff images`: bring the images of a run here before it starts, see what there is, and make room afterwards."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from agent.cli import images_make, images_room, interrupts
from agent.cli.json_events import emit_error
from agent.cli.settings import resolve
from sandbox.disk import VARIABLE as KEEP_FREE
from sandbox.disk import keep_free

app = typer.Typer(
    help="Bring the images of a run here before it starts, see what there is, and make room afterwards.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
Dataset = Annotated[
    str | None, typer.Option("--dataset", help="Hub id, or a .jsonl, .json or .parquet file with SWE-bench's columns.")
]
Split = Annotated[str | None, typer.Option("--split", help="Split of a Hub data set. [test]")]
Chosen = Annotated[
    str | None,
    typer.Option("--instances", help="Which of them: ids or patterns with commas between ('*' for all), or a file of ids."),
]
Workers = Annotated[int | None, typer.Option("--workers", min=1, help="How many at once. [2]")]
Keep = Annotated[
    float | None,
    typer.Option("--keep-free", min=0, help=f"GiB that stay free on the engine's disk; {KEEP_FREE} says the same. [2]"),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON lines: what happens, then the result.")]
Runs = Annotated[Path, typer.Option("--runs", envvar="RUNOFF_RUNS", help="Folder that runs land in.")]


@app.command("pull", epilog="Example: runoff images pull --dataset SWE-bench/SWE-bench_Verified --instances 'pallets__*'")
def pull(
    *,
    dataset: Dataset = None,
    split: Split = None,
    instances: Chosen = None,
    workers: Workers = None,
    attempts: Annotated[int, typer.Option("--attempts", min=1, help="Attempts at an image that the network fails.")] = 5,
    keep: Keep = None,
    as_json: Json = False,
) -> None:
    """Pull the images that instances of a data set name. What is here is not pulled again."""
    settings = {"dataset": dataset, "split": split, "workers": workers}
    errors = Console(stderr=True)

    async def work(interrupt: interrupts.Interrupt) -> int:
        room = kept_free(keep)
        resolved = resolve(settings, os.environ, Path.cwd()).settings
        return await images_make.pull(
            resolved, instances, errors, interrupt, attempts=attempts, keep_free=room, as_json=as_json
        )

    leave(work, errors, as_json=as_json)


@app.command("build", epilog="Example: runoff images build --repo . --setup 'pip install -e .'")
def build(
    *,
    repo: Annotated[str | None, typer.Option("--repo", help="Git repository: a path or a URL.")] = None,
    base: Annotated[str | None, typer.Option("--base", help="Revision that the issue is about. [HEAD]")] = None,
    dataset: Dataset = None,
    split: Split = None,
    instances: Chosen = None,
    install_specs: Annotated[
        str | None,
        typer.Option("--install-specs", help="JSON file of environments by repository and version, in place of images."),
    ] = None,
    image: Annotated[str | None, typer.Option("--image", help="Image to build in, or the instance's own.")] = None,
    setup: Annotated[
        str | None, typer.Option("--setup", help="Set-up command; auto finds one, none runs none. [auto]")
    ] = None,
    python: Annotated[
        str | None, typer.Option("--python", help="Interpreter of the environment, such as python3.9.")
    ] = None,
    test_command: Annotated[
        str | None,
        typer.Option("--test-command", help="Command of the health check; auto finds one, none runs none. [auto]"),
    ] = None,
    workers: Workers = None,
    keep: Keep = None,
    as_json: Json = False,
) -> None:
    """Build environments as `runoff solve` would with the same options, which then finds them in the cache."""
    flags = {"repo": repo, "base": base, "dataset": dataset, "split": split, "install_specs": install_specs}
    settings = {**flags, "image": image, "setup": setup, "python": python, "test_command": test_command, "workers": workers}
    errors = Console(stderr=True)

    async def work(interrupt: interrupts.Interrupt) -> int:
        room = kept_free(keep)
        resolved = resolve(settings, os.environ, Path.cwd()).settings
        return await images_make.build(resolved, instances, errors, interrupt, keep_free=room, as_json=as_json)

    leave(work, errors, as_json=as_json)


@app.command("ls", epilog="Example: runoff images ls")
def ls(
    *,
    runs: Runs = Path("runs"),
    project: Annotated[str, typer.Option("--project", help="Only environments of this project.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON list.")] = False,
) -> None:
    """List images that runoff built, pulled or builds on, environments of the local sandbox, and runs that need them."""
    leave(lambda _: images_room.ls(runs, project, as_json=as_json), Console(stderr=True), as_json=as_json)


@app.command("prune", epilog="Example: runoff images prune --older-than 7d --dry-run")
def prune(
    *,
    older_than: Annotated[
        str, typer.Option("--older-than", metavar="AGE", help="Only what was not used for so long: 90m, 12h, 7d.")
    ] = "1d",
    everything: Annotated[
        bool, typer.Option("--all", help="Of any age, and what unfinished runs need; not what a running one does.")
    ] = False,
    containers: Annotated[
        bool, typer.Option("--containers", help="Leave images alone: only containers and volumes that killed runs left.")
    ] = False,
    project: Annotated[str, typer.Option("--project", help="Only environments of this project.")] = "",
    runs: Runs = Path("runs"),
    dry: Annotated[bool, typer.Option("--dry-run", help="Say what would go; remove nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object.")] = False,
) -> None:
    """Remove images and local environments that no unfinished run needs, and what killed runs and builds left."""
    errors = Console(stderr=True)
    asked = images_room.Asked(older_than, everything, containers, project, dry)
    leave(lambda _: images_room.prune(runs, asked, as_json=as_json), errors, as_json=as_json)


def kept_free(gib: float | None) -> int:
    """Bytes to keep free: those of the flag, else of the variable."""
    return keep_free() if gib is None else keep_free({KEEP_FREE: str(gib)})


def leave(work: Any, errors: Console, *, as_json: bool) -> None:
    """End the process with the exit code of the command's coroutine."""
    sys.exit(interrupts.run(work, errors, on_error=emit_error if as_json else lambda error: None))
