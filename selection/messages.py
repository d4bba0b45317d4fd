"""The messages of the selection trajectory: what stays the same comes first and is cached, then the dialogue."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from agent.instances import Instance
from agent.llm.messages import Message, Part
from agent.prompts.render import render
from sandbox.api import Execution, Language, Script, Verdict
from selection.candidates import Candidate
from selection.outcomes import bounded, meaning, outcome
from selection.replies import Malformed


@dataclass(frozen=True, slots=True)
class Results:
    """One script on the original and on each finalist, in the order of their numbers."""

    original: Execution
    finalists: tuple[Execution, ...]


class Shown(Protocol):
    """What the model is told of the settings (`selection.trajectory.SelectionSettings`)."""

    @property
    def turns(self) -> int:
        """Model calls at most."""
        ...

    @property
    def language(self) -> Language:
        """Of the scripts."""
        ...

    @property
    def script_seconds(self) -> float:
        """That a script may take."""
        ...


def system(instance: Instance, finalists: Sequence[Candidate], files_before: Mapping[str, str], settings: Shown) -> Message:
    """The system message: instructions, issue, files and candidates, the same for the whole trajectory."""
    paths = sorted({path for one in finalists for path in one.paths})
    files = {path: files_before[path] for path in paths if path in files_before}
    created = [path for path in paths if path not in files]
    diffs = [one.patch.diff for one in finalists]
    texts = {
        "instructions": render(
            "selection_instructions",
            finalists=len(finalists),
            turns=settings.turns,
            language=settings.language,
            seconds=f"{settings.script_seconds:g}",
        ),
        "issue": render("selection_issue", repo=instance.repo, version=instance.version, statement=instance.statement),
        "files": render("selection_files", files=files, created=created),
        "candidates": render("selection_candidates", diffs=diffs),
    }
    parts = [Part(name, text.strip("\n") + "\n\n", cache=name == "candidates") for name, text in texts.items()]
    return Message("system", tuple(parts))


def step(example: Script | None, left: int, language: Language) -> Message:
    """The first user message; `example` is a script that qualified to vote."""
    text = render("selection_step", example=example.text if example else "", left=left, language=language)
    return user("step", text)


def reply(text: str) -> Message:
    """An assistant turn, replayed. Servers refuse an empty one."""
    return Message("assistant", (Part("reply", text if text.strip() else "(empty reply)"),))


def results(seen: Results, *, left: int, output_chars: int, again: bool = False, premature: bool = False) -> Message:
    """What a script did; each output has at most `output_chars` characters, the cut's own line aside.

    `again`: the same script was sent before. `premature`: its reply went on to a choice.
    """
    verdicts = {execution.verdict for execution in seen.finalists}
    text = render(
        "selection_results",
        original=_shown(seen.original, output_chars),
        results=[_shown(execution, output_chars) for execution in seen.finalists],
        again=again,
        premature=premature,
        broken=verdicts == {Verdict.BROKEN} and seen.original.verdict is Verdict.BROKEN,
        alike=len(verdicts) == 1,
        left=left,
    )
    return user("feedback", text)


def malformed(action: Malformed, *, finalists: int, left: int, tried: bool, language: Language) -> Message:
    """What was wrong with a reply; `tried`: a script was run already."""
    text = render(
        "selection_malformed",
        fault=action.fault.value,
        said=bounded(action.said, 200),
        finalists=finalists,
        left=left,
        tried=tried,
        language=language,
    )
    return user("feedback", text)


def user(name: str, text: str) -> Message:
    """A user message of one named part."""
    return Message("user", (Part(name, text.strip("\n")),))


def _shown(execution: Execution, output_chars: int) -> dict[str, str]:
    return {
        "outcome": outcome(execution),
        "meaning": meaning(execution.verdict),
        "output": bounded(execution.output, output_chars),
    }
