"""Ctrl-C in each stage: the prompt is back at once, nothing is left behind, and `runoff resume` finishes."""

import json
import os
import secrets
import signal
import subprocess
import time
from collections import Counter

import pytest

from tests.processes import command_of, everybody

SECONDS = 2.0


def processes_of(marker):
    """Command lines on this machine that hold the marker."""
    return [line for pid in everybody() if marker in (line := command_of(pid)) and pid != os.getpid()]


def containers_of(process):
    """Ids of the containers, running or not, that a process has made."""
    labelled = ["docker", "ps", "-aq", "--filter", f"label=runoff.pid={process.pid}"]
    return subprocess.run(labelled, capture_output=True, text=True, check=True).stdout.split()


def interrupt(process):
    """Exit code, seconds until the process was gone, standard error."""
    started = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    return process.returncode, time.monotonic() - started, err


@pytest.mark.parametrize("stage", ["relevance", "testing", "editing", "selection"])
def test_ctrl_c_while_a_model_is_asked(runoff, person, solve_arguments, wait_until, stage):
    person.held = {stage}
    process = runoff.start(*solve_arguments)
    wait_until(lambda: stage in person.open())
    time.sleep(0.3)
    code, seconds, err = interrupt(process)
    assert (code, "runoff resume first" in err) == (130, True), err
    assert seconds < SECONDS
    before = [json.dumps(key, sort_keys=True) for key in person.answered]
    person.held = set()
    code, out, err = runoff("resume", "first")
    assert code == 0, err
    assert out.splitlines()[-1].startswith("patch: ")
    twice = Counter([*before, *(json.dumps(key, sort_keys=True) for key in person.answered[len(before) :])])
    assert max(twice.values()) == 1


SLOW = "import time\nfor _ in range(600):\n    time.sleep(0.1)\n"


@pytest.mark.parametrize("sandbox", ["local", pytest.param("docker", marks=pytest.mark.docker)])
def test_ctrl_c_while_a_script_runs_leaves_nothing_behind(runoff, person, solve_arguments, wait_until, sandbox):
    marker = f"interrupted-{secrets.token_hex(4)}-{sandbox}"
    slow = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {SLOW!r}, {marker!r}])\n"
    usual = person.say
    person.say = lambda request, turn: (
        f"<test>\n{slow}</test>" if request["key"]["stage"] == "testing" else usual(request, turn)
    )
    process = runoff.start(*solve_arguments, "--sandbox", sandbox)
    wait_until(lambda: processes_of(marker))
    code, seconds, err = interrupt(process)
    assert code == 130, err
    assert seconds < SECONDS
    wait_until(lambda: not processes_of(marker), 5)
    assert sandbox != "docker" or containers_of(process) == []


@pytest.mark.parametrize("sandbox", ["local", pytest.param("docker", marks=pytest.mark.docker)])
def test_ctrl_c_during_set_up(runoff, solve_arguments, wait_until, sandbox):
    marker = f"set-up-{secrets.token_hex(4)}-{sandbox}"
    process = runoff.start(*solve_arguments, "--sandbox", sandbox, "--setup", f"exec -a {marker} sleep 60")
    begun = lambda: [line for line in processes_of(marker) if line.startswith(marker)]  # noqa: E731
    wait_until(begun)
    code, seconds, err = interrupt(process)
    assert code == 130, err
    assert seconds < SECONDS
    wait_until(lambda: not begun(), 5)
    assert sandbox != "docker" or containers_of(process) == []


def test_a_kill_costs_no_answer_twice(runoff, person, solve_arguments, wait_until):
    person.held = {"editing"}
    process = runoff.start(*solve_arguments)
    wait_until(lambda: person.open().count("editing") == 3)
    process.kill()
    process.communicate()
    answered = len(person.answered)
    person.held = set()
    code, _, err = runoff("resume", "first")
    assert code == 0, err
    assert {key["stage"] for key in person.answered[answered:]} == {"editing", "selection"}


def test_a_run_in_use_is_not_touched(runoff, person, solve_arguments, wait_until):
    person.held = {"testing"}
    process = runoff.start(*solve_arguments)
    wait_until(lambda: "testing" in person.open())
    code, _, err = runoff("resume", "first")
    assert code == 2
    assert f"in use by process {process.pid}" in err
    interrupt(process)
