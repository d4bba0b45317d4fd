"""Executions are carried out once per content, also across processes."""

import asyncio

import pytest

from agent.executor import Executor
from sandbox.api import Environment, Execution, Limits, Patch, Script
from sandbox.errors import SandboxError


class Counting:
    """A sandbox that only counts."""

    def __init__(self, fault=None):
        self.executed = []
        self.fault = fault

    async def execute(self, environment, script, patch=None, limits=None):
        await asyncio.sleep(0.001)
        if self.fault:
            fault, self.fault = self.fault, None
            raise fault
        self.executed.append((script, patch))
        return Execution(2, f"run {len(self.executed)}", 0.1)


ENVIRONMENT = Environment("key", "local", "/nowhere")
SCRIPT, PATCH = Script("exit(2)"), Patch("diff --git a/x b/x\n")


@pytest.fixture
def executor(tmp_path):
    def make(sandbox, environment=ENVIRONMENT, limits=None):
        return Executor(sandbox, environment, limits or Limits(), tmp_path / "executions.jsonl")

    return make


async def test_the_same_pair_never_runs_twice(executor):
    sandbox = Counting()
    ours = executor(sandbox)
    runs = await asyncio.gather(*(ours.run(SCRIPT, PATCH) for _ in range(5)))
    assert len(sandbox.executed) == 1
    assert len(set(runs)) == 1
    assert await executor(sandbox).run(SCRIPT, PATCH) == runs[0]
    assert len(sandbox.executed) == 1


async def test_what_makes_an_execution_another_one(executor):
    sandbox = Counting()
    await executor(sandbox).run(SCRIPT)
    await executor(sandbox).run(SCRIPT, repeat=1)
    await executor(sandbox).run(SCRIPT, PATCH)
    await executor(sandbox).run(Script("exit(2)", "bash"))
    await executor(sandbox, limits=Limits(seconds=1)).run(SCRIPT)
    await executor(sandbox, Environment("other", "local", "/nowhere")).run(SCRIPT)
    assert len(sandbox.executed) == 6


async def test_a_fault_is_not_remembered(executor):
    sandbox = Counting(SandboxError("engine gone"))
    ours = executor(sandbox)
    with pytest.raises(SandboxError):
        await ours.run(SCRIPT)
    assert (await ours.run(SCRIPT)).exit_code == 2
