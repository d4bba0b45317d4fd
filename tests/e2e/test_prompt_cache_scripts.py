"""The two scripts behind the prompt cache's figures: one on a real model server, one on the price table."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def rows(script, *arguments):
    """The words of each line that the script prints, its heading first."""
    command = [sys.executable, str(ROOT / "scripts" / script), *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return [line.split() for line in done.stdout.splitlines()]


def table(*arguments):
    """(turns, no cache, prefix without priming, prefix, prefix and turns) in dollars."""
    return [[float(word) for word in row] for row in rows("cache_costs.py", *arguments) if row[0].isdigit()]


def test_costs_of_a_stage_by_hand():
    """2 samples of 2 turns, at 2 dollars fresh, 0.1 read and 2.5 written, per million tokens."""
    shape = ("--samples", "2", "--turns", "2", "--prefix", "1000000", "--step", "100000", "--turn", "200000")
    _, two, *_ = table("--model", "anthropic:claude-sonnet-5-5", *shape)
    none = 2 * 2 * (1.1 + 1.3)
    tails = 2 * 2 * (0.1 + 0.3)
    prefix = 2.5 + 3 * 0.1 + tails
    turns = 2.5 * (1 + 2 * 0.1 + 2 * 0.2) + 0.1 * (1 + 2 * 1.1)
    assert two == pytest.approx([2, none, 2 * 2.5 + 2 * 0.1 + tails, prefix, turns], abs=0.006)


def test_every_breakpoint_pays_at_the_default_shape():
    for turns, none, unprimed, prefix, both in table():
        assert prefix < none
        assert prefix < unprimed
        assert both < prefix or turns == 1


@pytest.mark.server
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_editing_stage_finds_its_prefix_in_a_real_servers_cache():
    size = ("--samples", "2", "--turns", "2", "--context-tokens", "1200", "--window", "4096", "--max-tokens", "8")
    heading, row = rows("bench_prompt_cache.py", *size, "--layouts", "one", "--protocols", "openai", "--priming", "on")
    found = dict(zip(heading, row, strict=False))
    assert found["calls"] == "4"
    assert float(found["shared"].rstrip("%")) > 85
    assert float(found["cached"].rstrip("%")) > 80
