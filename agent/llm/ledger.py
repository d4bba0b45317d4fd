"""Every call to a model, in one append-only file of the run: what it might cost, then what it did cost.

A `reserve` line is on the disk before a call starts; `settle` or `fail` follows. A process that is killed leaves a
reservation without a settlement: the call may be on the bill, and stays visible as unsettled at its worst case.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from agent.jsonl import Appender, read_lines
from agent.llm.client import CallKey
from agent.llm.messages import StopReason, Usage

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over calls. Tokens and dollars are those that are known; the counts beside them say how much is not."""

    calls: int = 0
    """Calls that were started."""
    input: int = 0
    cache_read: int = 0
    cache_write: int = 0
    output: int = 0
    uncounted: int = 0
    """Settled calls whose prompt or reply tokens the server did not tell."""
    dollars: float = 0.0
    """Of the settled calls whose price is known."""
    unpriced: int = 0
    """Settled calls whose dollars are unknown; while there are any, `dollars` is a lower bound."""
    failed: int = 0
    """Calls that ended with a fault."""
    unsettled: int = 0
    """Calls that neither settled nor failed: in flight now, or cut off by a kill."""
    unsettled_dollars: float = 0.0
    """The worst case of the unsettled calls, as far as their price is known."""
    maybe_billed: int = 0
    """Attempts that failed or were repeated after the server may have worked on them; not part of `dollars`."""

    @property
    def money(self) -> str:
        """The dollars in words: what is known, and how many calls' price is not."""
        if not self.unpriced:
            return f"${self.dollars:.4f}"
        unknown = f"{self.unpriced} call{'s' if self.unpriced > 1 else ''} of unknown price"
        return f"${self.dollars:.4f} and {unknown}" if self.dollars else unknown

    @property
    def tokens(self) -> str:
        """The tokens in words, and how many calls did not tell theirs."""
        counted = f"{self.input + self.cache_read + self.cache_write:,} tokens in, {self.output:,} out"
        if not self.uncounted:
            return counted
        unknown = f"the tokens of {self.uncounted} calls unknown"
        return f"{counted}, {unknown}" if self.input or self.output else unknown

    def __add__(self, other: Totals) -> Totals:
        return Totals(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(self)))


@dataclass(slots=True)
class _Call:
    """One call as the lines tell it."""

    stage: str
    model: str
    worst: float | None
    usage: Usage | None = None
    dollars: float | None = None
    failed: bool = False
    maybe_billed: int = 0

    def totals(self) -> Totals:
        base = Totals(calls=1, maybe_billed=self.maybe_billed)
        if self.failed:
            return base + Totals(failed=1)
        if self.usage is None:
            return base + Totals(unsettled=1, unsettled_dollars=self.worst or 0.0)
        used = self.usage
        return base + Totals(
            input=used.input or 0,
            cache_read=used.cache_read or 0,
            cache_write=used.cache_write or 0,
            output=used.output or 0,
            uncounted=int(used.input is None or used.output is None),
            dollars=self.dollars or 0.0,
            unpriced=int(self.dollars is None),
        )


class Ledger:
    """The ledger of a run. One writer at a time; the run's lock sees to that. A context manager."""

    def __init__(self, path: Path) -> None:
        """Read what an earlier process of this run wrote. Raises StoreError if it is damaged."""
        self.path = path
        self._calls: dict[int, _Call] = {}
        self._file = Appender(path, "the ledger", {"kind": "start", "format": FORMAT})
        for line in read_lines(self.path, "the ledger"):
            self._take(line)

    def reserve(self, key: CallKey, model: str, *, prompt_tokens: int, max_tokens: int, dollars: float | None) -> int:
        """Note that a call starts; returns its number. `prompt_tokens` is an estimate, `dollars` the worst case."""
        number = len(self._calls)
        self._write(
            {
                "kind": "reserve",
                "id": number,
                "key": str(key),
                "stage": key.stage,
                "model": model,
                "prompt_tokens_estimate": prompt_tokens,
                "max_tokens": max_tokens,
                "worst_dollars": dollars,
            }
        )
        return number

    def repeat(self, number: int, *, attempt: int, error: str, wait: float, may_be_billed: bool) -> None:
        """Note that an attempt failed and is repeated after `wait` seconds."""
        line = {"kind": "repeat", "id": number, "attempt": attempt, "error": error, "wait": round(wait, 3)}
        self._write({**line, "may_be_billed": may_be_billed})

    def settle(
        self,
        number: int,
        usage: Usage,
        dollars: float | None,
        *,
        seconds: float,
        stop_reason: StopReason | str,
        attempts: int,
    ) -> None:
        """Note what the call used. `seconds` are those of the attempt that answered."""
        line = {"kind": "settle", "id": number, "usage": asdict(usage), "dollars": dollars}
        self._write({**line, "seconds": round(seconds, 3), "stop_reason": str(stop_reason), "attempts": attempts})

    def fail(self, number: int, error: str, *, may_be_billed: bool = False) -> None:
        """Note that the call ended with a fault and nothing is known to be billed."""
        self._write({"kind": "fail", "id": number, "error": error, "may_be_billed": may_be_billed})

    def totals(self) -> Totals:
        """Over all calls."""
        return sum((call.totals() for call in self._calls.values()), Totals())

    def by_stage(self) -> dict[str, Totals]:
        """By stage, in order of first call."""
        return self._by(lambda call: call.stage)

    def by_model(self) -> dict[str, Totals]:
        """By the SPEC that the call was made on."""
        return self._by(lambda call: call.model)

    def close(self) -> None:
        """Close the file; another line opens it again."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _by(self, name: Callable[[_Call], str]) -> dict[str, Totals]:
        grouped: dict[str, Totals] = {}
        for call in self._calls.values():
            grouped[name(call)] = grouped.get(name(call), Totals()) + call.totals()
        return grouped

    def _take(self, line: Mapping[str, Any]) -> None:
        if line["kind"] == "reserve":
            self._calls[line["id"]] = _Call(line["stage"], line["model"], line["worst_dollars"])
            return
        call = self._calls.get(line.get("id", -1))
        if call is None:
            return
        call.maybe_billed += int(line.get("may_be_billed", False))
        if line["kind"] == "settle":
            call.usage, call.dollars = Usage(**line["usage"]), line["dollars"]
        call.failed = line["kind"] == "fail"

    def _write(self, line: Mapping[str, Any]) -> None:
        self._file.append(line)
        self._take(line)
