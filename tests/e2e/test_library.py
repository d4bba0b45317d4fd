"""`from agent import solve`: the same thing as the command line."""

import asyncio
import json
import subprocess
import sys

import pytest

import agent
from agent import BudgetReached, Event, InputError, resume, resume_async, solve, solve_async
from sandbox.api import Patch
from tests.e2e.conftest import ISSUE, RIGHT, ROOT
from tests.e2e.served import serve

PRICES = {"price": "1,2"}


@pytest.fixture
def options(repository, tmp_path):
    """What `runoff solve` of the other tests is told, as keyword arguments."""
    return {"repo": str(repository), "issue": ISSUE, "samples": 2, "sandbox": "local", "runs": str(tmp_path / "runs")}


def test_solve(options, person, runoff, solve_arguments):
    heard: list[Event] = []
    with serve(person.say) as served:
        solution = solve(**options, **PRICES, model=served.model, run="library", watch=heard.append)
        code, _, err = runoff(*solve_arguments, "--samples", 2, "--model", served.model, "--price", "1,2")
    assert code == 0, err
    assert isinstance(solution.patch, Patch)
    assert RIGHT in solution.patch.diff
    assert runoff.result()["patch"] == solution.patch.digest
    assert solution.reason == runoff.result()["reason"]
    assert solution.run.name == "library"
    assert solution.spent.dollars > 0
    assert solution.spent.unsettled == 0
    assert {event.stage for event in heard} >= {"environment", "relevance", "testing", "editing", "selection"}


def test_budget_and_resume(options, person):
    with serve(person.say) as served:
        with pytest.raises(BudgetReached, match="all 3 calls are made"):
            solve(**options, **PRICES, model=served.model, run="library", budget_calls=3)
        solution = resume("library", runs=options["runs"], budget_calls=100)
        assert solution.patch is not None
        assert served.asked.total() == solution.spent.calls


async def test_cancelling_ends_what_runs_and_can_be_resumed(options, person, tmp_path):
    started = tmp_path / "started"

    def say(request, turn):
        if request["key"]["stage"] == "testing" and turn == 1:
            started.touch()
            return "<test>\nimport sys, time\nfrom texttools import slug\ntime.sleep(60 if slug('A  B') else 0)\n</test>"
        return person.say(request, turn)

    with serve(say) as served:
        arguments = {**options, **PRICES, "model": served.model, "run": "library", "script_seconds": 4, "turns": 3}
        task = asyncio.create_task(solve_async(**arguments))
        async with asyncio.timeout(60):
            while not started.exists():  # noqa: ASYNC110  the other side is a process
                await asyncio.sleep(0.05)
            await asyncio.sleep(1.0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
    with serve(person.say) as served:
        endpoint = {"model": served.model, "cheap_model": served.model}
        solution = await resume_async("library", runs=options["runs"], **endpoint, fork=True)
    assert solution.run == tmp_path / "runs" / "library"


def test_bad_options(options):
    with pytest.raises(InputError, match="no-such-option"):
        solve(**options, no_such_option=1)
    with pytest.raises(TypeError, match="either"):
        solve(agent.SolveSettings(), samples=1)


def test_every_name_of_the_library_is_there_and_loads_lazily():
    assert all(getattr(agent, name) for name in agent.__all__)
    with pytest.raises(AttributeError, match="no_such_name"):
        agent.no_such_name  # noqa: B018
    code = "import sys, agent, json; print(json.dumps(sorted(sys.modules)))"
    loaded = json.loads(subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True).stdout)
    assert not {"openai", "docker", "agent.cli"}.intersection(loaded)
