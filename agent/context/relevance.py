"""Reads the whole repository with a cheap model, one question a file: is it needed to resolve the issue.

After CodeMonkeys (arXiv 2501.14723, section 3.1). A file that is too long for one question is judged in overlapping
pieces, and is relevant if any piece is; an answer without a verdict is asked for once more and then counted.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from agent.context.pieces import Piece, split
from agent.llm.errors import ContextExceeded
from agent.llm.messages import Message, Part, Reply, Request
from agent.llm.tokens import estimate_bytes
from agent.prompts.render import render
from agent.repository import SourceFile
from agent.trajectory.flow import Flow

_VERDICT = re.compile(
    r"^[^\w\n]*RELEVANCE\W*[:=-]\W*(?P<no>not[\s_-]*relevant|irrelevant|no\b)?(?P<yes>relevant\b|yes\b)?(?P<rest>.*)$",
    re.IGNORECASE | re.MULTILINE,
)
_EITHER = re.compile(r"^\W*(or\b|and\b)?\W*(not|relevant)\b", re.IGNORECASE)
_SUMMARY = re.compile(r"^[^\w\n]*SUMMARY\W*?[:=]\s*\**", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True, slots=True)
class RelevanceSettings:
    """How files are judged."""

    in_flight: int = 32
    """Calls at once."""
    max_tokens: int = 4096
    """Tokens of one answer."""
    piece_tokens: int = 30_000
    """Longer files are judged in pieces of at most so many tokens."""
    overlap_lines: int = 40
    """Lines that a piece shares with the one before."""


@dataclass(frozen=True, slots=True)
class RelevantFile:
    """A file that was found relevant."""

    path: str
    summary: str
    tokens: int
    """Estimated tokens of the whole file."""


@dataclass(frozen=True, slots=True)
class Relevance:
    """What came of reading the candidates, in their order."""

    files: tuple[RelevantFile, ...]
    judged: int
    """Files that were judged, the unreadable ones included."""
    unreadable: tuple[str, ...]
    """Paths for which the model gave no verdict, also when reminded; they count as not relevant."""
    calls: int


@dataclass(frozen=True, slots=True)
class _Verdict:
    relevant: bool | None
    summary: str = ""
    calls: int = 1


async def judge(
    flow: Flow,
    files: Sequence[SourceFile],
    *,
    read: Callable[[str], str],
    issue: str,
    repository: str,
    settings: RelevanceSettings | None = None,
) -> Relevance:
    """Judge every file; `read` gives a file's text, `repository` is the name that the model is told.

    Effects are keyed by path, piece and blob, so another choice of candidates asks only for what is new. Raises what
    the model's client raises for faults of the infrastructure.
    """
    reader = _Reader(read, settings or RelevanceSettings(), shared_message(issue, repository))
    names: list[str] = []
    bodies: list[Callable[[Flow], Awaitable[_Verdict]]] = []
    counts: list[int] = []
    for file in files:
        counts.append(reader.count(file))
        for number in range(counts[-1]):
            names.append(f"{file.path}#{number}@{file.blob[:12]}")
            bodies.append(reader.body(file, number))
    verdicts = await flow.all(bodies, names=names, limit=reader.settings.in_flight) if bodies else []
    return _collect(files, counts, verdicts)


def parse_verdict(text: str) -> tuple[bool | None, str]:
    """The verdict (None: there is none) and the summary of an answer. The last verdict line counts."""
    found = [match for match in _VERDICT.finditer(text) if _decided(match)]
    if not found:
        return None, ""
    last = found[-1]
    if last["no"]:
        return False, ""
    marks = list(_SUMMARY.finditer(text))
    after = [mark for mark in marks if mark.start() >= last.start()]
    start = (after or marks)[-1].end() if marks else last.end()
    summary = text[start:]
    end = _VERDICT.search(summary)
    return True, " ".join(summary[: end.start() if end else None].split())


def _decided(match: re.Match[str]) -> bool:
    """Whether the line says one thing, and does not merely repeat the choice."""
    return bool(match["yes"]) != bool(match["no"]) and not _EITHER.match(match["rest"])


class _Reader:
    """Asks about one piece at a time; a file's text is held only while its question is in flight."""

    def __init__(self, read: Callable[[str], str], settings: RelevanceSettings, shared: Message) -> None:
        self.settings = settings
        self._read = read
        self._shared = shared

    def count(self, file: SourceFile) -> int:
        """In how many pieces a file is judged; short ones are not read to find out."""
        return 1 if estimate_bytes(file.size) <= self.settings.piece_tokens else len(self._pieces(file))

    def body(self, file: SourceFile, number: int) -> Callable[[Flow], Awaitable[_Verdict]]:
        async def judged(flow: Flow) -> _Verdict:
            return await self._judge(flow, file.path, self._pieces(file)[number])

        return judged

    def _pieces(self, file: SourceFile) -> list[Piece]:
        text = self._read(file.path)
        if estimate_bytes(file.size) <= self.settings.piece_tokens:
            return [Piece.whole(text)]
        return split(text, self.settings.piece_tokens, self.settings.overlap_lines)

    async def _judge(self, flow: Flow, path: str, piece: Piece) -> _Verdict:
        question = Message("user", _question(path, piece))
        try:
            reply = await flow.ask("judge", self._request(question))
        except ContextExceeded:
            halves = piece.halves()
            return _join([await self._judge(flow, path, half) for half in halves], extra=1) if halves else _Verdict(None)
        relevant, summary = parse_verdict(reply.text)
        if relevant is None:
            return await self._remind(flow, question, reply)
        return _Verdict(relevant, summary)

    async def _remind(self, flow: Flow, question: Message, reply: Reply) -> _Verdict:
        said = Message("assistant", (Part("reply", reply.text or "(no answer)"),))
        reminder = Message("user", (Part("feedback", render("relevance_reminder")),))
        try:
            reply = await flow.ask("remind", self._request(question, said, reminder))
        except ContextExceeded:
            return _Verdict(None, calls=2)
        relevant, summary = parse_verdict(reply.text)
        return _Verdict(relevant, summary, calls=2)

    def _request(self, *messages: Message) -> Request:
        return Request((self._shared, *messages), temperature=0.0, max_tokens=self.settings.max_tokens)


