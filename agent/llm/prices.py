"""What calls cost. A price that is not known stays unknown (None) wherever it would enter a sum; it is never zero."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib.resources import files
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agent.llm.messages import Usage
from sandbox.errors import InputError

MILLION = 1_000_000


@dataclass(frozen=True, slots=True)
class Rates:
    """Dollars per million tokens."""

    input: float
    cache_read: float
    cache_write: float
    output: float


@dataclass(frozen=True, slots=True)
class Price:
    """What a model costs."""

    rates: Rates
    above: int | None = None
    """Prompts of more tokens than this are charged at `above_rates`, the reply included."""
    above_rates: Rates | None = None
    """None: that part of the price is not known."""

    def dollars(self, usage: Usage) -> float | None:
        """What a call cost; None where its tokens or its rates are unknown.

        Unknown cache counts are no obstacle: all prompt tokens are in `input` then, which is an upper bound.
        """
        if usage.input is None or usage.output is None:
            return 0.0 if self == FREE else None
        read, written = usage.cache_read or 0, usage.cache_write or 0
        rates = self._rates_for(usage.input + read + written)
        if rates is None:
            return None
        total = usage.input * rates.input + read * rates.cache_read + written * rates.cache_write
        return (total + usage.output * rates.output) / MILLION

    def worst(self, prompt_tokens: int, max_tokens: int) -> float | None:
        """The most that a call of so long a prompt and reply can cost: nothing cached, everything written to the cache."""
        rates = self._rates_for(prompt_tokens)
        if rates is None:
            return None
        return (prompt_tokens * max(rates.input, rates.cache_write) + max_tokens * rates.output) / MILLION

    def _rates_for(self, prompt_tokens: int) -> Rates | None:
        return self.rates if self.above is None or prompt_tokens <= self.above else self.above_rates


FREE = Price(Rates(0.0, 0.0, 0.0, 0.0))


class _RatesEntry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    input: float = Field(ge=0)
    cache_read: float | None = Field(default=None, ge=0)
    cache_write: float | None = Field(default=None, ge=0)
    output: float = Field(ge=0)

    def rates(self) -> Rates:
        """Without a rate of its own, a cached token costs what any input token costs."""
        read = self.input if self.cache_read is None else self.cache_read
        return Rates(self.input, read, self.input if self.cache_write is None else self.cache_write, self.output)


class _AboveEntry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    tokens: int = Field(gt=0)
    input: float | None = Field(default=None, ge=0)
    cache_read: float | None = Field(default=None, ge=0)
    cache_write: float | None = Field(default=None, ge=0)
    output: float | None = Field(default=None, ge=0)

    def rates(self) -> Rates | None:
        if self.input is None or self.output is None:
            return None
        entry = _RatesEntry(input=self.input, cache_read=self.cache_read, cache_write=self.cache_write, output=self.output)
        return entry.rates()


class _PriceEntry(_RatesEntry):
    models: tuple[str, ...]
    above: _AboveEntry | None = None

    def price(self) -> Price:
        return Price(self.rates(), self.above.tokens if self.above else None, self.above.rates() if self.above else None)


class _PriceFile(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    price: tuple[_PriceEntry, ...] = ()


@dataclass(frozen=True, slots=True)
class PriceTable:
    """Prices by pattern of SPEC (`anthropic:claude-*`, `openai:qwen*@http://localhost:*`); the first match wins."""

    entries: tuple[tuple[str, Price], ...]

    def price(self, spec: str) -> Price | None:
        """The price of the model that `spec` names; None where it is not known. What a recording says costs nothing."""
        if spec.startswith("replay:"):
            return FREE
        return next((price for pattern, price in self.entries if _matches(spec, pattern)), None)

    def over(self, pattern: str, price: Price) -> PriceTable:
        """The same with one more entry in front."""
        return PriceTable(((pattern, price), *self.entries))


def load_prices(overrides: Sequence[Path] = ()) -> PriceTable:
    """The entries of the user's files (same form), then the table that comes along. Raises InputError for a bad file."""
    entries: list[tuple[str, Price]] = []
    for path in overrides:
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(
                f"cannot read the prices: {error}", where=str(path), hint="name a readable TOML file"
            ) from error
        entries += _entries(text, str(path))
    own = (files("agent.llm") / "prices.toml").read_text(encoding="utf-8")
    return PriceTable((*entries, *_entries(own, "agent/llm/prices.toml")))


def parse_price(text: str) -> Price:
    """A price given by hand: `INPUT,OUTPUT` or `INPUT,CACHE_READ,CACHE_WRITE,OUTPUT`, in dollars per million tokens."""
    try:
        numbers = [float(number) for number in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) not in (2, 4) or not all(0 <= number < float("inf") for number in numbers):
        raise InputError(
            "a price is two or four numbers, in dollars per million tokens",
            where=text,
            hint="write INPUT,OUTPUT or INPUT,CACHE_READ,CACHE_WRITE,OUTPUT, such as 3,0.3,3.75,15",
        )
    if len(numbers) == 2:  # noqa: PLR2004  the short form
        return Price(Rates(numbers[0], numbers[0], numbers[0], numbers[1]))
    return Price(Rates(*numbers))


def _entries(text: str, where: str) -> list[tuple[str, Price]]:
    try:
        table = _PriceFile.model_validate(tomllib.loads(text))
    except (tomllib.TOMLDecodeError, ValidationError) as error:
        raise InputError(
            f"cannot use the prices: {error}", where=where, hint="write [[price]] entries as agent/llm/prices.toml has them"
        ) from error
    return [(pattern, entry.price()) for entry in table.price for pattern in entry.models]


def _matches(spec: str, pattern: str) -> bool:
    return fnmatchcase(spec, pattern) and ("@" in pattern or "@http" not in spec)
