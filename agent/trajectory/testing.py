"""The testing trajectory: draft a script that shows the issue, run it on the unpatched tree, revise.

Source: CodeMonkeys (arXiv 2501.14723), section 3.2.
"""

from __future__ import annotations

from agent.instances import Instance
from agent.llm.errors import ContextExceeded
from agent.prompts.render import render
from agent.trajectory.flow import Flow
from agent.trajectory.opening import Conversation, opening
from agent.trajectory.outcome import Outcome, TestedScript, Testing
from agent.trajectory.replies import Approve, Malformed, NewEdit, NewScript, parse
from agent.trajectory.settings import TrajectorySettings
from sandbox.api import Execution


async def testing(flow: Flow, instance: Instance, settings: TrajectorySettings, files: str) -> Testing:
    """Run one testing trajectory.

    `files` is the packed context as text, for `testing_context = "files"`. Returns its last script, whether or not that reproduces the issue. Raises what the client and the sandbox raise
    for faults of the infrastructure.
    """
    system = opening(instance, files if settings.testing_context == "files" else "")
    talk = Conversation.start(system, render("testing_draft", language=settings.language), settings)
    tested: TestedScript | None = None
    for turn in range(settings.turns):
        if talk.full:
            return Testing(Outcome.CONTEXT, turn, tested)
        try:
            reply = await flow.ask("revise" if tested else "draft", talk.request())
        except ContextExceeded:
            return Testing(Outcome.CONTEXT, turn, tested)
        match parse(reply, ("test", "done") if tested else ("test",), settings.language):
            case Approve():
                return Testing(Outcome.DONE, turn + 1, tested)
            case NewScript(script):
                tested = TestedScript(script, await flow.run("baseline", script))
                talk.add(reply, feedback(tested.baseline))
            case Malformed(text):
                talk.add(reply, text)
            case NewEdit():
                raise AssertionError("an edit is not among the allowed tags")
    return Testing(Outcome.ATTEMPTS, settings.turns, tested)


def feedback(baseline: Execution) -> str:
    """What the model is shown of its script's execution on the unpatched tree."""
    return render("testing_feedback", execution=render("execution", execution=baseline), verdict=baseline.verdict.value)
