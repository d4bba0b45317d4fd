"""One question to a model that runs nothing: which of these candidates solves the issue.

Issue and code come first and are the same for all questions about an issue, so a prompt cache serves them. A reply that
cannot be read goes back with what was wrong; where the code outgrows the model's context, the diffs are shown alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agent.cleaning import clean
from agent.instances import Instance
from agent.llm.errors import ContextExceeded
from agent.llm.messages import Message, Part, Request, StopReason
from agent.prompts.render import render
from agent.trajectory.flow import Flow
from selection import messages
from selection.candidates import Candidate
from selection.outcomes import bounded
from selection.patches.excerpts import Excerpt
from selection.replies import Choice, Malformed, parse_choice
from selection.trajectory import ARGUMENT_CHARS, SelectionSettings


@dataclass(frozen=True, slots=True)
class Answer:
    """What a question came to."""

    chosen: Candidate | None
    words: str
    """What the model said for its choice, bounded; why there is none, if so."""
    calls: int


async def judge(
    flow: Flow, instance: Instance, order: Sequence[Candidate], code: Sequence[Excerpt], settings: SelectionSettings
) -> Answer:
    """Ask until one of the candidates is named; they are numbered in this order. Raises what `flow` raises for faults."""
    talk = opening(instance, order, code)
    for call in range(1, settings.attempts + 1):
        try:
            reply = await flow.ask("judge", Request(tuple(talk), settings.temperature, settings.max_tokens))
        except ContextExceeded:
            if not code:
                return Answer(None, "the prompt outgrew the model's context", call)
            code = ()
            talk = opening(instance, order, code)
            continue
        if reply.stop_reason is StopReason.REFUSAL:
            return Answer(None, "the model refused to answer", call)
        match parse_choice(reply, len(order)):
            case Choice(number, argument):
                return Answer(order[number - 1], bounded(argument, ARGUMENT_CHARS), call)
            case Malformed() as action:
                talk += [messages.reply(reply.text), malformed(action, len(order))]
    return Answer(None, "no choice that could be read", settings.attempts)


def opening(instance: Instance, order: Sequence[Candidate], code: Sequence[Excerpt]) -> list[Message]:
    """The question: what all questions about the issue share, then the candidates."""
    issue = render("selection_issue", repo=instance.repo, version=instance.version, statement=instance.statement)
    texts = {"instructions": render("judge_instructions"), "issue": issue, "code": render("judge_code", excerpts=code)}
    parts = [Part(name, text.strip("\n") + "\n\n", cache=name == "code") for name, text in texts.items()]
    candidates = render("selection_candidates", diffs=[bare(one.patch.diff) for one in order])
    step = render("judge_step", candidates=len(order))
    asked = Message("user", (Part("candidates", candidates.strip("\n") + "\n\n"), Part("step", step.strip("\n"))))
    return [Message("system", tuple(parts)), asked]


def bare(diff: str) -> str:
    """The diff without tests, caches and scratch files, which prove nothing here; all of it where nothing else is in it."""
    cleaned = clean(diff).diff
    return cleaned if cleaned.strip() else diff


def malformed(action: Malformed, candidates: int) -> Message:
    """What was wrong with a reply."""
    said = bounded(action.said, 200)
    return messages.user("feedback", render("judge_malformed", fault=action.fault.value, said=said, candidates=candidates))
