"""What all instances of a run share: its folder and ledger, the models behind one limiter and budget, the sandbox."""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from agent.cli.models import OpenModels, Specs, rates_of
from agent.cli.settings import S, SolveSettings
from agent.llm.ledger import Ledger
from agent.llm.limiter import Limiter
from agent.llm.prices import PriceTable
from agent.progress import Watch
from agent.store import Run
from sandbox.api import Sandbox


@dataclass(frozen=True, slots=True)
class OpenRun:
    """A run that this process holds and works on. `agent.cli.compose.Session` opens and closes it."""

    run: Run
    settings: SolveSettings
    ledger: Ledger
    models: OpenModels
    sandbox: Sandbox | None
    """None where no stage executes anything."""
    watch: Watch
    turns: Limiter
    """Executions wait here for their turn at the sandbox: those of instances that began early go first."""
    fork: bool = False
    """Where a journal holds another request than is asked for now, go on from there instead of stopping."""

    @property
    def with_models(self) -> SolveSettings:
        """The settings, with the models that answer where none are named."""
        return named(self.settings, self.models.specs)


def named(settings: S, specs: Specs) -> S:
    """The settings, with the models that answer where none are named."""
    return settings.model_copy(update={"model": str(specs.main), "cheap_model": str(specs.cheap)})


def manifest_of(settings: SolveSettings, specs: Specs, prices: PriceTable) -> dict[str, Any]:
    """Settings that decide what models see, and what they are."""
    packages = {name: version(name) for name in ("runoff", "anthropic", "openai", "docker")}
    held: Mapping[str, Any] = named(settings, specs).model_dump()
    return {
        "settings": {name: value for name, value in held.items() if name not in ("runs", "run")},
        "models": {"main": str(specs.main), "cheap": str(specs.cheap)},
        "prices": rates_of(specs, prices),
        "seed": settings.seed,
        "versions": {**packages, "python": platform.python_version(), "platform": sys.platform},
    }
