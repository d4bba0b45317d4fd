"""Puts the relevant files in order of need: several rankings by the model, merged by mean relative rank.

After CodeMonkeys (arXiv 2501.14723, section 3.2), with one change: at temperature 0 equal prompts give equal answers,
so each ranking is shown the files in another order, which evens out the model's liking for what comes first.
"""

from __future__ import annotations

import ast
import contextlib
import json
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from agent.context.relevance import RelevantFile
from agent.llm.errors import ContextExceeded
from agent.llm.messages import Message, Part, Request
from agent.llm.tokens import estimate
from agent.prompts.render import render
from agent.trajectory.flow import Flow
from sandbox.api import digest_of

_LIST = re.compile(r"\[[^\[\]]*\]", re.DOTALL)
_OPEN_LIST = re.compile(r"\[[^\[\]]*\Z", re.DOTALL)
_QUOTED = re.compile(r"""(["'])([^"'\n]+)\1""")


@dataclass(frozen=True, slots=True)
class RankingSettings:
    """How files are ranked."""

    rankings: int = 3
    temperature: float = 0.0
    max_tokens: int = 4096
    """Tokens of one answer."""
    notes_tokens: int = 60_000
    """Summaries beyond so many tokens are ranked in groups."""


@dataclass(frozen=True, slots=True)
class Ranking:
    """All relevant files in order of need."""

    paths: tuple[str, ...]
    invented: int
    """Paths that a model named and nobody gave it; dropped."""
    unparsed: int
    """Rankings without a readable list; they take no part in the mean."""
    fallback: bool
    """Whether some files had no readable ranking at all and follow in the order in which they were found."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One ranking's relative ranks, from 0 for the first; None if the answer could not be read."""

    ranks: Mapping[str, float] | None
    invented: int = 0


async def rank(
    flow: Flow, files: Sequence[RelevantFile], *, issue: str, repository: str, settings: RankingSettings | None = None
) -> Ranking:
    """Rank the files. No call is made for fewer than two. Raises what the model's client raises."""
    settings = settings or RankingSettings()
    if len(files) < 2:  # noqa: PLR2004  one file has one order
        return Ranking(tuple(file.path for file in files), 0, 0, fallback=False)
    judge = _Judge(settings, issue, repository)
    bodies: list[Callable[[Flow], Awaitable[list[Answer]]]] = [
        partial(judge.rank, files=group, number=number)
        for group in _groups(files, settings.notes_tokens)
        for number in range(settings.rankings)
    ]
    answers = [answer for group in await flow.all(bodies) for answer in group]
    return merge([file.path for file in files], answers)


def merge(paths: Sequence[str], answers: Sequence[Answer]) -> Ranking:
    """Order by mean relative rank over the readable answers that were asked about a file; ties by path.

    A file that an answer leaves out has rank 1.0 there; one without any readable answer comes after all others.
    """
    scores: dict[str, list[float]] = {path: [] for path in paths}
    for answer in answers:
        for path, rank_ in (answer.ranks or {}).items():
            scores[path].append(rank_)
    ranked = [path for path in paths if scores[path]]
    ranked.sort(key=lambda path: (sum(scores[path]) / len(scores[path]), path))
    rest = [path for path in paths if not scores[path]]
    unparsed = sum(answer.ranks is None for answer in answers)
    return Ranking((*ranked, *rest), sum(answer.invented for answer in answers), unparsed, fallback=bool(rest))


def read_ranking(text: str, known: Sequence[str]) -> Answer:
    """The list of an answer: strict JSON or Python, fenced or bare, text around it, also one that was cut off.

    Of several lists the one with most known paths counts, of equals the last.
    """
    lists = [[_plain(item) for item in listed] for listed in _lists(text)]
    allowed = set(known)
    best = max(reversed(lists), key=lambda listed: len(allowed.intersection(listed)), default=None)
    if best is None or not allowed.intersection(best):
        return Answer(None, len(set(best or [])))
    named = list(dict.fromkeys(path for path in best if path in allowed))
    ranks = {path: named.index(path) / len(named) if path in named else 1.0 for path in known}
    return Answer(ranks, len(set(best) - allowed))


def _lists(text: str) -> Iterator[list[str]]:
    for start in [match.start() for match in re.finditer(r"\[", text)]:
        with contextlib.suppress(ValueError, RecursionError):
            value, _ = json.JSONDecoder().raw_decode(text, start)
            yield _names(value)
    for match in _LIST.finditer(text):
        items = _literal(match[0]) or []
        quoted = [] if "{" in match[0] else [path for _, path in _QUOTED.findall(match[0])]
        yield max(items, quoted, key=len)  # a forgotten comma makes one string of two
    if cut := _OPEN_LIST.search(text):
        yield [quoted for _, quoted in _QUOTED.findall(cut[0])]


def _literal(text: str) -> list[str] | None:
    try:
        return _names(ast.literal_eval(text))
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return None


def _names(items: list[object]) -> list[str]:
    return [str(item.get("path", "")) if isinstance(item, dict) else str(item) for item in items]


def _plain(path: str) -> str:
    return path.strip().strip("`'\"").removeprefix("./")


def _note(file: RelevantFile) -> str:
    return f"{file.path} ({file.tokens} tokens): {' '.join(file.summary.split()) or 'no summary'}\n"


def _groups(files: Sequence[RelevantFile], tokens: int) -> list[list[RelevantFile]]:
    """Consecutive files whose notes fit the limit together; at least two a group where there are as many."""
    groups: list[list[RelevantFile]] = [[]]
    used = 0
    for file in files:
        cost = estimate(_note(file))
        if used + cost > tokens and len(groups[-1]) > 1:
            groups.append([])
            used = 0
        groups[-1].append(file)
        used += cost
    return groups


class _Judge:
    """Asks for one ranking of one group."""

    def __init__(self, settings: RankingSettings, issue: str, repository: str) -> None:
        self._settings = settings
        instructions = Part("instructions", render("ranking_instructions", repository=repository) + "\n\n")
        self._shared = Message("system", (instructions, Part("issue", render("ranking_issue", issue=issue), cache=True)))

    async def rank(self, flow: Flow, *, files: Sequence[RelevantFile], number: int) -> list[Answer]:
        """The group's ranking, in halves if the model cannot take it whole."""
        try:
            reply = await flow.ask("rank", self._request(_shuffled(files, number)))
        except ContextExceeded:
            if len(files) < 2:  # noqa: PLR2004  nothing to split
                return [Answer(None)]
            middle = len(files) // 2
            halves = (files[:middle], files[middle:])
            return [answer for half in halves for answer in await self.rank(flow, files=half, number=number)]
        return [read_ranking(reply.text, [file.path for file in files])]

    def _request(self, files: Sequence[RelevantFile]) -> Request:
        notes = Part("files", render("ranking_files", notes="".join(map(_note, files))) + "\n\n")
        step = Part("step", render("ranking_step", count=len(files)))
        messages = (self._shared, Message("user", (notes, step)))
        return Request(messages, temperature=self._settings.temperature, max_tokens=self._settings.max_tokens)


def _shuffled(files: Sequence[RelevantFile], number: int) -> list[RelevantFile]:
    """The given order for the first ranking, its reverse for the second, orders by digest for the rest."""
    if number == 0:
        return list(files)
    if number == 1:
        return list(reversed(files))
    return sorted(files, key=lambda file: digest_of(str(number), file.path))
