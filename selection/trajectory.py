"""The selection trajectory: a model tells the finalists apart with scripts of its own, then names one.

After CodeMonkeys (arXiv 2501.14723), where it is the strongest selector. Ours differs in what goes wrong: a reply that
cannot be read, or an id that is none, goes back to the model, and a trajectory that does not decide says so, so that
the caller falls back to the order of votes. (The reference falls to candidate 0.)
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import assert_never

from agent.instances import Instance
from agent.llm.errors import ContextExceeded
from agent.llm.messages import Message, Part, Request, StopReason
from agent.trajectory.flow import Flow
from sandbox.api import Execution, Language, Patch, Script
from sandbox.errors import InputError
from selection import messages
from selection.candidates import Candidate
from selection.outcomes import bounded
from selection.record import Trial
from selection.replies import Choice, Malformed, NewScript, parse

ARGUMENT_CHARS = 2000
"""Characters of the model's thoughts for its choice that the record keeps."""


@dataclass(frozen=True, slots=True)
class SelectionSettings:
    """How the winner is found."""

    finalists: int = 3
    """Candidates on the short-list."""
    turns: int = 8
    """Model calls of the selection trajectory at most, the choice included; 0 leaves the decision to the votes."""
    temperature: float | None = 0.0
    """Sampling temperature; None for the model's own default."""
    max_tokens: int = 8192
    """Tokens of one reply at most."""
    output_chars: int = 8192
    """Characters of each execution's output that the model sees; more is cut out of the middle."""
    language: Language = "python"
    """What the scripts of the selection trajectory are written in."""
    script_seconds: float = 120.0
    """Seconds that an execution may take: what the model is told, the sandbox's limits hold it."""
    attempts: int = 3
    """Model calls at most until an answer of `single` or `pairwise` can be read."""
    shown: int = 8
    """Candidates that `single` shows in one prompt."""
    pairs: int = 10
    """Pairs of candidates that `pairwise` compares at most, each in both orders."""
    code_chars: int = 60_000
    """Characters of the original code around the changes that `single` and `pairwise` show at most."""

    def __post_init__(self) -> None:
        """Raises InputError for a number that cannot work."""
        bounds = {"turns": 0, "code_chars": 0, "shown": 2}
        for name in ("finalists", "turns", "max_tokens", "output_chars", "attempts", "shown", "pairs", "code_chars"):
            least = bounds.get(name, 1)
            if getattr(self, name) < least:
                message = f"{name} must be at least {least}, not {getattr(self, name)}"
                raise InputError(message, where="settings of the selection", hint=f"set {name} to {least} or more")


@dataclass(frozen=True, slots=True)
class Decision:
    """How a selection trajectory ended."""

    chosen: Candidate | None
    """None if it did not decide; then `undecided` says why."""
    undecided: str = ""
    calls: int = 0
    trials: tuple[Trial, ...] = ()
    argument: str = ""
    """What the model said for its choice, bounded."""


async def choose(
    flow: Flow,
    instance: Instance,
    finalists: Sequence[Candidate],
    *,
    files_before: Mapping[str, str],
    example: Script | None,
    settings: SelectionSettings,
) -> Decision:
    """Ask until one of the finalists is chosen, or a limit is reached.

    The finalists are numbered by digest, not by rank: a model that leans to the first of a list must not learn from
    the order who leads. Raises what `flow` raises for faults of the infrastructure.
    """
    order = sorted(finalists, key=lambda one: one.patch.digest)
    talk = [
        messages.system(instance, order, files_before, settings),
        messages.step(example, settings.turns, settings.language),
    ]
    trials: list[Trial] = []
    for call in range(1, settings.turns + 1):
        left = settings.turns - call
        try:
            reply = await flow.ask("select", _request(talk, settings))
        except ContextExceeded:
            return Decision(None, "the prompt outgrew the model's context", call, tuple(trials))
        if reply.stop_reason is StopReason.REFUSAL:
            return Decision(None, "the model refused to answer", call, tuple(trials))
        match parse(reply, len(order), settings.language):
            case Choice(number, argument):
                said = bounded(argument, ARGUMENT_CHARS)
                return Decision(order[number - 1], calls=call, trials=tuple(trials), argument=said)
            case NewScript(script, premature):
                if not left:
                    break  # nobody would see what it shows
                seen = await _try(flow, script, order)
                again = any(trial.script == script.text for trial in trials)
                trials += [] if again else [_trial(script, seen, order)]
                answer = messages.results(
                    seen, left=left, output_chars=settings.output_chars, again=again, premature=premature
                )
            case Malformed() as action:
                answer = messages.malformed(
                    action, finalists=len(order), left=left, tried=bool(trials), language=settings.language
                )
            case other:
                assert_never(other)
        talk += [messages.reply(reply.text), answer]
    return Decision(None, f"no choice within {settings.turns} model calls", settings.turns, tuple(trials))


def _request(talk: Sequence[Message], settings: SelectionSettings) -> Request:
    """The dialogue so far, with a cache breakpoint behind it: the next request begins with all of it."""
    *before, last = talk
    cached = Message(last.role, tuple(Part(part.name, part.text, cache=True) for part in last.parts))
    return Request((*before, cached), settings.temperature, settings.max_tokens)


async def _try(flow: Flow, script: Script, order: Sequence[Candidate]) -> messages.Results:
    """The script on the original and on all finalists, side by side."""
    patches: list[Patch | None] = [None, *(one.patch for one in order)]
    bodies: list[Callable[[Flow], Awaitable[Execution]]] = [partial(_run, script=script, patch=patch) for patch in patches]
    original, *others = await flow.all(bodies)
    return messages.Results(original, tuple(others))


async def _run(flow: Flow, script: Script, patch: Patch | None) -> Execution:
    return await flow.run("tell apart", script, patch)


def _trial(script: Script, seen: messages.Results, order: Sequence[Candidate]) -> Trial:
    verdicts = {one.id: execution.verdict for one, execution in zip(order, seen.finalists, strict=True)}
    return Trial(script.text, script.language, seen.original.verdict, verdicts)
