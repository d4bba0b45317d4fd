"""What a stage's prompts cost with and without cache breakpoints, from the price table.

usage: python scripts/cache_costs.py [--model anthropic:claude-sonnet-5-5] [--samples 10] [--turns 8] [--prefix 130000]

Counts tokens as the vendor bills them: a prompt up to a breakpoint is written once and read by whoever has it too. The
replies cost the same in every row and are left out. Turns are taken to follow each other within the cache's lifetime.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from agent.llm.messages import Usage
from agent.llm.prices import Price, load_prices

Marks = Literal["none", "prefix", "prefix and turns"]
COLUMNS: tuple[tuple[Marks, bool], ...] = (
    ("none", False),
    ("prefix", False),
    ("prefix", True),
    ("prefix and turns", True),
)
"""(where breakpoints lie, whether the first call goes alone)"""


@dataclass(frozen=True, slots=True)
class Shape:
    """A stage, in tokens."""

    samples: int
    turns: int
    prefix: int
    """What all samples share."""
    step: int
    """The rest of a sample's first request."""
    turn: int
    """What a turn adds: a reply and its feedback."""

    def prompts(self, marks: Marks, *, priming: bool) -> Iterator[Usage]:
        """The prompt of every call."""
        for sample in range(self.samples):
            for turn in range(self.turns):
                held = self.step + (turn - 1) * self.turn  # of this sample, in the request before
                fresh = self.turn if turn else self.step
                cold = turn == 0 and (sample == 0 or not priming)
                match marks:
                    case "none":
                        yield Usage(self.prefix + fresh + (held if turn else 0), 0, 0, 0)
                    case "prefix":
                        tail = fresh + (held if turn else 0)
                        yield Usage(tail, 0, self.prefix, 0) if cold else Usage(tail, self.prefix, 0, 0)
                    case "prefix and turns":
                        read = 0 if cold else self.prefix + (held if turn else 0)
                        yield Usage(0, read, fresh + (self.prefix if cold else 0), 0)


def dollars(price: Price, shape: Shape, marks: Marks, *, priming: bool) -> float:
    """What all prompts of the stage cost. Raises SystemExit where the table does not tell."""
    costs = [price.dollars(usage) for usage in shape.prompts(marks, priming=priming)]
    if any(cost is None for cost in costs):
        sys.exit("the price of so long a prompt is not known")
    return sum(cost or 0.0 for cost in costs)


def main() -> None:
    """Print a row for each number of turns up to the given one, and when a turn's breakpoint pays."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="anthropic:claude-sonnet-5-5", help="a SPEC with a price in the table")
    parser.add_argument("--samples", type=int, default=10)
    parser.add_argument("--turns", type=int, default=8)
    parser.add_argument("--prefix", type=int, default=130_000, help="tokens that all samples share")
    parser.add_argument("--step", type=int, default=2_500, help="further tokens of a first request")
    parser.add_argument("--turn", type=int, default=4_000, help="tokens of a reply and its feedback")
    options = parser.parse_args()
    price = load_prices().price(options.model)
    if price is None:
        sys.exit(f"the price of {options.model} is not known")
    print(f"{options.model}, {options.samples} samples, {options.prefix:,} shared tokens; dollars for prompts")
    print(f"{'turns':>5} {'no cache':>9} {'prefix, no priming':>19} {'prefix, primed':>15} {'prefix and turns, primed':>25}")
    for turns in sorted({1, 2, 3, 5, options.turns}):
        shape = Shape(options.samples, turns, options.prefix, options.step, options.turn)
        row = [dollars(price, shape, marks, priming=priming) for marks, priming in COLUMNS]
        print(f"{turns:>5} {row[0]:>9.2f} {row[1]:>19.2f} {row[2]:>15.2f} {row[3]:>25.2f}")
    rates = price.rates
    if rates.cache_write > rates.input > rates.cache_read:
        chance = (rates.cache_write - rates.input) / (rates.input - rates.cache_read)
        print(f"a turn's breakpoint pays if another turn follows in more than {chance:.0%} of the cases")


if __name__ == "__main__":
    main()
