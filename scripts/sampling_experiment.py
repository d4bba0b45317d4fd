"""Repeats the sampling experiment of docs/concepts/scaling.md: small real bugs, many samples each of a small model.

usage: scripts/sampling_experiment.py --repos CLONES --output FOLDER [--bugs FILE] [--only ID,...]

Makes FOLDER/rows.jsonl and FOLDER/specs.json of the bugs in sampling_bugs.toml, by running the tests of each fix without and with
it in the local sandbox. CLONES holds clones with their history, named owner__name. `runoff batch` and `runoff evaluate --local`
take it from there; the commands are printed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from pathlib import Path

from sampling_rows import TEST_COMMAND, Bug, fix_of, make_row, read_bugs

from sandbox.errors import RunoffError
from sandbox.local_sandbox import LocalSandbox
from selection.evaluation.harness import Parsers, find_harness

BUGS = Path(__file__).with_name("sampling_bugs.toml")
NEXT = """
runoff batch --dataset {rows} --repos {repos} --install-specs {specs} --sandbox local --model SPEC --samples 10 --run sampling ...
runoff evaluate sampling --local --candidates
scripts/scaling_report.py runs/sampling
"""


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repos", type=Path, required=True, help="folder of clones")
    parser.add_argument("--output", type=Path, required=True, help="folder for rows.jsonl and specs.json")
    parser.add_argument("--bugs", type=Path, default=BUGS, help="list of bugs (sampling_bugs.toml)")
    parser.add_argument("--only", default="", help="ids with commas between")
    options = parser.parse_args()
    try:
        bugs = [bug for bug in read_bugs(options.bugs) if not options.only or bug.id in options.only.split(",")]
        left_out = asyncio.run(make(bugs, options.repos, options.output))
    except RunoffError as error:
        sys.exit(str(error))
    print(NEXT.format(rows=options.output / "rows.jsonl", repos=options.repos, specs=options.output / "specs.json"))
    return 1 if left_out else 0


async def make(bugs: list[Bug], repos: Path, output: Path) -> list[str]:
    """Write rows and specs; gives the ids of bugs that do not show themselves here, which have no row."""
    output.mkdir(parents=True, exist_ok=True)
    specs = output / "specs.json"
    environments = [{"instance_id": b.id, "install_commands": [b.install], "test_command": TEST_COMMAND} for b in bugs]
    specs.write_text(json.dumps(environments, indent=1) + "\n")
    rows, left_out = [], []
    sandbox = LocalSandbox(1)
    try:
        async with Parsers(await find_harness()) as parsers:
            for bug in bugs:
                try:
                    row = await make_row(bug, fix_of(bug, repos), specs, sandbox, parsers, say)
                except RunoffError as error:
                    say(f"{bug.id}: left out: {error}")
                    left_out.append(bug.id)
                else:
                    say(f"{bug.id}: {len(row['FAIL_TO_PASS'])} fail, {len(row['PASS_TO_PASS'])} pass before and after")
                    rows.append(row)
    finally:
        await sandbox.close()
    (output / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return left_out


def say(line: str) -> None:
    """Tell the person what goes on."""
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
