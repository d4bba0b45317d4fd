"""The testing trajectory: draft a script that shows the issue, run it on the unpatched tree, revise.

Source: CodeMonkeys (arXiv 2501.14723), section 3.2.
"""

from __future__ import annotations

from agent.instances import Instance
from agent.llm.errors import ContextExceeded
from agent.prompts.render import render
from agent.trajectory.flow import Flow
from agent.trajectory.opening import Conversation, opening
from agent.trajectory.outcome import Outcome, ScriptDraft, TriedScript
from agent.trajectory.replies import Approve, Malformed, NewEdit, NewScript, Tag, parse
from agent.trajectory.settings import TrajectorySettings
from sandbox.api import Execution


async def run_testing(flow: Flow, instance: Instance, settings: TrajectorySettings, files: str) -> ScriptDraft:
    """Run one testing trajectory.

    `files` is the packed context as text, for `testing_context = "files"`. Returns the last script, whether or not it
    reproduces the issue. A model that sends the same script again stands by it if that reproduces, and else is stuck
    and gets a fresh conversation. Raises what the client and the sandbox raise for faults of the infrastructure.
    """
    shown = files if settings.testing_context == "files" else ""
    step = draft_step(instance, settings, files=bool(shown))
    talk = Conversation.start(opening(instance, shown), step, settings)
    tried: TriedScript | None = None
    for turn in range(settings.turns):
        if talk.full:
            return ScriptDraft(Outcome.CONTEXT, turn, tried)
        try:
            reply = await flow.ask("revise" if tried else "draft", talk.request())
        except ContextExceeded:
            return ScriptDraft(Outcome.CONTEXT, turn, tried)
        allowed: tuple[Tag, ...] = ("test", "done") if tried and tried.reproduces else ("test",)
        match parse(reply, allowed, settings.language):
            case Approve():
                return ScriptDraft(Outcome.DONE, turn + 1, tried)
            case NewScript(script) if tried and script == tried.script and tried.reproduces:
                return ScriptDraft(Outcome.DONE, turn + 1, tried)
            case NewScript(script) if tried and script == tried.script:
                talk.restart()
            case NewScript(script):
                tried = TriedScript(script, await flow.run("baseline", script))
                talk.add(reply, feedback(tried.baseline))
            case Malformed(text):
                talk.add(reply, text)
            case NewEdit():
                raise AssertionError("an edit is not among the allowed tags")
    return ScriptDraft(Outcome.ATTEMPTS, settings.turns, tried)


def draft_step(instance: Instance, settings: TrajectorySettings, *, files: bool) -> str:
    """What the first request asks for; `files`: the model is shown the context."""
    seconds = f"{settings.script_seconds:g}"
    return render("testing_draft", language=settings.language, title=instance.title, files=files, seconds=seconds)


def feedback(baseline: Execution) -> str:
    """What the model is shown of its script's execution on the unpatched tree."""
    return render("testing_feedback", execution=render("execution", execution=baseline), verdict=baseline.verdict.value)
