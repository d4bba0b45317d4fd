"""The editing trajectory: draft an edit, run the script before and after it, revise edit or script.

Source: CodeMonkeys (arXiv 2501.14723), section 3.3.
"""

from __future__ import annotations

from dataclasses import dataclass

from agent.context.packing import Context
from agent.edits.apply import interpret_aside
from agent.edits.types import Faults
from agent.instances import Instance
from agent.llm.errors import ContextExceeded
from agent.llm.messages import Reply
from agent.prompts.render import render
from agent.repository import Repository
from agent.trajectory.edit_form import EditForms
from agent.trajectory.flow import Flow
from agent.trajectory.opening import Conversation, opening
from agent.trajectory.outcome import Outcome, PatchDraft, TriedScript
from agent.trajectory.replies import Action, Approve, Malformed, NewEdit, NewScript, Tag, parse
from agent.trajectory.settings import TrajectorySettings
from sandbox.api import Execution, Patch, Script


@dataclass(frozen=True, slots=True)
class Desk:
    """What an editing trajectory works on: the same for all samples of an instance."""

    instance: Instance
    repository: Repository
    context: Context
    files: str
    """The context as text, as the prompt shows it."""
    forms: EditForms


async def run_editing(flow: Flow, desk: Desk, settings: TrajectorySettings, seed: TriedScript | None) -> PatchDraft:
    """Run one editing trajectory, seeded with a script where there is one.

    Returns its last patch and its last script. A model that sends an edit again which applied stands by it; one that
    sends an edit again which did not is stuck and gets a fresh conversation. Raises what the client and the sandbox
    raise for faults of the infrastructure.
    """
    return await _Draft(flow, desk, settings, seed).work()


class _Draft:
    """One editing trajectory under way: the conversation, the last patch that applied, the last script."""

    def __init__(self, flow: Flow, desk: Desk, settings: TrajectorySettings, seed: TriedScript | None) -> None:
        self.flow, self.desk, self.settings = flow, desk, settings
        self.tried = seed
        self.patch: Patch | None = None
        self.seen = set(desk.context.paths)
        self.unusable = 0
        self.applied = ""
        self.refused: list[str] = []
        self.talk = self.fresh()

    def fresh(self) -> Conversation:
        """A conversation at its start, in the other form once the first has failed often enough."""
        forms, tried = self.desk.forms, self.tried
        form = forms.other if forms.other and self.unusable >= self.settings.unusable_replies else forms.first
        step = render(
            "editing_draft",
            title=self.desk.instance.title,
            format=forms.instructions(form),
            form=form,
            script=tried.script.text if tried else "",
            baseline=_shown(tried.baseline) if tried else "",
        )
        return Conversation.start(opening(self.desk.instance, self.desk.files), step, self.settings)

    async def work(self) -> PatchDraft:
        for turn in range(self.settings.turns):
            if self.talk.full:
                return self.end(Outcome.CONTEXT, turn)
            try:
                reply = await self.flow.ask("revise" if self.patch else "draft", self.talk.request())
            except ContextExceeded:
                return self.end(Outcome.CONTEXT, turn)
            allowed: tuple[Tag, ...] = ("edit", "test", "done") if self.patch else ("edit", "test")
            action = parse(reply, allowed, self.settings.language)
            match action:
                case Approve():
                    return self.end(Outcome.DONE, turn + 1)
                case NewEdit(text) if text == self.applied:
                    return self.end(Outcome.DONE, turn + 1)
                case NewEdit(text) if text in self.refused:
                    self.unusable += 1
                    self.talk = self.fresh()
                case _:
                    self.talk.add(reply, await self.feedback(action, reply))
        return self.end(Outcome.ATTEMPTS, self.settings.turns)

    def end(self, outcome: Outcome, turns: int) -> PatchDraft:
        return PatchDraft(outcome if self.patch else Outcome.NO_EDIT, turns, self.patch, self.tried)

    async def feedback(self, action: Action, reply: Reply) -> str:
        match action:
            case NewEdit(text, closed):
                return await self.edited(text, closed=closed)
            case NewScript(script):
                return await self.scripted(script)
            case Malformed(text):
                return self.fault(text) if "edit" in reply.text.lower() and not self.patch else text
            case Approve():
                raise AssertionError("an approval ends the trajectory")

    async def edited(self, text: str, *, closed: bool) -> str:
        whole_files = self.desk.forms.first == "file"
        tree = self.desk.repository
        parts = self.desk.context.in_part
        outcome = await interpret_aside(
            text, repository=tree, context_paths=self.seen, in_part=parts, fences=whole_files, closed=closed
        )
        if isinstance(outcome, Faults):
            if not outcome.shown:  # an edit of a file that has just been shown may well be sent again
                self.refused.append(text)
            self.seen.update(outcome.shown)
            return self.fault(outcome.feedback)
        self.patch, self.applied = outcome, text
        if self.tried is None:
            return self.result(None, new_script=False)
        return self.result(await self.flow.run("patched", self.tried.script, self.patch), new_script=False)

    async def scripted(self, script: Script) -> str:
        self.tried = TriedScript(script, await self.flow.run("baseline", script))
        if self.patch is None:
            return render("editing_script_first", execution=_shown(self.tried.baseline))
        return self.result(await self.flow.run("patched", script, self.patch), new_script=True)

    def result(self, after: Execution | None, *, new_script: bool) -> str:
        assert self.patch is not None  # noqa: S101  both callers have just seen to it
        return render(
            "editing_feedback",
            diff=_cut(self.patch.diff, self.settings.diff_chars),
            script=after is not None,
            new_script=new_script,
            before=_shown(self.tried.baseline) if self.tried and new_script else "",
            code_before=self.tried.baseline.exit_code if self.tried else None,
            after=_shown(after) if after else "",
        )

    def fault(self, text: str) -> str:
        """Feedback on an unusable edit; with `auto`, after a few of them, with the other form to try."""
        self.unusable += 1
        offer = self.desk.forms.other if self.unusable == self.settings.unusable_replies else None
        return render("editing_fault", feedback=text, other_format=self.desk.forms.instructions(offer) if offer else "")


def _shown(execution: Execution) -> str:
    return render("execution", execution=execution)


def _cut(text: str, limit: int) -> str:
    if len(text) <= limit:
        return text
    head = limit // 2
    return f"{text[:head]}\n[... {len(text) - limit} characters left out ...]\n{text[-(limit - head) :]}"
