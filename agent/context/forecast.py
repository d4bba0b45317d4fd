"""What the context stage will cost, from file sizes alone: a dry run asks no model and reads no file for it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from agent.context.relevance import RelevanceSettings, shared_message
from agent.llm.tokens import estimate, estimate_bytes
from agent.repository import SourceFile

_ASKED = 120  # tokens around each file: tags, path, the question
_ANSWERED = 250  # tokens of a usual answer


@dataclass(frozen=True, slots=True)
class Forecast:
    """Calls of the relevance stage and their tokens."""

    calls: int
    shared_tokens: int
    """Tokens that every prompt begins with; a server with a prompt cache reads them from it but for the first call."""
    file_tokens: int
    """Tokens of all prompts behind the shared beginning."""
    output_tokens: int
    """Tokens of all answers, as models usually answer; `RelevanceSettings.max_tokens` each at worst."""

    @property
    def input_tokens(self) -> int:
        """Tokens of all prompts, the shared beginning counted in each."""
        return self.calls * self.shared_tokens + self.file_tokens


def forecast(
    files: Sequence[SourceFile], *, issue: str, repository: str, settings: RelevanceSettings | None = None
) -> Forecast:
    """The cost of judging these files. Overlaps of pieces are counted as a tenth."""
    settings = settings or RelevanceSettings()
    sizes = [estimate_bytes(file.size) for file in files]
    pieces = [ceil(size / settings.piece_tokens * (1.1 if size > settings.piece_tokens else 1.0)) or 1 for size in sizes]
    overlap = sum(size // 10 for size, count in zip(sizes, pieces, strict=True) if count > 1)
    calls = sum(pieces)
    shared = estimate(shared_message(issue, repository).text)
    return Forecast(calls, shared, sum(sizes) + overlap + calls * _ASKED, calls * _ANSWERED)
