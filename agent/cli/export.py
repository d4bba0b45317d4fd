"""`runoff show RUN --export PATH`: what was written, what was left out, and what was taken out of it."""

from __future__ import annotations

import json
from pathlib import Path

import typer

from agent.export import Exported, export_run
from agent.redaction import of_process
from agent.store import Run
from sandbox.errors import InputError

_FILES_NAMED = 5


def export(run: Run, target: Path, *, instance: str | None, with_prompts: bool, as_json: bool) -> None:
    """Export a run and say what became of it. Raises InputError and StoreError."""
    if instance is not None:
        raise InputError(
            "an export holds the whole run", where="--export", hint=f"runoff show {run.handle} --export {target}"
        )
    exported = export_run(run, target, of_process().copy(), with_prompts=with_prompts)
    typer.echo(json.dumps(exported.to_json(), indent=1) if as_json else "\n".join(_summary(exported)))


def _summary(exported: Exported) -> list[str]:
    lines = [f"exported: {exported.path}, {exported.files} files, {exported.size:,} bytes"]
    for name, count in exported.left_out.items():
        about = f"{count} texts sent to models; --with-prompts puts them in" if name == "parts/" else f"{count} files"
        lines.append(f"left out: {name}" + (f" ({about})" if name.endswith("/") else ""))
    if not exported.secrets:
        return [*lines, "redacted: no secrets were found; paths, user, host and servers are masked"]
    found = ", ".join(f"{count} {kind}" for kind, count in exported.secrets.items())
    lines.append(f"redacted: {found}; paths, user, host and servers are masked")
    for name, kinds in list(exported.redacted.items())[:_FILES_NAMED]:
        lines.append(f"  {name}: " + ", ".join(f"{count} x {kind}" for kind, count in kinds.items()))
    if (more := len(exported.redacted) - _FILES_NAMED) > 0:
        lines.append(f"  and {more} more files: see export.json")
    return [*lines, "look it through before you give it away: a secret that looks like nothing known is still in it"]
