"""Running coroutines side by side without losing what those beside a failing one have paid for."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

T = TypeVar("T")


async def all_ended(coroutines: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """Results in order. If some fail, the others end first, then the first error is raised, by position.

    Cancelling the caller cancels them all.
    """
    ended = await asyncio.gather(*coroutines, return_exceptions=True)
    errors = [one for one in ended if isinstance(one, BaseException)]
    if errors:
        raise next((one for one in errors if not isinstance(one, asyncio.CancelledError)), errors[0])
    return [one for one in ended if not isinstance(one, BaseException)]
