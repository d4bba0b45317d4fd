"""Every call to a model, in one append-only file of the run: what it might cost, then what it did cost.

A `reserve` line is on the disk before a call starts; `settle` or `fail` follows. A process that is killed leaves a
reservation without a settlement: the call may be on the bill, and counts at its worst case until somebody who has seen
the bill settles it by hand (`by_hand` lines). Only what is not settled is held in memory, beside the sums.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from agent.jsonl import Appender, take_lines
from agent.llm.client import CallKey
from agent.llm.messages import StopReason, Usage
from agent.llm.totals import Totals, Worst
from sandbox.errors import InputError

FORMAT = 1
WHAT = "the ledger"
GRAIN = 1e-12
"""Dollars in which reservations are added up: whole numbers come and go without a rest."""


@dataclass(slots=True)
class Call:
    """One call as the lines tell it."""

    number: int
    key: str
    """`agent.llm.client.CallKey` as text."""
    stage: str
    model: str
    worst: Worst
    """Of one attempt."""
    usage: Usage | None = None
    dollars: float | None = None
    seconds: float = 0.0
    """Of the attempt that answered."""
    failed: bool = False
    maybe_billed: int = 0
    """Attempts without a result that may be on the bill."""
    by_hand: bool = False
    """Somebody has looked it up: nothing is uncertain any more."""

    @property
    def instance(self) -> str:
        """What the call was made for."""
        return self.key.partition("/")[0]

    @property
    def open(self) -> bool:
        """Neither settled nor failed."""
        return self.usage is None and not self.failed

    @property
    def reserved(self) -> tuple[int, int]:
        """(grains of dollars, tokens) that the attempts so far may have used at the most, this one's included."""
        attempts = 1 + self.maybe_billed
        return round((self.worst.dollars or 0.0) / GRAIN) * attempts, self.worst.tokens * attempts

    @property
    def unsure(self) -> bool:
        """Ended, and perhaps on the bill with more than is known. That tokens alone were not told is no such case."""
        unpriced = self.usage is not None and self.dollars is None and bool(self.worst.dollars)
        return not self.by_hand and (self.maybe_billed > 0 or unpriced)

    def totals(self) -> Totals:
        """What this call adds to the sums."""
        dollars, tokens = self._uncertain()
        sure: dict[str, Any] = {"calls": 1, "maybe_billed": self.maybe_billed, "failed": int(self.failed)}
        sure |= {"uncertain_dollars": dollars, "uncertain_tokens": tokens}
        if self.open:
            return Totals(
                **sure, unsettled=1, unsettled_dollars=self.worst.dollars or 0.0, unsettled_tokens=self.worst.tokens
            )
        used = self.usage
        if used is None:
            return Totals(**sure)
        return Totals(
            **sure,
            input=used.input or 0,
            cache_read=used.cache_read or 0,
            cache_write=used.cache_write or 0,
            output=used.output or 0,
            cache_untold=int(used.cache_read is None),
            uncounted=int(_untold(used)),
            dollars=self.dollars or 0.0,
            unpriced=int(self.dollars is None),
            seconds=self.seconds,
        )

    def _uncertain(self) -> tuple[float, int]:
        """(dollars, tokens) that may be on the bill besides what is known, at the most."""
        untold = self.usage is not None and _untold(self.usage)
        unpriced = int(self.usage is not None and self.dollars is None)
        if self.by_hand or not (untold or unpriced or self.maybe_billed):
            return 0.0, 0
        tokens = self.worst.times(self.maybe_billed).tokens
        if self.usage is not None and untold:
            tokens += max(0, self.worst.tokens - self.usage.told)
        return self.worst.times(self.maybe_billed + unpriced).dollars or 0.0, tokens


def _untold(usage: Usage) -> bool:
    return usage.input is None or usage.output is None


