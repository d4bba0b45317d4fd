"""Cuts a text that is too long for one question into overlapping pieces, at line ends wherever possible."""

from __future__ import annotations

from dataclasses import dataclass

from agent.lines import split_lines
from agent.llm.tokens import estimate


@dataclass(frozen=True, slots=True)
class Piece:
    """Some consecutive lines of a file."""

    text: str
    place: str
    """Such as `120-480 of 960`, counted from 1; empty if the piece is the whole file."""
    first: int
    total: int

    @classmethod
    def whole(cls, text: str) -> Piece:
        """All of a file."""
        return cls(text, "", 1, len(split_lines(text)))

    def halves(self) -> tuple[Piece, ...]:
        """The piece in two; a single line is cut in its middle. Nothing if there is nothing to cut."""
        lines = split_lines(self.text)
        if len(lines) > 1:
            middle = len(lines) // 2
            return (
                _piece(lines[:middle], self.first, self.total),
                _piece(lines[middle:], self.first + middle, self.total),
            )
        if len(self.text) <= 1:
            return ()
        middle = len(self.text) // 2
        return tuple(_piece([text], self.first, self.total) for text in (self.text[:middle], self.text[middle:]))


def split(text: str, tokens: int, overlap: int) -> list[Piece]:
    """Pieces of at most `tokens` estimated tokens, each beginning with the last `overlap` lines of the one before.

    The overlap gives way where it would take more than half of a piece. A line that is longer than a piece is cut.
    """
    lines = [(number, part) for number, line in enumerate(split_lines(text), 1) for part in _parts(line, tokens)]
    costs = [estimate(part) for _, part in lines]
    total = lines[-1][0] if lines else 0
    pieces: list[Piece] = []
    start = 0
    while start < len(lines):
        end, used = start, 0
        while end < len(lines) and (end == start or used + costs[end] <= tokens):
            used += costs[end]
            end += 1
        pieces.append(_piece([part for _, part in lines[start:end]], lines[start][0], total, lines[end - 1][0]))
        if end == len(lines):
            break
        start = max(start + 1, end - min(overlap, (end - start) // 2))
        while start < end and sum(costs[start:end]) * 2 > tokens:
            start += 1
    return pieces


def _piece(lines: list[str], first: int, total: int, last: int | None = None) -> Piece:
    last = first + len(lines) - 1 if last is None else last
    return Piece("".join(lines), f"{first}-{last} of {total}", first, total)


def _parts(line: str, tokens: int) -> list[str]:
    if estimate(line) <= tokens:
        return [line]
    middle = len(line) // 2
    return [*_parts(line[:middle], tokens), *_parts(line[middle:], tokens)] if middle else [line]
