"""What the suite needs of a storage system to be run on it, beside the two endpoints under test."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

from resurgo.domain.ports import ReplicationEndpoint
from resurgo.domain.replication import Access, Device, DeviceIdentity, GroupRef, GroupStatus, Op, Phase

ACCESS = Access("c2", (("NFS", "192.0.2.21"), ("NFS", "192.0.2.22")))


class Rig(Protocol):
    """Two replicated groups with at least two devices each, fresh for each test: ``source`` replicates to ``target``.

    The rig acts as hosts, network and fate; it never asks the endpoints under test to help.
    """

    source: str  # site names
    target: str
    groups: tuple[str, str]  # ids as users write them

    def endpoint(self, site: str) -> ReplicationEndpoint:
        """The endpoint under test at *site*, the same one each time."""
        ...

    async def write(self, identity: DeviceIdentity, name: str, content: bytes) -> None:
        """Write a file as a host that mounts the device."""
        ...

    async def read(self, identity: DeviceIdentity, name: str) -> bytes | None:
        """Read a file as a host that mounts the device read-write; None if it is not there.

        PermissionError if the device can't be mounted, or not read-write.
        """
        ...

    def cut(self, site: str) -> None:
        """The array at *site* answers nobody: neither its endpoint nor its peer."""
        ...

    def heal(self, site: str) -> None: ...

    def slow(self, site: str, operation: str) -> None:
        """From now on *operation* at *site* takes long enough to be RUNNING when its call returns."""
        ...

    async def hurry(self) -> None:
        """Let slow operations come to their end soon."""
        ...

    def refuse(self, site: str, operation: str, group: str) -> None:
        """Once, the array answers *operation* on *group* with an error and a hint and does not do it."""
        ...

    def lose_answer(self, site: str, operation: str) -> None:
        """Once, the array does *operation* and its answer gets lost."""
        ...

    async def begin_and_die(self, site: str, group: str) -> str:
        """Start a slow sync of *group* in another process, kill that process (KILL), and return the handle it got."""
        ...

    async def aclose(self) -> None:
        """End everything; nothing is left running."""
        ...


RigFactory = Callable[..., Awaitable[Rig]]  # called with one folder that may be filled


class Driver:
    """The suite's hands: what a recovery run would do, with the waiting."""

    def __init__(self, rig: Rig, seconds: float = 60) -> None:
        self.rig = rig
        self._seconds = seconds

    @property
    def source(self) -> ReplicationEndpoint:
        return self.rig.endpoint(self.rig.source)

    @property
    def target(self) -> ReplicationEndpoint:
        return self.rig.endpoint(self.rig.target)

    async def ref(self, endpoint: ReplicationEndpoint, number: int = 0) -> GroupRef:
        """The group's reference at one end; both ends are joined by the pair key only."""
        wanted = self.rig.groups[number]
        there = await endpoint.discover()
        try:
            return next(s.ref for s in there if s.ref.id == wanted)
        except StopIteration:
            raise AssertionError(f"{wanted} not among {[s.ref.id for s in there]}") from None

    async def status(self, endpoint: ReplicationEndpoint, number: int = 0) -> GroupStatus:
        return await endpoint.status(await self.ref(endpoint, number))

    async def ended(self, endpoint: ReplicationEndpoint, op: Op) -> Op:
        """Poll until the operation has ended. TimeoutError with what was seen last."""
        deadline = time.monotonic() + self._seconds
        while op.phase is Phase.RUNNING:
            if time.monotonic() > deadline:
                raise TimeoutError(f"still running after {self._seconds:g} s: {op}")
            await asyncio.sleep(min(op.retry_after, 0.1))
            op = await endpoint.poll(op.handle)
        return op

    async def succeed(self, endpoint: ReplicationEndpoint, call: Awaitable[Op]) -> Op:
        """Run an operation to its end, which must be success for every item."""
        op = await self.ended(endpoint, await call)
        assert op.phase is Phase.SUCCEEDED, op.failure or op
        assert op.results, "a result names every item"
        assert all(r.done and not r.error for r in op.results), op.results
        return op

    async def sync(self, number: int = 0) -> GroupStatus:
        """Sync the group and return what the target shows then."""
        ref = await self.ref(self.source, number)
        await self.succeed(self.source, self.source.sync(ref, op_id="sync"))
        return await self.status(self.target, number)

    async def prepare(self) -> Op:
        ref = await self.ref(self.source)
        return await self.succeed(self.source, self.source.prepare_failover(ref, op_id="prepare"))

    async def failover(self, *, planned: bool) -> Op:
        ref = await self.ref(self.target)
        return await self.succeed(
            self.target, self.target.failover(ref, op_id="failover", planned=planned, access=ACCESS)
        )

    async def migrate(self) -> None:
        """A planned failover, data and all."""
        await self.sync()
        await self.prepare()
        await self.sync()
        await self.failover(planned=True)

    async def write(self, endpoint: ReplicationEndpoint, generation: int, number: int = 0) -> None:
        """Write one generation to every device of the group."""
        for device in (await self.status(endpoint, number)).devices:
            await self.rig.write(mountable(device), "disk", content(device, generation))
            await self.rig.write(mountable(device), f"only-{generation}", content(device, generation))

    async def assert_generation(self, devices: tuple[Device, ...], generation: int) -> None:
        """Every byte of every device is of exactly this generation."""
        assert devices, "there are devices"
        for device in devices:
            where = mountable(device)
            assert content(device, generation) == await self.rig.read(where, "disk")
            assert content(device, generation) == await self.rig.read(where, f"only-{generation}")
            assert await self.rig.read(where, f"only-{generation + 1}") is None


def mountable(device: Device) -> DeviceIdentity:
    assert device.identity is not None, f"{device.name} has an identity"
    return device.identity


def content(device: Device, generation: int) -> bytes:
    """More than one block, different for each device and generation."""
    return f"{device.name} generation {generation}\n".encode() * 5000


def devices_of(op: Op) -> tuple[Device, ...]:
    """The devices an operation gave back."""
    return tuple(r.device for r in op.results if r.device is not None)


def already(op: Op) -> bool:
    return all(r.already for r in op.results)
