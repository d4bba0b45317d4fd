"""Judges every distinct patch that is not judged yet, and writes down what comes of each as it comes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

from agent.progress import Event, Watch
from sandbox.api import Patch
from selection.evaluation.record import Results, Submission, Summary
from selection.evaluation.verdicts import Judgement

STAGE = "evaluation"


class Judge(Protocol):
    """Judges patches on one instance."""

    async def judge(self, patch: Patch) -> Judgement:
        """Faults of the infrastructure are values."""
        ...


class Todo:
    """What is left to judge, and how far it is."""

    def __init__(
        self, results: Results, summary: Summary, submissions: Sequence[Submission], bases: Mapping[str, str], watch: Watch
    ) -> None:
        self._results, self._summary, self._bases, self._watch = results, summary, bases, watch
        wanted = {name: dict.fromkeys(patch for one in submissions for patch in one.wanted(name)) for name in bases}
        self.total = sum(map(len, wanted.values()))
        left = {
            name: [patch for patch in patches if results.find(name, patch, bases[name]) is None]
            for name, patches in wanted.items()
        }
        self.left = {name: patches for name, patches in left.items() if patches}
        self._done = self.total - sum(map(len, self.left.values()))
        if self._done:
            watch(Event("", STAGE, "judged before, by the same labels and settings", self._done, self.total))

    def keep(self, instance: str, patch: Patch, judgement: Judgement) -> None:
        """Write a judgement down and tell it."""
        self._results.keep(instance, patch, self._bases[instance], judgement)
        self._done += 1
        reason = f": {judgement.reason}" if judgement.reason else ""
        text = f"{instance} {patch.digest[:10]}: {judgement.outcome}{reason}"
        self._watch(Event(instance, STAGE, text, self._done, self.total))
        self._summary.write()


async def judge_all(todo: Todo, judge_for: Callable[[str], Judge], instances_at_once: int) -> None:
    """Judge what is left, instance by instance; patches of one instance side by side, as the sandbox allows."""
    gate = asyncio.Semaphore(instances_at_once)

    async def one(judge: Judge, instance: str, patch: Patch) -> None:
        todo.keep(instance, patch, await judge.judge(patch))

    async def all_of(instance: str, patches: Sequence[Patch]) -> None:
        async with gate, asyncio.TaskGroup() as group:
            judge = judge_for(instance)
            for patch in patches:
                group.create_task(one(judge, instance, patch))

    await _together([all_of(name, patches) for name, patches in todo.left.items()])


async def _together(work: Sequence[Awaitable[None]]) -> None:
    """All of it at once; the first fault ends the rest and is raised as it is."""
    try:
        async with asyncio.TaskGroup() as group:
            for each in work:
                group.create_task(_awaited(each))
    except BaseExceptionGroup as faults:
        raise _first(faults) from faults


async def _awaited(work: Awaitable[None]) -> None:
    await work


def _first(faults: BaseExceptionGroup[BaseException]) -> BaseException:
    inner = faults.exceptions[0]
    return _first(inner) if isinstance(inner, BaseExceptionGroup) else inner
