"""`manual:DIR`: requests become files that a person (or another program) answers with files.

For sites without a network, for chat windows, and for recording a transcript. Nothing is asked twice: after a
restart, a request with the same key and digest that lies in the folder already is waited for under its old number.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from agent.llm.client import CallKey
from agent.llm.messages import Reply, Request, StopReason
from sandbox.errors import InputError, StoreError


class ManualClient:
    """Writes `NNNN.request.json` and `NNNN.request.md`, waits for `NNNN.reply.md`. Several may be open at once."""

    def __init__(self, spec: str, folder: Path, *, poll_seconds: float = 0.2) -> None:
        self.spec = spec
        self.folder = folder
        self._poll = poll_seconds
        self._seen: dict[str, dict[str, Any]] = {}

    async def complete(self, request: Request, key: CallKey) -> Reply:
        """Wait for the reply, however long that takes; tokens and price of a person are unknown.

        Raises StoreError where the folder cannot be written or read.
        """
        try:
            number = self._find(request, key) or self._ask(request, key)
            readable = self.folder / f"{number}.request.md"
            if not readable.exists():
                self._publish(readable, _readable(request, key, number), replace=True)
            answer = self.folder / f"{number}.reply.md"
            while not answer.exists():  # noqa: ASYNC110  what happens is a rename in a folder, by anybody
                await asyncio.sleep(self._poll)
            text = answer.read_bytes().decode("utf-8-sig", "replace")
        except OSError as error:
            hint = "make the folder readable and writable, then: runoff resume RUN"
            raise StoreError(
                f"cannot use the folder of manual requests: {error}", where=str(self.folder), hint=hint
            ) from error
        return Reply(text=text, model="manual", stop_reason=StopReason.END)

    async def check(self) -> None:
        """Raises InputError where requests cannot be written."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.folder):
                pass
        except OSError as error:
            raise InputError(
                f"cannot write requests: {error.strerror}", where=str(self.folder), hint="name a folder of yours: manual:DIR"
            ) from error

    async def close(self) -> None:
        """Nothing is held open."""

    def _find(self, request: Request, key: CallKey) -> str | None:
        """The number under which this request lies in the folder already."""
        for number, asked in self._asked():
            if asked.get("key") == _key_fields(key) and asked.get("digest") == request.digest:
                return number
        return None

    def _asked(self) -> Iterator[tuple[str, dict[str, Any]]]:
        for path in sorted(self.folder.glob("*.request.json")):
            number = path.name.split(".", 1)[0]
            if number not in self._seen:
                with contextlib.suppress(ValueError):  # not one of ours, or damaged: asked again under a new number
                    self._seen[number] = json.loads(path.read_text(encoding="utf-8", errors="surrogateescape"))
            if number in self._seen:
                yield number, self._seen[number]

    def _ask(self, request: Request, key: CallKey) -> str:
        """Publish the request under the next free number; two processes never take the same one."""
        self.folder.mkdir(parents=True, exist_ok=True)
        names = [path.name.split(".", 1)[0] for path in self.folder.glob("*.request.json")]
        following = max((int(name) for name in names if name.isdecimal()), default=0) + 1
        content = json.dumps(_fields(request, key), ensure_ascii=False, indent=1)
        while True:
            number = f"{following:04d}"
            if self._publish(self.folder / f"{number}.request.json", content, replace=False):
                return number
            following += 1

    def _publish(self, path: Path, content: str, *, replace: bool) -> bool:
        """Write to a temporary name, then give it its own; False where the name is taken and not to be replaced."""
        handle, name = tempfile.mkstemp(dir=self.folder, prefix=".", suffix=".tmp")
        with os.fdopen(handle, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(content)
        temporary = Path(name)
        temporary.chmod(0o644)
        try:
            if replace:
                temporary.replace(path)
            else:
                path.hardlink_to(temporary)
        except FileExistsError:
            return False
        finally:
            temporary.unlink(missing_ok=True)
        return True


def _key_fields(key: CallKey) -> dict[str, Any]:
    return {
        "instance": key.instance,
        "stage": key.stage,
        "sample": key.sample,
        "branch": key.branch,
        "sequence": key.sequence,
    }


def _fields(request: Request, key: CallKey) -> dict[str, Any]:
    return {
        "key": _key_fields(key),
        "digest": request.digest,
        "temperature": request.temperature,
        "max_tokens": request.max_tokens,
        "json_schema": json.loads(request.json_schema) if request.json_schema else None,
        "messages": [{"role": message.role, "content": message.text} for message in request.messages],
    }


def _readable(request: Request, key: CallKey, number: str) -> str:
    """The request as a person reads it: what it is on top, then all that a model would see, unabridged."""
    turn = 1 + sum(message.role == "assistant" for message in request.messages)
    branch = f", branch {key.branch}" if key.branch else ""
    wanted = f"\n\nThe reply must follow this JSON schema: {request.json_schema}" if request.json_schema else ""
    head = (
        f"# {key.instance}: {key.stage}, sample {key.sample}, turn {turn} (effect {key.sequence}{branch})\n\n"
        f"Write the reply to another name in this folder, then rename it to `{number}.reply.md`."
        f" At most {request.max_tokens} tokens.{wanted}\n"
    )
    return head + "".join(f"\n---\n## {message.role}\n\n{message.text.rstrip(chr(10))}\n" for message in request.messages)
