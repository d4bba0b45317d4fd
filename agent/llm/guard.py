"""Stands between runoff and a model client, so that no key of this process crosses in either direction.

A repository may hold the user's real key (a committed .env), a gateway may echo the request's headers, a vendor quotes
the key that it refuses: none of it may reach a prompt, a journal, the ledger or the terminal.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from agent.llm.client import CallKey, Client
from agent.llm.messages import Reply, Request
from agent.redaction import Redactor, of_process
from sandbox.errors import RunoffError

logger = logging.getLogger(__name__)


class GuardedClient:
    """A client whose requests, replies and errors hold no known secret. See `agent.llm.client.Client`."""

    def __init__(self, client: Client, secrets: Callable[[], Redactor] = of_process) -> None:
        """`secrets` is asked at every call: which keys there are may change while the process runs."""
        self.spec = client.spec
        self.client = client
        self._secrets = secrets
        self._told: set[str] = set()

    async def complete(self, request: Request, key: CallKey) -> Reply:
        """As the client's; known secrets in the prompt become markers, which is said once for each."""
        secrets = self._secrets()
        try:
            reply = await self.client.complete(self._without(request, secrets), key)
        except RunoffError as error:
            secrets.cleanse(error)
            raise
        return replace(reply, text=secrets.known(reply.text), model=secrets.error(reply.model))

    async def check(self) -> None:
        """As the client's, if it has one; see `agent.llm.specs.check`."""
        if (look := getattr(self.client, "check", None)) is None:
            return
        try:
            await look()
        except RunoffError as error:
            self._secrets().cleanse(error)
            raise

    async def count(self, request: Request) -> int | None:
        """Prompt tokens as the server counts them, without known secrets in what it counts; None where it cannot."""
        counter = getattr(self.client, "count", None)
        return None if counter is None else await counter(self._without(request, self._secrets()))

    async def close(self) -> None:
        """Close connections."""
        await self.client.close()

    def _without(self, request: Request, secrets: Redactor) -> Request:
        if all(secrets.known(part.text) is part.text for message in request.messages for part in message.parts):
            return request
        hidden = partial(self._hidden, secrets=secrets)
        messages = tuple(
            replace(message, parts=tuple(replace(part, text=hidden(part.text)) for part in message.parts))
            for message in request.messages
        )
        return replace(request, messages=messages)

    def _hidden(self, text: str, secrets: Redactor) -> str:
        shown = secrets.known(text)
        if shown != text:
            names = set(secrets.names_in(text)) - self._told
            self._told |= names
            for name in sorted(names):
                logger.warning("%s: a prompt would have held the value of %s; a marker is sent instead", self.spec, name)
        return shown