class Ledger:
    """The ledger of a run. One writer at a time; the run's lock sees to that. A context manager."""

    def __init__(self, path: Path) -> None:
        """Read what an earlier process of this run wrote. Raises StoreError if it is damaged."""
        self.path = path
        self._next = 0
        self._open: dict[int, Call] = {}
        self._grains = self._tokens = 0  # what the open calls reserve: asked for before every call, with hundreds in flight
        self._unsure: dict[int, Call] = {}  # ended, and perhaps billed for more than is known
        self._ended: defaultdict[tuple[str, str], Totals] = defaultdict(Totals)
        self._of_instances: defaultdict[str, Totals] = defaultdict(Totals)
        self._file = Appender(path, WHAT, {"kind": "start", "format": FORMAT})
        take_lines(path, WHAT, self._take)

    def reserve(self, key: CallKey, model: str, *, prompt_tokens: int, max_tokens: int, worst: Worst) -> int:
        """Note that a call starts; returns its number. `prompt_tokens` is an estimate, `worst` a bound on one attempt.

        The call may begin once the note is `lasting`.
        """
        number = self._next
        self._write(
            {
                "kind": "reserve",
                "id": number,
                "key": str(key),
                "stage": key.stage,
                "model": model,
                "prompt_tokens_estimate": prompt_tokens,
                "max_tokens": max_tokens,
                "worst_tokens": worst.tokens,
                "worst_dollars": worst.dollars,
            },
            wait=False,
        )
        return number

    async def lasting(self) -> None:
        """Wait until what is noted is on the disk. Raises StoreError if it cannot be kept."""
        await self._file.lasting()

    def withdraw(self, number: int) -> None:
        """Forget a reservation that could not be kept; its call was not made."""
        self._remove(number)

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
        """Note what the call used. `seconds` are those of the attempt that answered.

        Nothing waits for the disk here, since the next reservation does. A power cut before it leaves the call unsettled,
        and at its worst case.
        """
        line = {"kind": "settle", "id": number, "usage": asdict(usage), "dollars": dollars}
        line |= {"seconds": round(seconds, 3), "stop_reason": str(stop_reason), "attempts": attempts}
        self._write(line, wait=False)

    def fail(self, number: int, error: str, *, may_be_billed: bool = False) -> None:
        """Note that the call ended with a fault and nothing is known to be billed."""
        self._write({"kind": "fail", "id": number, "error": error, "may_be_billed": may_be_billed})

    def settle_by_hand(self, number: int, dollars: float) -> None:
        """Note what somebody read off the bill for what is unsure of this call. Raises InputError if nothing is."""
        if number not in self._open and number not in self._unsure:
            known = ", ".join(str(call.number) for call in self.unsure()) or "none"
            raise InputError(
                f"nothing is unsettled about call {number}", where=str(self.path), hint=f"unsettled calls: {known}"
            )
        self._write({"kind": "by_hand", "id": number, "dollars": dollars})

    def unsure(self) -> list[Call]:
        """The calls that may be on the bill with more than is known, by number; those in flight are among them."""
        return [call for _, call in sorted({**self._open, **self._unsure}.items())]

    @property
    def most(self) -> tuple[float, int, int]:
        """(dollars, tokens, calls) at the most: what is spent, and the worst case of all that is unsettled."""
        dollars = sum(totals.most_dollars for totals in self._ended.values())
        tokens = sum(totals.most_tokens for totals in self._ended.values())
        return dollars + self._grains * GRAIN, tokens + self._tokens, self._next

    def most_dollars_of(self, instance: str) -> float:
        """Dollars at the most of one instance's calls."""
        ended = self._of_instances[instance].most_dollars if instance in self._of_instances else 0.0
        return ended + sum(
            (call.worst.dollars or 0.0) * (1 + call.maybe_billed)
            for call in self._open.values()
            if call.instance == instance
        )

    @property
    def instances(self) -> set[str]:
        """Those that calls were made for."""
        return {*self._of_instances, *(call.instance for call in self._open.values())}

    def of_instance(self, instance: str) -> Totals:
        """Over the calls of one instance."""
        ended = self._of_instances.get(instance, Totals())
        return sum((call.totals() for call in self._open.values() if call.instance == instance), ended)

    def totals(self) -> Totals:
        """Over all calls."""
        return sum(self.by_stage().values(), Totals())

    def by_stage(self) -> dict[str, Totals]:
        """By stage, in order of first call."""
        return self._by(0)

    def by_model(self) -> dict[str, Totals]:
        """By the SPEC that the call was made on."""
        return self._by(1)

    def by_stage_and_model(self) -> dict[tuple[str, str], Totals]:
        """By both, in order of first call."""
        grouped = dict(self._ended)
        for call in self._open.values():
            grouped[call.stage, call.model] += call.totals()
        return grouped

    def close(self) -> None:
        """Close the file; another line opens it again."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _by(self, position: int) -> dict[str, Totals]:
        grouped: defaultdict[str, Totals] = defaultdict(Totals)
        for names, totals in self._ended.items():
            grouped[names[position]] += totals
        for call in self._open.values():
            grouped[(call.stage, call.model)[position]] += call.totals()
        return dict(grouped)

    def _take(self, line: Mapping[str, Any]) -> None:
        if line["kind"] == "reserve":
            self._take_reserve(line)
            return
        number = line.get("id", -1)
        call = self._open.get(number)
        if line["kind"] == "by_hand":
            self._take_by_hand(call or self._unsure.get(number), line["dollars"])
        elif call is not None:
            self._remove(number)  # what it reserves may change
            call.maybe_billed += int(line.get("may_be_billed", False))
            if line["kind"] == "settle":
                call.usage, call.dollars = Usage(**line["usage"]), line["dollars"]
                call.seconds = line.get("seconds", 0.0)
            call.failed = line["kind"] == "fail"
            if call.open:
                self._add(call)
            else:
                self._end(call)

    def _take_reserve(self, line: Mapping[str, Any]) -> None:
        if (tokens := line.get("worst_tokens")) is None:  # runs that began before budgets were built
            tokens = line["prompt_tokens_estimate"] + line["max_tokens"]
        worst = Worst(tokens, line["worst_dollars"])
        self._add(Call(line["id"], line["key"], line["stage"], line["model"], worst))
        self._ended.setdefault((line["stage"], line["model"]), Totals())  # keeps the order of first calls
        self._next = line["id"] + 1

    def _take_by_hand(self, call: Call | None, dollars: float) -> None:
        if call is None:
            return
        self._remove(call.number)
        if not call.open:
            self._ended[call.stage, call.model] -= call.totals()
            self._of_instances[call.instance] -= call.totals()
        call.dollars = (call.dollars or 0.0) + dollars
        call.usage = call.usage or Usage(0, 0, 0, 0)
        call.maybe_billed, call.by_hand = 0, True
        self._end(call)

    def _add(self, call: Call) -> None:
        """Reckon with an open call, until `_remove`; what it reserves must not change between the two."""
        self._remove(call.number)
        self._open[call.number] = call
        grains, tokens = call.reserved
        self._grains, self._tokens = self._grains + grains, self._tokens + tokens

    def _remove(self, number: int) -> None:
        if call := self._open.pop(number, None):
            grains, tokens = call.reserved
            self._grains, self._tokens = self._grains - grains, self._tokens - tokens

    def _end(self, call: Call) -> None:
        self._unsure.pop(call.number, None)
        totals = call.totals()
        self._ended[call.stage, call.model] += totals
        self._of_instances[call.instance] += totals
        if call.unsure:
            self._unsure[call.number] = call

    def _write(self, line: Mapping[str, Any], *, wait: bool = True) -> None:
        (self._file.append if wait else self._file.write)(line)
        self._take(line)
