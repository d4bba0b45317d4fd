"""Limits of executions: from settings and from the environment, and named where they were reached."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from agent.cli import show
from agent.cli.limits import bounded_by, in_words, limits_of, reached
from agent.cli.settings import SolveSettings, resolve
from agent.store import FORMAT, Run
from sandbox.api import EnvironmentSpec, Execution, Limits, digest_of
from selection.outcomes import outcome

FULL = Execution(-9, "", 3.0, limit="disk", allowed=64)


def test_every_limit_is_a_setting(tmp_path):
    (tmp_path / "runoff.toml").write_text("disk-mb = 64\nprocesses = 20\n")
    found = resolve({"output_chars": 500}, {"RUNOFF_INODES": "4000", "RUNOFF_SCRIPT_SECONDS": "9"}, tmp_path).settings
    limits = limits_of(found)
    assert limits == Limits(9.0, 2048, 20, 64, 500, 4000)
    assert in_words(limits) == (
        "9 seconds, 2048 MiB of memory, 20 processes, 64 MiB of disk, 4000 new files, 500 characters of output"
    )


def test_limits_of_the_environment_go_before_those_of_the_run():
    settings = SolveSettings(script_seconds=100, memory_mb=512)
    spec = EnvironmentSpec("c0ffee", limits={"seconds": 300.0, "processes": 40})
    bounded = bounded_by(settings, spec)
    assert (bounded.script_seconds, bounded.memory_mb, bounded.processes) == (300.0, 512, 40)
    assert bounded_by(settings, None) == settings


def test_keys_of_executions_stay_what_they_were():
    """The digest of the default limits before files were among them: a cache of that time is still good."""
    before = ["120.0", "2048", "256", "512", "8192"]
    assert Limits().digest == Limits(inodes=None).digest
    assert len({Limits().digest, Limits(inodes=131_072).digest, Limits(inodes=1).digest}) == 3
    assert Limits().digest == digest_of(*before)


@pytest.mark.parametrize(
    ("execution", "words"),
    [
        (FULL, "reaches its limit of 64 MiB of disk"),
        (Execution(-9, "", 3.0, timed_out=True, limit="seconds", allowed=1.5), "reaches its limit of 1.5 seconds"),
        (Execution(-9, "", 3.0, timed_out=True, limit="seconds"), "times out"),
        (Execution(0, "", 3.0, limit="output", allowed=500), "exits 0"),
    ],
)
def test_outcome_names_the_limit(execution, words):
    assert outcome(execution) == words


def test_show_tells_the_limits_and_which_were_reached(tmp_path):
    run = Run(tmp_path / "run")
    store = run.instance("one")
    store.path.mkdir(parents=True)
    (run.path / "manifest.json").write_text(
        json.dumps({"format": FORMAT, "settings": {"disk_mb": 64, "script_seconds": 9, "gone": 1}})
    )
    lines = [{"environment": "key", "kind": "head"}]
    lines += [
        {"kind": "run", "result": {"execution": {"exit_code": 0, "output": "", "seconds": 1.0, **extra}}}
        for extra in ({}, {"limit": "disk", "allowed": 64}, {"limit": "output", "allowed": 8192})
    ]
    store.executions.write_text("".join(json.dumps(line) + "\n" for line in lines))
    said = io.StringIO()
    about = {"environment": {"limits": {"memory_mb": 4096}}}
    show._executions(Console(file=said, width=400), store, about)
    first, second = said.getvalue().splitlines()
    assert first.startswith(
        "limits of an execution: 9 seconds, 4096 MiB of memory, 256 processes, 64 MiB of disk, 16384 new files"
    )
    assert second == "executions: 3, ended by a limit: 1 x 64 MiB of disk"
    assert reached([FULL, FULL]) == "2 x 64 MiB of disk"
