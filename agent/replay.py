"""`replay:RUN`: a recorded run as a model. It supplies completions by key; executions run afresh.

Drift is told: where the conversation differs from the recorded one (a template was reworded, an execution printed
something else) there is one warning line for each part; another issue or other files stop the replay.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from agent.llm.client import CallKey
from agent.llm.errors import ContextExceeded
from agent.llm.messages import Reply, Request
from agent.store import journal_path
from agent.trajectory.flow import reply_from
from agent.trajectory.journal import Entry, Journal
from sandbox.errors import InputError

BINDING = frozenset({"issue", "files", "file", "candidates"})
"""Parts that must be the recorded ones: a reply to another issue or to other files means nothing."""


class ReplayClient:
    """Answers each call with what the recorded run was answered at the same key."""

    def __init__(self, run: Path, *, warn: Callable[[str], None], strict: bool = False) -> None:
        """`run`: a run's folder. `strict`: any drift stops. Raises InputError if the folder has no journals."""
        self.spec = f"replay:{run}"
        self._warn = warn
        self._strict = strict
        self._folders = {path.name: path for path in sorted(run.glob("*")) if (path / "02_testing").is_dir()}
        if not self._folders:
            raise InputError("there is no recorded run here", where=str(run), hint="name a folder that `runoff solve` wrote")
        self._journals: dict[Path, Journal] = {}
        self._drifted: set[str] = set()

    async def complete(self, request: Request, key: CallKey) -> Reply:
        """The recorded reply. Raises InputError where the recording has none, or has another issue or other files."""
        entry = self._entry(key)
        self._compare(request, entry, key)
        if "context_exceeded" in entry.result:
            raise ContextExceeded(entry.result["context_exceeded"])
        return reply_from(entry.result["reply"])

    async def close(self) -> None:
        """Nothing is held open."""

    def _entry(self, key: CallKey) -> Entry:
        folder = self._folders.get(key.instance)
        if folder is None:
            raise InputError(
                f"the recording has no instance {key.instance}", where=self.spec, hint=f"it has: {', '.join(self._folders)}"
            )
        path = journal_path(folder, key.stage, key.sample)
        if path not in self._journals:
            self._journals[path] = Journal(path)
        journal = self._journals[path]
        entry = journal.at(key.branch, key.sequence)
        if entry is not None and entry.kind == "ask":
            return entry
        raise InputError(
            f"the recording has no reply for {key}",
            where=str(path),
            hint="replay with the settings of the recorded run (manifest.json)",
        )

    def _compare(self, request: Request, entry: Entry, key: CallKey) -> None:
        differ = [name for name in {**request.parts, **entry.parts} if request.parts.get(name) != entry.parts.get(name)]
        for name in differ:
            if self._strict or name in BINDING:
                raise InputError(
                    f"the recorded run had another '{name}' at {key}",
                    where=self.spec,
                    hint="record anew, or use the recorded issue and base",
                )
            if name not in self._drifted:
                self._drifted.add(name)
                self._warn(f"replay: '{name}' differs from the recorded run (first at {key})")
