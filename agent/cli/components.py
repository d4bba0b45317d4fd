"""From the flat settings of a command to each component's own."""

from __future__ import annotations

from agent.cli.settings import SolveSettings
from agent.context.bm25 import keep_from
from agent.context.candidates import CandidateRules
from agent.context.ranking import RankingSettings
from agent.context.relevance import RelevanceSettings
from agent.context.stage import ContextSettings
from agent.languages import EXTENSIONS
from agent.llm.settings import LlmSettings
from agent.trajectory.settings import TrajectorySettings
from sandbox.errors import InputError
from selection.runoff import RunOff
from selection.trajectory import SelectionSettings

JUDGEMENT_TOKENS = 4096
"""Tokens that an answer of relevance and ranking may have, as in the paper, unless --max-tokens is lower."""


def llm_settings(settings: SolveSettings) -> LlmSettings:
    """How models are called."""
    return LlmSettings(
        in_flight=settings.in_flight, attempts=settings.retries, timeout_seconds=settings.timeout, prime=settings.priming
    )


def context_settings(settings: SolveSettings) -> ContextSettings:
    """What is read, and how much of it trajectories see."""
    languages = tuple(name.strip() for name in settings.languages.split(",") if name.strip())
    known = sorted(set(EXTENSIONS.values()))
    if unknown := [name for name in languages if name not in known]:
        raise InputError(f"unknown language: {', '.join(unknown)}", where="--languages", hint=f"known: {', '.join(known)}")
    return ContextSettings(
        CandidateRules(languages=languages, tests="include" if settings.with_tests else "top-level"),
        keep_from(settings.prefilter),
        RelevanceSettings(in_flight=settings.in_flight, max_tokens=min(JUDGEMENT_TOKENS, settings.max_tokens)),
        RankingSettings(rankings=settings.rankings, max_tokens=min(JUDGEMENT_TOKENS, settings.max_tokens)),
        settings.context_tokens,
    )


def trajectory_settings(settings: SolveSettings) -> TrajectorySettings:
    """Limits of testing and editing."""
    return TrajectorySettings(
        turns=settings.turns,
        temperature=settings.temperature,
        max_tokens=settings.max_tokens,
        window_tokens=settings.window_tokens,
        testing_context=settings.testing_context,
        edit_format=settings.edit_format,
        language=settings.script_language,
        script_seconds=settings.script_seconds,
    )


def selection_settings(settings: SolveSettings) -> SelectionSettings:
    """Short-list and selection trajectory."""
    return SelectionSettings(
        finalists=settings.finalists,
        turns=settings.selection_turns,
        max_tokens=settings.max_tokens,
        script_seconds=settings.script_seconds,
    )


def run_off(settings: SolveSettings) -> RunOff:
    """Who chooses."""
    return RunOff(selection_settings(settings), settings.selector, settings.stop_at)
