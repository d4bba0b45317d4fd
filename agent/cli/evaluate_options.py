"""The options of `runoff evaluate`, as typer reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Sources = Annotated[list[str], typer.Argument(metavar="RUN|PREDICTIONS...", help="Runs, or files of predictions.")]
Dataset = Annotated[
    str | None,
    typer.Option("--dataset", help="Hub id or file with the labels; of a run, the one that it was made from."),
]
Split = Annotated[str | None, typer.Option("--split", help="Split of a Hub data set. [test]")]
Instances = Annotated[
    str | None, typer.Option("--instances", help="Only these: ids or patterns with commas between, or a file of ids.")
]
Local = Annotated[
    bool,
    typer.Option("--local", help="Evaluate in runoff's own sandbox, for want of the official images. Not official."),
]
Candidates = Annotated[
    bool, typer.Option("--candidates", help="Of a run: what every sample ended with too, for coverage and pass@1.")
]
InstallSpecs = Annotated[
    str | None, typer.Option("--install-specs", help="With --local: JSON file of environments, in place of images.")
]
Repos = Annotated[
    Path | None,
    typer.Option(
        "--repos", help="With --local: folder of clones named owner__name. [of a run: its own; else from their hosts]"
    ),
]
Sandbox = Annotated[str | None, typer.Option("--sandbox", help="With --local: auto, docker or local. [auto]")]
TestCommand = Annotated[
    str | None, typer.Option("--test-command", help="With --local: runs the tests; the test files are appended.")
]
Network = Annotated[bool, typer.Option("--network", help="With --local: tests may reach the network.")]
MemoryMb = Annotated[int, typer.Option("--memory-mb", min=64, help="With --local: mebibytes that one test run may use.")]
Timeout = Annotated[float, typer.Option("--timeout", min=1, help="Seconds that the tests of one patch may take.")]
Workers = Annotated[int | None, typer.Option("--workers", min=1, help="Test runs at once. [2]")]
RunId = Annotated[str, typer.Option("--run-id", help="How run ids of the harness begin; a digest of the patches follows.")]
Namespace = Annotated[str, typer.Option("--namespace", help="Of the images, for swebench 4.1; 'none' builds them here.")]
HarnessPython = Annotated[
    str, typer.Option("--harness-python", help="The Python that has swebench 4.1 or 5; runoff's own if not given.")
]
Output = Annotated[Path | None, typer.Option("--output", help="Folder of the results. [the run, or runs/evaluate-NAME]")]
Runs = Annotated[Path, typer.Option("--runs", envvar="RUNOFF_RUNS", help="Folder that runs land in.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON lines: what happens, then the result.")]
