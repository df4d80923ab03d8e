"""Waiting on a condition with a deadline: the only way the lab and its tests wait for anything."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class DeadlineError(TimeoutError):
    """A condition did not come true in time; the message says which, for how long, and what was seen last."""


def wait_until(check: Callable[[], T | None], what: str, *, seconds: float = 30, every: float = 0.05) -> T:
    """Return the first truthy answer of *check*, asking every *every* seconds.

    An exception of *check* ends the wait, so a condition that may fail while things come up catches what it expects.
    DeadlineError after *seconds*, saying *what* did not happen and the last answer.
    """
    deadline = time.monotonic() + seconds
    while True:
        answer = check()
        if answer:
            return answer
        if time.monotonic() >= deadline:
            raise DeadlineError(f"{what}: not within {seconds:g} s (last answer: {answer!r})")
        time.sleep(every)
