"""Readings that several callers share: nobody gets one that began before they asked, and only one runs at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from resurgo.domain.errors import DrError

T = TypeVar("T")


class Shared(Generic[T]):
    """Wraps a costly read. A failure is shared like a result: a hanging array costs its limit once, not per caller."""

    def __init__(self, read: Callable[[], Awaitable[T]]) -> None:
        self._read = read
        self._turn = asyncio.Lock()
        self._begun = 0
        self._last: tuple[int, T | DrError] | None = None

    async def get(self) -> T:
        """A reading not older than this call."""
        asked = self._begun
        async with self._turn:
            if self._last is None or self._last[0] <= asked:
                self._begun += 1
                number = self._begun
                try:
                    self._last = number, await self._read()
                except DrError as error:
                    self._last = number, error
            outcome = self._last[1]
        if isinstance(outcome, DrError):
            raise outcome
        return outcome
