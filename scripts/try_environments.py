"""Measures the finder of set-up and test commands on real repositories; with --build, in the local sandbox.

usage: scripts/try_environments.py [--build] [--rows FILE] REPOSITORY...

For each repository the proposal of its newest commit is printed; with --build, candidates are built in their order until
the tests start, and the baseline is said. --rows appends a row of a Markdown table for each repository.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from pathlib import Path

from agent.cli.environment import Settled, health, prepare
from agent.cli.inputs import Inputs, open_inputs
from agent.cli.settings import SolveSettings, validated
from agent.environments.proposal import shown
from sandbox.errors import RunoffError
from sandbox.local_sandbox import LocalSandbox

HEAD = (
    "| project | commit | set-up, first candidate | from | test command | from | built with | baseline | s |\n"
    + "|---" * 9
    + "|"
)


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("repositories", nargs="+", type=Path, metavar="REPOSITORY")
    parser.add_argument("--build", action="store_true")
    parser.add_argument("--rows", type=Path)
    options = parser.parse_args()
    return asyncio.run(_measure(options.repositories, build=options.build, rows=options.rows))


async def _measure(places: list[Path], *, build: bool, rows: Path | None) -> int:
    failed = 0
    for place in places:
        settings = validated({"repo": str(place), "issue": "none"})
        inputs = await open_inputs(settings)
        with inputs.repository:
            print(f"\n{_name(place)} at {inputs.instance.base_commit[:10]}", *inputs.found(), sep="\n  ", flush=True)
            built, said, seconds = await _build(inputs, settings) if build else ("", "", 0.0)
        failed += built == "none"
        if rows is not None:
            with rows.open("a", encoding="utf-8") as file:
                file.write(_row(place, inputs, built, said, seconds) + "\n")
    return 1 if failed else 0


async def _build(inputs: Inputs, settings: SolveSettings) -> tuple[str, str, float]:
    """(which candidate, what the baseline says, seconds)."""
    sandbox, started = LocalSandbox(1), time.monotonic()
    try:
        settled = await prepare(sandbox, inputs, settings, lambda line: print(f"  | {line}", flush=True))
    except RunoffError as error:
        print(f"  | {error}", flush=True)
        return "none", shown(error.message.splitlines()[-1]), time.monotonic() - started
    finally:
        await sandbox.close()
    said = health(settled.baseline)
    print(f"  | {said}", flush=True)
    return _which(inputs, settled), said.partition(", ")[2], time.monotonic() - started


def _which(inputs: Inputs, settled: Settled) -> str:
    """Such as `2 of 3`."""
    recorded = settled.inputs.recorded
    at = inputs.setups.index(recorded.setup) + 1 if recorded and recorded.setup in inputs.setups else 0
    return f"{at} of {len(inputs.setups)}"


def _row(place: Path, inputs: Inputs, built: str, said: str, seconds: float) -> str:
    first = inputs.setups[0]
    cells = (
        _name(place),
        inputs.instance.base_commit[:10],
        f"`{shown(first.value) or 'none'}`",
        first.evidence,
        f"`{shown(inputs.test.value) or 'none'}`",
        inputs.test.evidence,
        built,
        said,
        f"{seconds:.0f}" if built else "",
    )
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _name(place: Path) -> str:
    """The folder's name; of a bare clone in a folder of its own, that folder's."""
    return (place.parent if place.name in ("repo", "repo.git") else place).name.replace("+", "/")


if __name__ == "__main__":
    sys.exit(main())