def shared_message(issue: str, repository: str) -> Message:
    """What every question begins with, byte for byte."""
    instructions = Part("instructions", render("relevance_instructions", repository=repository) + "\n\n")
    return Message("system", (instructions, Part("issue", render("relevance_issue", issue=issue), cache=True)))


def _question(path: str, piece: Piece) -> tuple[Part, ...]:
    text = render("relevance_file", path=path, text=piece.text, part=piece.place)
    return Part("file", text.rstrip("\n") + "\n\n"), Part("step", render("relevance_step", part=piece.place))


def _join(verdicts: Sequence[_Verdict], extra: int = 0) -> _Verdict:
    """Relevant if any is; without a verdict if none is relevant and one lacks its verdict."""
    relevant = True if any(verdict.relevant for verdict in verdicts) else None
    if relevant is None and all(verdict.relevant is False for verdict in verdicts):
        relevant = False
    summary = " ".join(verdict.summary for verdict in verdicts if verdict.relevant and verdict.summary)
    return _Verdict(relevant, summary, sum(verdict.calls for verdict in verdicts) + extra)


def _collect(files: Sequence[SourceFile], counts: Sequence[int], verdicts: Sequence[_Verdict]) -> Relevance:
    relevant: list[RelevantFile] = []
    unreadable: list[str] = []
    start = 0
    for file, count in zip(files, counts, strict=True):
        verdict = _join(verdicts[start : start + count])
        start += count
        if verdict.relevant:
            relevant.append(RelevantFile(file.path, verdict.summary, estimate_bytes(file.size)))
        elif verdict.relevant is None:
            unreadable.append(file.path)
    return Relevance(tuple(relevant), len(files), tuple(unreadable), sum(verdict.calls for verdict in verdicts))
