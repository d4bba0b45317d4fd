"""What steps are given: flows that replay, one environment for all who need it, limits that only grow."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from agent.cli.ensemble_bench import EnsembleBench
from agent.cli.settings import BatchSettings
from agent.instances import Instance
from agent.llm.messages import Message, Part, Request
from agent.store import Run
from sandbox.api import Limits, Script
from sandbox.errors import InputError
from sandbox.local_sandbox import LocalSandbox
from selection.patches.trees import Trees
from tests.selection import shop

SAYS = Script("import till\nprint(till.total([1]))\n")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("RUNOFF_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture
def instance(tmp_path: Path) -> Instance:
    (tmp_path / "clones" / "shop__till").mkdir(parents=True)
    commit = shop.make(tmp_path / "clones" / "shop__till")
    return Instance(shop.ID, "shop/till", commit, "total counts one too many", "1")


@pytest.fixture
def bench_of(tmp_path):
    def make(**settings):
        told = []
        trees = Trees(tmp_path / "clones")
        run = Run(tmp_path / "chosen.work")
        return EnsembleBench(run, BatchSettings(setup="none", **settings), trees, told.append), told

    return make


async def test_files_are_those_of_the_base_commit(bench_of, instance, tmp_path):
    bench, _ = bench_of()
    (tmp_path / "clones" / "shop__till" / "till.py").write_text("changed in the work tree\n")
    assert bench.files(instance, ["till.py", "none.py"]) == {"till.py": shop.BEFORE["till.py"]}
    assert set(bench.paths(instance)) == set(shop.BEFORE)
    other = Instance("x", "shop/other", "0" * 40, "")
    for ask in (bench.paths, lambda one: bench.files(one, ["a"])):
        with pytest.raises(InputError, match="no clone of shop/other"):
            ask(other)


async def test_step_that_asks_without_a_model(bench_of, instance):
    bench, _ = bench_of()
    flow = await bench.flow(instance, "single")
    with pytest.raises(InputError, match="the step 'single' asks a model"):
        await flow.ask("choose", Request((Message("user", (Part("step", "Which?"),)),), 0.0, 100))
    bench.release(instance.id)


async def test_step_that_a_chain_has_twice_keeps_its_journals_apart(bench_of, instance):
    bench, _ = bench_of()
    first = [(await bench.flow(instance, "single")).journal.path for _ in range(2)]
    bench.release(instance.id)
    again = [(await bench.flow(instance, "single")).journal.path for _ in range(2)]
    bench.release(instance.id)
    assert len(set(first)) == 2
    assert again == first


@pytest.mark.slow
@pytest.mark.timeout(200)
async def test_environment_is_built_once_and_executions_are_replayed(bench_of, instance):
    sandbox = LocalSandbox()
    try:
        bench, told = bench_of(test_command="python -m unittest -v tests.test_gold")
        bench.sandbox = sandbox
        flows = [await bench.flow(instance, "votes"), await bench.flow(instance, "regression", at_least=Limits(seconds=900))]
        first, second = await asyncio.gather(*(flow.run("script", SAYS) for flow in flows))
        assert first.output == second.output == "2\n"
        assert sum("exporting the tree" in event.text for event in told) == 1
        assert (await bench.built(instance)).test == "python -m unittest -v tests.test_gold"
        assert await bench.test_command(instance) == "python -m unittest -v tests.test_gold"
        bench.release(instance.id)

        bench, told = bench_of()
        flow = await bench.flow(instance, "votes")  # no sandbox: nothing may be run
        assert await flow.run("script", SAYS) == first
        with pytest.raises(InputError, match="without a sandbox"):
            await flow.run("script", SAYS, repeat=1)
    finally:
        await sandbox.close()


@pytest.mark.slow
@pytest.mark.timeout(200)
async def test_limits_are_the_wider_ones(bench_of, instance):
    sandbox = LocalSandbox()
    try:
        bench, _ = bench_of(script_seconds=1.0)
        bench.sandbox = sandbox
        slow = Script("import time\ntime.sleep(3)\n")
        own = await (await bench.flow(instance, "votes")).run("script", slow)
        more = await (await bench.flow(instance, "regression", at_least=Limits(seconds=60))).run("script", slow)
        assert (own.limit, more.exit_code) == ("seconds", 0)
    finally:
        bench.release(instance.id)
        await sandbox.close()


@pytest.mark.slow
@pytest.mark.timeout(200)
async def test_test_command_is_found_where_nothing_names_one(bench_of, instance):
    sandbox = LocalSandbox()
    try:
        bench, _ = bench_of()
        bench.sandbox = sandbox
        assert await bench.test_command(instance) == "python -m unittest discover -s tests -t ."
    finally:
        bench.release(instance.id)
        await sandbox.close()
