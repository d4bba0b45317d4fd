"""The context stage: candidates, an optional prefilter, relevance, ranking, packing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from agent.context.bm25 import nearest
from agent.context.candidates import CandidateRules, candidates
from agent.context.excerpts import excerpt
from agent.context.packing import Context, Overflow, pack
from agent.context.ranking import Ranking, RankingSettings, rank
from agent.context.relevance import Relevance, RelevanceSettings, judge
from agent.instances import Instance
from agent.repository import Repository, SourceFile
from agent.trajectory.flow import Flow
from sandbox.errors import InputError


@dataclass(frozen=True, slots=True)
class ContextSettings:
    """What is read and how much of it trajectories see."""

    rules: CandidateRules = field(default_factory=CandidateRules)
    best_by_words: int | None = None
    """Read only so many files, the best by BM25; None reads all."""
    relevance: RelevanceSettings = field(default_factory=RelevanceSettings)
    ranking: RankingSettings = field(default_factory=RankingSettings)
    budget: int = 128_000
    """Estimated tokens of the context."""
    overflow: Overflow = "skip"
    """What a file does that is too large for what is left of the budget."""


@dataclass(frozen=True, slots=True)
class BuiltContext:
    """The context and how it came about."""

    context: Context
    relevance: Relevance
    ranking: Ranking
    left_out: Mapping[str, int]
    """Files of the repository that were no candidates, by reason."""
    prefiltered: int
    """Candidates that the prefilter left out."""

    def summary(self) -> str:
        """One line for the log."""
        found, packed = len(self.relevance.files), self.context
        line = f"{found} of {self.relevance.judged} files relevant, {len(packed.files)} packed ({packed.tokens} tokens)"
        notes = [
            f"{len(packed.in_part)} of them in part" if packed.in_part else "",
            f"{len(packed.left_out)} did not fit" if packed.left_out else "",
            "give more room with --context-tokens" if packed.left_out and not packed.files else "",
            "no file is shown; a wider --prefilter reads more" if not found and self.prefiltered else "",
            f"{len(self.relevance.unreadable)} without a verdict" if self.relevance.unreadable else "",
            f"{self.ranking.invented} invented paths dropped" if self.ranking.invented else "",
            f"{self.ranking.unparsed} rankings unreadable" if self.ranking.unparsed else "",
        ]
        return ", ".join([line, *filter(None, notes)])

    def to_json(self) -> dict[str, Any]:
        """For 01_context/context.json; without the files' text, which lies in the repository."""
        return {
            "files": [{"path": file.path, "tokens": file.tokens, "whole": file.whole} for file in self.context.files],
            "did_not_fit": [asdict(file) for file in self.context.left_out],
            "relevant": [asdict(file) for file in self.relevance.files],
            "judged": self.relevance.judged,
            "unreadable": list(self.relevance.unreadable),
            "ranking": asdict(self.ranking),
            "left_out": dict(self.left_out),
            "prefiltered": self.prefiltered,
        }


def files_to_read(
    repository: Repository, issue: str, settings: ContextSettings
) -> tuple[list[SourceFile], Mapping[str, int], int]:
    """(files to judge, left out by reason, left out by the prefilter)."""
    found = candidates(repository, settings.rules)
    if settings.best_by_words is None:
        return list(found.files), found.left_out, 0
    kept = nearest(found.files, issue, settings.best_by_words, read=repository.read)
    return list(kept), found.left_out, len(found.files) - len(kept)


async def build_context(
    instance: Instance,
    repository: Repository,
    settings: ContextSettings,
    *,
    relevance_flow: Flow,
    ranking_flow: Flow,
    tell: Callable[[str, int, int], None] = lambda text, done, total: None,
    forecast: Callable[[Sequence[SourceFile]], str] | None = None,
) -> BuiltContext:
    """Run the stage; `tell` hears (text, files judged, files to judge). Raises what the clients raise.

    `forecast`: what is to be told of the files before the first of them is judged.
    """
    files, left_out, prefiltered = files_to_read(repository, instance.statement, settings)
    if not files:
        counts = ", ".join(f"{count} {reason}" for reason, count in left_out.items())
        raise InputError(
            f"no file to read is left ({counts})", where=instance.repo, hint="widen --languages or pass --with-tests"
        )
    if forecast:
        tell(forecast(files), 0, 0)
    tell("files", 0, len(files))
    seen: set[str] = set()

    def judged(branch: str) -> None:
        path = branch.split("#", maxsplit=1)[0]
        seen.add(path)
        tell(path, len(seen), len(files))

    relevance = await judge(
        relevance_flow.observed(lambda entry: judged(entry.branch)),
        files,
        read=repository.read,
        issue=instance.statement,
        repository=instance.repo,
        settings=settings.relevance,
    )
    ranking = await rank(
        ranking_flow, relevance.files, issue=instance.statement, repository=instance.repo, settings=settings.ranking
    )
    said = {file.path: file.summary for file in relevance.files}

    def cut(path: str, text: str, tokens: int) -> str:
        return excerpt(path, text, wanted=f"{instance.statement}\n{said.get(path, '')}", tokens=tokens)

    context = pack(ranking.paths, read=repository.read, budget=settings.budget, overflow=settings.overflow, cut=cut)
    return BuiltContext(context, relevance, ranking, left_out, prefiltered)
