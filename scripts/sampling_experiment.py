"""Repeats the sampling experiment of docs/concepts/scaling.md: small real bugs, many samples each of a small model.

usage: scripts/sampling_experiment.py --repos CLONES --output FOLDER [--bugs FILE] [--only ID,...]

Makes FOLDER/rows.jsonl and FOLDER/specs.json of the bugs in sampling_bugs.toml, by running the tests of each fix without and
with it in the local sandbox. CLONES holds clones with their history, named owner__name. `runoff batch` and `runoff evaluate
--local` take it from there; the commands are printed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from sampling_rows import Bug, fix_of, make_row, read_bugs

from sandbox.errors import RunoffError
from sandbox.local_sandbox import LocalSandbox
from selection.evaluation.harness import Parsers, find_harness

BUGS = Path(__file__).with_name("sampling_bugs.toml")
NEXT = """
scripts/model-server --model qwen1.5b --context 8192
runoff batch --dataset {rows} --repos {repos} --install-specs {specs} --sandbox local --run sampling \\
    --model openai:qwen1.5b@http://127.0.0.1:8091/v1 --samples 10 --turns 1 --selection-turns 2 --max-tokens 450 \\
    --prefilter bm25:1 --rankings 1 --context-tokens 3000 --window-tokens 7000 --edit-format blocks --temperature 0.7 \\
    --seed 1 --in-flight 1 --instances-at-once 1 --timeout 3000 --script-seconds 20
runoff evaluate sampling --local --candidates
.venv/bin/python scripts/scaling_report.py runs/sampling --ahead 20,50,100
"""


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repos", type=Path, required=True, help="folder of clones")
    parser.add_argument("--output", type=Path, required=True, help="folder for rows.jsonl and specs.json")
    parser.add_argument("--bugs", type=Path, default=BUGS, help="list of bugs (sampling_bugs.toml)")
    parser.add_argument("--only", default="", help="ids with commas between")
    options = parser.parse_args()
    rows, specs = options.output / "rows.jsonl", options.output / "specs.json"
    try:
        bugs = [bug for bug in read_bugs(options.bugs) if not options.only or bug.id in options.only.split(",")]
        options.output.mkdir(parents=True, exist_ok=True)
        specs.write_text(json.dumps([bug.environment for bug in bugs], indent=1) + "\n")
        made = asyncio.run(make(bugs, options.repos, specs))
    except RunoffError as error:
        sys.exit(str(error))
    rows.write_text("".join(json.dumps(row) + "\n" for row in made))
    print(NEXT.format(rows=rows, repos=options.repos, specs=specs))
    return 0 if len(made) == len(bugs) else 1


async def make(bugs: list[Bug], repos: Path, specs: Path) -> list[dict[str, Any]]:
    """The rows; a bug that does not show itself here is told and has none."""
    rows = []
    sandbox = LocalSandbox(1)
    try:
        async with Parsers(await find_harness()) as parsers:
            for bug in bugs:
                try:
                    row = await make_row(bug, fix_of(bug, repos), specs, sandbox, parsers)
                except RunoffError as error:
                    say(f"{bug.id}: left out: {error}")
                else:
                    say(f"{bug.id}: {len(row['FAIL_TO_PASS'])} fail, {len(row['PASS_TO_PASS'])} pass before and after")
                    rows.append(row)
    finally:
        await sandbox.close()
    return rows


def say(line: str) -> None:
    """Tell the person what goes on."""
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
