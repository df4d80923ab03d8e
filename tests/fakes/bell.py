"""A bell without kopf, for tests of loops."""

from __future__ import annotations

import asyncio

from resurgo.engine.bell import Stop


class FakeBell:
    """Rings and rests as the real one; *rests* holds every duration that was asked for. With *patient* False a rest
    returns at once after one turn of the event loop, whatever its duration: a loop then runs without waiting.
    """

    def __init__(self, *, patient: bool = True) -> None:
        self.rests: list[float] = []
        self._patient = patient
        self._stop = Stop.NO
        self._woken = asyncio.Event()

    def ring(self) -> None:
        self._woken.set()

    @property
    def stop(self) -> Stop:
        return self._stop

    def stop_with(self, stop: Stop) -> None:
        """What the outside would do: the object is deleted, or the process ends."""
        self._stop = stop
        self._woken.set()

    async def rest(self, seconds: float) -> None:
        self.rests.append(seconds)
        await asyncio.sleep(0)
        if self._patient:
            try:
                async with asyncio.timeout(max(0.0, seconds)):
                    await self._woken.wait()
            except TimeoutError:
                pass
        self._woken.clear()
