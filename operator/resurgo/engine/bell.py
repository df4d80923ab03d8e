"""The bell: how the world wakes a loop and how a loop learns that it should end; all that the engine knows of kopf."""

from __future__ import annotations

import enum
from typing import Protocol


class Stop(enum.Enum):
    """Whether a loop should end, and how."""

    NO = enum.auto()
    SAFE_POINT = enum.auto()  # the object is being deleted or gone: settle what is in flight, then return
    NOW = enum.auto()  # the process ends or the object needs no loop any more: return at once, the journal is on disk


class Bell(Protocol):
    """Wakes one object's loop. Any number of rings between two rests count as one. For the event loop's thread only."""

    def ring(self) -> None:
        """Wake the loop, or let its next rest return at once. Costs nothing; may be called at any time."""
        ...

    @property
    def stop(self) -> Stop:
        """Asked after each rest and before each effect. Only ever moves towards NOW."""
        ...

    async def rest(self, seconds: float) -> None:
        """Return after a ring, a change of `stop` or *seconds*. A ring since the last rest returns at once.

        Under SAFE_POINT a rest still lasts: a loop that settles what is in flight must not spin.
        """
        ...
