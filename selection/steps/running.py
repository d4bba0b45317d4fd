"""The steps of a chain that run something: regression tests and scripts as voters."""

from __future__ import annotations

from dataclasses import replace

from selection.chain import Factory, Step
from selection.regression import Regression, RegressionSettings, WholeBench
from selection.steps.plain import number, plain
from selection.steps.voting import Votes, Written


def with_sandbox(bench: WholeBench, written: Written, tests: RegressionSettings) -> dict[str, Factory]:
    """The steps of this module by name. `written`: the scripts that vote."""

    def regression(argument: str) -> Step:
        return Regression(bench, replace(tests, files=number(argument, least=1)) if argument else tests)

    return {"regression": regression, "votes": plain(lambda: Votes(bench, written))}
