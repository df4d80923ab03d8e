# ruff: noqa: ARG002 (the port's arguments, whether a fake needs them or not)
"""Two storage endpoints in memory that replicate to each other, with bytes, and with everything that can go wrong.

The conformance suite runs on this fake and on the real adapters. Faults are set on a `FakeEndpoint`: ``reachable``,
``refuse`` (the item is not done), ``lose_answer`` (done, but the caller learns OutcomeUnknown), ``hold`` (the operation
stays RUNNING until `release`). ``calls`` lists every call in order, ``effects`` those that changed something.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from resurgo.domain.errors import InvalidState, Missing, OutcomeUnknown, Unreachable
from resurgo.domain.replication import (
    Access,
    Capability,
    Device,
    DeviceIdentity,
    GroupRef,
    GroupStatus,
    ItemResult,
    Link,
    Op,
    Phase,
    Role,
    TestInfo,
)

Data = dict[str, dict[str, bytes]]  # device -> file -> content


@dataclass
class Point:
    """A complete copy at the target and how old its data is."""

    time: datetime
    data: Data


@dataclass
class FakeTest:
    test_id: str
    point: Point
    data: Data


@dataclass
class FakeGroup:
    """One group at one end. Change anything to set up a situation."""

    id: str
    role: Role
    live: Data
    point: Point | None = None  # newest complete copy received
    used: Point | None = None  # what live was made from by a failover
    test: FakeTest | None = None
    reversing: bool = False
    healthy: bool = True
    message: str = ""

    @property
    def writable(self) -> bool:
        return self.role in {Role.SOURCE, Role.FAILED_OVER}


def copied(data: Data) -> Data:
    return {device: dict(files) for device, files in data.items()}


class _Clock:
    """Real time, but never the same twice: recovery points can always be told apart."""

    def __init__(self) -> None:
        self._last = datetime.fromtimestamp(0, UTC)

    def __call__(self) -> datetime:
        self._last = max(datetime.now(UTC), self._last + timedelta(microseconds=1))
        return self._last


@dataclass
class _Held:
    finish: Callable[[], tuple[ItemResult, ...]]
    done: tuple[ItemResult, ...] | None = None


@dataclass
class FakeReplication:
    """Both ends by site. *groups* are ids with their device names; the first site is the source of all."""

    groups: Mapping[str, Sequence[str]]
    sites: tuple[str, str] = ("berlin", "leipzig")
    servers: tuple[str, str] = ("nfs-ber.lab", "nfs-lpz.lab")
    now: Callable[[], datetime] = field(default_factory=_Clock)

    def __post_init__(self) -> None:
        self.held: dict[str, _Held] = {}
        self.numbers = itertools.count(1)
        self.ends = {
            site: FakeEndpoint(self, site, server, role)
            for site, server, role in zip(self.sites, self.servers, (Role.SOURCE, Role.TARGET), strict=True)
        }

    def __getitem__(self, site: str) -> FakeEndpoint:
        return self.ends[site]

    def peer_of(self, site: str) -> FakeEndpoint:
        return next(end for name, end in self.ends.items() if name != site)

    def release(self) -> None:
        """Let every held operation end."""
        for held in self.held.values():
            if held.done is None:
                held.done = held.finish()


class FakeEndpoint:
    """`ReplicationEndpoint` of one site."""

    def __init__(self, pair: FakeReplication, site: str, server: str, role: Role) -> None:
        self.pair, self._site, self.server = pair, site, server
        self.groups = {g: FakeGroup(g, role, {d: {} for d in devices}) for g, devices in pair.groups.items()}
        self.reachable = True
        self.refuse: Counter[tuple[str, str]] = Counter()  # (operation, group) -> how many times
        self.lose_answer: Counter[str] = Counter()  # operation -> how many times
        self.hold: set[str] = set()  # operations that stay RUNNING
        self.missing_capabilities: set[Capability] = set()
        self.calls: list[tuple[str, str]] = []
        self.effects: Counter[tuple[str, str]] = Counter()

    @property
    def site(self) -> str:
        return self._site

    async def capabilities(self) -> frozenset[Capability]:
        self._answer()
        return frozenset(set(Capability) - {Capability.POINTS_IN_TIME} - self.missing_capabilities)

    async def discover(self) -> Sequence[GroupStatus]:
        self._answer()
        return [self._status(g) for g in self.groups.values()]

    async def status(self, ref: GroupRef) -> GroupStatus:
        return self._status(self._group(ref))

    async def sync(self, ref: GroupRef, *, op_id: str) -> Op:
        group = self._at("sync", ref, Role.SOURCE, Role.PREPARED)
        time, data = self.pair.now(), copied(group.live)  # the copy is of now, however long it takes to arrive

        def arrive() -> str:
            other = self.pair.peer_of(self.site)
            there = other.groups[group.id]
            if not other.reachable:
                return f"array at {other.site} does not answer"
            if there.role is not Role.TARGET:
                return "the peer has taken over"
            there.point = Point(time, data)
            return ""

        return self._run("sync", group, arrive)

    async def prepare_failover(self, ref: GroupRef, *, op_id: str) -> Op:
        group = self._at("prepare_failover", ref, Role.SOURCE, Role.PREPARED)
        return self._become("prepare_failover", group, Role.PREPARED)

    async def restore(self, ref: GroupRef, *, op_id: str) -> Op:
        group = self._at("restore", ref, Role.SOURCE, Role.PREPARED)
        other = self.pair.peer_of(self.site)
        if group.role is Role.PREPARED and other.reachable and other.groups[group.id].role is Role.FAILED_OVER:
            return self._op("restore", (self._failed(group, "the peer has taken over"),))
        return self._become("restore", group, Role.SOURCE)

    async def failover(
        self, ref: GroupRef, *, op_id: str, planned: bool, access: Access, point: str | None = None
    ) -> Op:
        group = self._at("failover", ref, Role.TARGET, Role.FAILED_OVER)
        if group.role is Role.FAILED_OVER:
            return self._already("failover", group)

        def take_over() -> str:
            if group.point is None:
                return "there is no complete recovery point"
            group.live, group.used, group.role = copied(group.point.data), group.point, Role.FAILED_OVER
            return ""

        return self._run("failover", group, take_over)

    async def test_start(
        self, ref: GroupRef, *, op_id: str, test_id: str, access: Access, point: str | None = None
    ) -> Op:
        group = self._at("test_start", ref, Role.TARGET)
        if group.test is not None:
            self._same_test(group, test_id)
            return self._already("test_start", group)

        def copy() -> str:
            if group.point is None:
                return "there is no complete recovery point"
            group.test = FakeTest(test_id, group.point, copied(group.point.data))
            return ""

        return self._run("test_start", group, copy)

    async def test_stop(self, ref: GroupRef, *, op_id: str, test_id: str, force: bool = False) -> Op:
        group = self._at("test_stop", ref, *Role)
        if group.test is None:
            return self._already("test_stop", group)
        if not force:
            self._same_test(group, test_id)

        def drop() -> str:
            group.test = None
            return ""

        return self._run("test_stop", group, drop)

    async def prepare_reverse(self, ref: GroupRef, *, op_id: str) -> Op:
        group = self._at("prepare_reverse", ref, Role.SOURCE, Role.PREPARED, Role.TARGET)
        if group.role is Role.TARGET:
            return self._already("prepare_reverse", group)
        other = self.pair.peer_of(self.site)

        def agree() -> str:
            if not other.reachable or other.groups[group.id].role is not Role.FAILED_OVER:
                return "the peer has not failed over"
            group.role, group.reversing = Role.PREPARED, True
            return ""

        return self._run("prepare_reverse", group, agree)

    async def reverse(self, ref: GroupRef, *, op_id: str, access: Access) -> Op:
        group = self._at("reverse", ref, Role.FAILED_OVER, Role.SOURCE)
        if group.role is Role.SOURCE:
            return self._already("reverse", group)
        other = self.pair.peer_of(self.site)
        there = other.groups[group.id]

        def swap() -> str:
            if not other.reachable or not there.reversing:
                return "the peer is not prepared for reverse replication"
            there.role, there.reversing, there.point, there.used = Role.TARGET, False, None, None
            group.role, group.point, group.test = Role.SOURCE, None, None
            return ""

        return self._run("reverse", group, swap)

    async def poll(self, handle: str) -> Op:
        self._answer()
        if handle not in self.pair.held:
            raise Missing(f"{handle!r} is no handle of an operation")
        done = self.pair.held[handle].done
        return (
            self._ended(handle, done) if done is not None else Op(handle, Phase.RUNNING, percent=50, retry_after=0.05)
        )

    async def aclose(self) -> None:
        """Nothing is held open."""

    # --- how an operation ends

    def _answer(self) -> None:
        if not self.reachable:
            raise Unreachable(f"array at {self.site} does not answer")

    def _group(self, ref: GroupRef) -> FakeGroup:
        self._answer()
        found = self.groups.get(ref.pair_key.removeprefix("pair.") if ref.pair_key else ref.id)
        if found is None:
            raise Missing(f"array at {self.site} has no group {ref.id}")
        return found

    def _at(self, operation: str, ref: GroupRef, *roles: Role) -> FakeGroup:
        group = self._group(ref)
        self.calls.append((operation, group.id))
        if group.role not in roles:
            raise InvalidState(f"{operation} of {group.id} at {self.site} is not possible: it is {group.role} there")
        return group

    def _same_test(self, group: FakeGroup, test_id: str) -> None:
        if group.test is not None and group.test.test_id != test_id:
            raise InvalidState(f"another test of {group.id} is running at {self.site}: {group.test.test_id}")

    def _become(self, operation: str, group: FakeGroup, role: Role) -> Op:
        if group.role is role:
            return self._already(operation, group)

        def change() -> str:
            group.role = role
            return ""

        return self._run(operation, group, change)

    def _run(self, operation: str, group: FakeGroup, work: Callable[[], str]) -> Op:
        def finish() -> tuple[ItemResult, ...]:
            if self.refuse[operation, group.id] > 0:
                self.refuse[operation, group.id] -= 1
                return (self._failed(group, "the array refused", hint="ask it again"),)
            if said := work():
                return (self._failed(group, said),)
            self.effects[operation, group.id] += 1
            return self._results(group, operation, already=False)

        if operation in self.hold:
            handle = f"{operation}:{next(self.pair.numbers)}"
            self.pair.held[handle] = _Held(finish)
            return Op(handle, Phase.RUNNING, percent=0, retry_after=0.05)
        results = finish()
        if self.lose_answer[operation] > 0:
            self.lose_answer[operation] -= 1
            raise OutcomeUnknown(f"{operation} of {group.id} at {self.site}: the answer was lost", op=operation)
        return self._op(operation, results)

    def _already(self, operation: str, group: FakeGroup) -> Op:
        return self._op(operation, self._results(group, operation, already=True))

    def _op(self, operation: str, results: tuple[ItemResult, ...]) -> Op:
        handle = f"{operation}:{next(self.pair.numbers)}"
        self.pair.held[handle] = _Held(lambda: results, results)
        return self._ended(handle, results)

    @staticmethod
    def _ended(handle: str, results: tuple[ItemResult, ...]) -> Op:
        failed = any(r.error for r in results)
        return Op(handle, Phase.FAILED if failed else Phase.SUCCEEDED, percent=100, results=results)

    @staticmethod
    def _failed(group: FakeGroup, error: str, hint: str = "") -> ItemResult:
        return ItemResult(f"pair.{group.id}", done=False, error=error, hint=hint)

    def _results(self, group: FakeGroup, operation: str, *, already: bool) -> tuple[ItemResult, ...]:
        status = self._status(group)
        shown, point = status.devices, status.recovery_point
        if operation == "test_start" and status.test is not None:
            shown, point = status.test.devices, status.test.recovery_point
        own = ItemResult(status.ref.pair_key, done=True, already=already, recovery_point=point)
        return (
            own,
            *(ItemResult(d.pair_key, done=True, already=already, device=d, recovery_point=point) for d in shown),
        )

    def _status(self, group: FakeGroup) -> GroupStatus:
        point = group.used if group.role is Role.FAILED_OVER else group.point if group.role is Role.TARGET else None
        test = group.test and TestInfo(
            group.test.test_id,
            tuple(self._device(group, d, f"/{group.id}/tests/1/{d}", writable=True) for d in group.live),
            group.test.point.time,
        )
        return GroupStatus(
            ref=GroupRef(group.id, f"pair.{group.id}"),
            role=group.role,
            link=Link.BROKEN if group.role is Role.FAILED_OVER else Link.IDLE,
            healthy=group.healthy,
            message=group.message,
            recovery_point=point.time if point else None,
            sync_percent=None,
            test=test,
            devices=tuple(self._device(group, d, f"/{group.id}/{d}", writable=group.writable) for d in group.live),
        )

    def _device(self, group: FakeGroup, name: str, path: str, *, writable: bool) -> Device:
        identity = DeviceIdentity("nfs", path, self.server) if writable else None
        return Device(f"{group.id}/{name}", f"pair.{group.id}/{name}", name, writable, identity)

    # --- what a host would see

    def files(self, path: str) -> dict[str, bytes] | None:
        """The files behind an export that is mounted read-write, None if it can't be."""
        _, group_id, *rest = path.split("/")
        group = self.groups[group_id]
        if rest[0] == "tests":
            return group.test.data[rest[2]] if group.test is not None else None
        return group.live[rest[0]] if group.writable else None
