"""Bells hung on kopf's stop flag or on the process's own, and the book of all that hang.

A kopf daemon's rest does not end when its object changes, only when kopf stops it; a bell ends on both, which is also
the difference between an exit in 0.3 s and one in 5 s (tests/wiring/test_operator.py).
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import kopf

from resurgo.domain.ports import Key
from resurgo.engine.bell import Stop

_LOOK_SECONDS = 0.1


class Stopping(Protocol):
    """What can tell a loop to end."""

    @property
    def stop(self) -> Stop: ...

    async def wait(self) -> None:
        """Return when `stop` next moves, at once if it has reached NOW."""
        ...


class DaemonStopping:
    """kopf's stop flag of one daemon."""

    def __init__(self, stopped: kopf.DaemonStopped) -> None:
        self._stopped = stopped

    @property
    def stop(self) -> Stop:
        reason = self._stopped.reason
        if not self._stopped or reason is None:
            return Stop.NO
        # A process that ends while an object is being deleted adds its reason to the first: the exit wins.
        if kopf.DaemonStoppingReason.OPERATOR_EXITING in reason:
            return Stop.NOW
        return Stop.SAFE_POINT if kopf.DaemonStoppingReason.RESOURCE_DELETED in reason else Stop.NOW

    async def wait(self) -> None:
        if not self._stopped:
            await self._stopped.wait()
            return
        while self.stop is not Stop.NOW:  # noqa: ASYNC110 (kopf tells of no second reason: look)
            await asyncio.sleep(_LOOK_SECONDS)


class DeletedStopping:
    """For the loop of an object that is being deleted and has no daemon: settle, or end with the process."""

    def __init__(self, exiting: asyncio.Event) -> None:
        self._exiting = exiting

    @property
    def stop(self) -> Stop:
        return Stop.NOW if self._exiting.is_set() else Stop.SAFE_POINT

    async def wait(self) -> None:
        await self._exiting.wait()


class HungBell:
    """A bell over any `Stopping`."""

    def __init__(self, stopping: Stopping) -> None:
        self._rung, self._stopping, self._gone = asyncio.Event(), stopping, False

    def ring(self) -> None:
        self._rung.set()

    def dismiss(self) -> None:
        """The object is gone: `stop` is SAFE_POINT at least from here on, and the loop finds nothing to read."""
        self._gone = True
        self._rung.set()

    @property
    def stop(self) -> Stop:
        stop = self._stopping.stop
        return Stop.SAFE_POINT if self._gone and stop is Stop.NO else stop

    async def rest(self, seconds: float) -> None:
        waits = {asyncio.ensure_future(self._rung.wait()), asyncio.ensure_future(self._stopping.wait())}
        try:
            await asyncio.wait(waits, timeout=max(0.0, seconds), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        self._rung.clear()


@dataclass(frozen=True, slots=True)
class _Entry:
    key: Key
    bell: HungBell


class Bells:
    """Every bell that hangs, by uid of its object. Unknown uids and keys are ignored: a loop reads when it starts."""

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}

    def __contains__(self, uid: object) -> bool:
        return uid in self._entries

    def __len__(self) -> int:
        return len(self._entries)

    @contextlib.contextmanager
    def hang(self, uid: str, key: Key, bell: HungBell) -> Iterator[HungBell]:
        """Have *bell* in the book for as long as the block lasts."""
        entry = self._entries[uid] = _Entry(key, bell)
        try:
            yield bell
        finally:
            if self._entries.get(uid) is entry:
                del self._entries[uid]

    def ring(self, uid: str) -> None:
        """Wake the loop of one object."""
        if entry := self._entries.get(uid):
            entry.bell.ring()

    def dismiss(self, uid: str) -> None:
        """The object is gone. kopf itself does not stop the daemon of an object that went without our finalizer."""
        if entry := self._entries.get(uid):
            entry.bell.dismiss()

    def ring_key(self, key: Key) -> None:
        """Wake the loop of the object of that name. Looks at every bell."""
        for entry in self._entries.values():
            if entry.key == key:
                entry.bell.ring()

    def ring_kind(self, plural: str, namespace: str | None = None) -> None:
        """Wake every loop of a kind, of one namespace if given."""
        for entry in self._entries.values():
            if entry.key.plural == plural and namespace in {None, entry.key.namespace}:
                entry.bell.ring()

    def ring_all(self) -> None:
        """Wake every loop."""
        for entry in self._entries.values():
            entry.bell.ring()
