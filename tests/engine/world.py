"""Two sites in memory and an operator over them: real reconcilers, fake ports, plain asyncio.

The two vCenters and the two arrays are joined as in a real design: what an export shows is the array's live data, and
whether it can be written is the array's business. `Operator` stands where kopf does: it drives one loop per object and
rings its bell when the object changes.
"""

from __future__ import annotations

import asyncio
import time
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol, Self

from resurgo.domain.inventory import DatastorePath, NfsExport, Vm
from resurgo.domain.ports import Key, Obj, ReplicationEndpoint, VCenter
from resurgo.engine.bell import Bell, Stop
from resurgo.engine.context import Context
from resurgo.engine.inventory_mapping import MappingReconciler
from resurgo.engine.loop import Loop
from resurgo.engine.protection_group import GroupReconciler
from resurgo.engine.recovery_plan import PlanReconciler
from resurgo.engine.recovery_run import RunDriver
from resurgo.engine.replication_pair import PairReconciler
from resurgo.engine.site import SiteReconciler
from resurgo.metrics import Metrics
from tests.fakes.bell import FakeBell
from tests.fakes.kube import FakeKube
from tests.fakes.replication import FakeReplication
from tests.fakes.vcenter import Export, FakeVCenter, Files

BERLIN, LEIPZIG, NS = "berlin", "leipzig", "erp"
SERVERS = {BERLIN: "nfs-ber", LEIPZIG: "nfs-lpz"}
PLAN = Key("recoveryplans", NS, "erp")
GROUP = Key("protectiongroups", NS, "erp")
PAIR = Key("replicationpairs", None, "ber-lpz")


class SystemClock:
    """Real time, and *ahead* of it where a test lets time pass."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead.total_seconds()


class Volume(Export):
    """An export of one end of a replicated group: the VMs' files are the same at both, the right to write is not."""

    def __init__(self, pair: FakeReplication, site: str, group: str, files: dict[str, Files]) -> None:
        self._end, self._group = pair[site], group
        self.files = files

    @property
    def access(self) -> str:  # type: ignore[override]
        group = self._end.groups[self._group]
        return "rw" if group.writable else {"Prepared": "ro"}.get(group.role, "none")


class Driver(Protocol):
    async def drive(self, key: Key, uid: str, bell: Bell) -> None: ...


@dataclass
class World:
    """*machines*: VM name -> datastore of its .vmx; *groups*: consistency group -> its datastores."""

    machines: Mapping[str, str] = field(default_factory=lambda: {"db": "ds1", "app": "ds1"})
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: {"cg-erp": ("ds1",)})

    def __post_init__(self) -> None:
        self.kube, self.clock, self.rung = FakeKube(), SystemClock(), list[str]()
        self.losses: list[str] = []  # why the process would have ended
        self.lease = True
        self.pair = FakeReplication(self.groups, (BERLIN, LEIPZIG), (SERVERS[BERLIN], SERVERS[LEIPZIG]))
        self.files: dict[str, dict[str, Files]] = {d: {} for devices in self.groups.values() for d in devices}
        for number, (name, store) in enumerate(self.machines.items()):
            files = Files(name, f"uuid-{name}", {4000: "LAN"}, {4000: f"10.1.0.{number + 10}/24"})
            files.disks = (f"[{store}] {name}/{name}.vmdk",)
            self.files[store][f"{name}/{name}.vmx"] = files
        self.sites = {
            BERLIN: FakeVCenter(BERLIN, cluster="c1", networks=("LAN",), folders=("erp",)),
            LEIPZIG: FakeVCenter(LEIPZIG, cluster="c2", networks=("DR LAN",), folders=("erp",)),
        }
        for site, vcenter in self.sites.items():
            for group, devices in self.groups.items():
                for device in devices:
                    export = NfsExport(SERVERS[site], f"/{group}/{device}")
                    vcenter.exports[export] = Volume(self.pair, site, group, self.files[device])
                    if site == BERLIN:
                        vcenter.mount(export, device)
        for name, store in self.machines.items():
            self.berlin.register(DatastorePath(store, f"{name}/{name}.vmx"), "/berlin/vm/erp", on=True)
        self.context = self.make_context()

    def make_context(self) -> Context:
        """What one process knows: nothing yet."""
        return Context(
            kube=self.kube,
            clock=self.clock,
            metrics=Metrics(),
            make_vcenter=self._make_vcenter,
            make_pair=self._make_pair,
            ring_kind=self.rung.append,
            may_act=lambda: self.lease,
            lost=self.losses.append,
        )

    @property
    def berlin(self) -> FakeVCenter:
        return self.sites[BERLIN]

    @property
    def leipzig(self) -> FakeVCenter:
        return self.sites[LEIPZIG]

    def _make_vcenter(self, name: str, *_: Any) -> VCenter:
        return self.sites[name]

    def _make_pair(self, *_: Any) -> Mapping[str, ReplicationEndpoint]:
        return self.pair.ends

    # -- what users write -----------------------------------------------------------------------------

    async def declare(self, *, plan: Mapping[str, Any] | None = None) -> None:
        """Sites, pair, mapping, group and plan, and a first copy of all groups."""
        for group in self.groups:
            await self.pair[BERLIN].sync(
                (await self.pair[BERLIN].discover())[list(self.groups).index(group)].ref, op_id="first"
            )
        await self.kube.create("namespaces", {"metadata": {"name": NS, "labels": {"team": "erp"}}})
        login = {k: b64encode(b"x").decode() for k in ("username", "password")}
        await self.kube.create("secrets", {"metadata": {"name": "vc", "namespace": "ops"}, "data": login})
        for site in self.sites:
            await self.kube.create("sites", {"metadata": {"name": site}, "spec": _site(site)})
        await self.kube.create("replicationpairs", {"metadata": {"name": PAIR.name}, "spec": _pair()})
        await self.kube.create("inventorymappings", {"metadata": {"name": "map", "namespace": NS}, "spec": _mapping()})
        group = {
            "protectedSite": BERLIN,
            "recoverySite": LEIPZIG,
            "replication": {"pairRef": {"name": PAIR.name}, "consistencyGroups": list(self.groups)},
            "members": {"datastores": list(self.files)},
        }
        await self.kube.create("protectiongroups", {"metadata": {"name": GROUP.name, "namespace": NS}, "spec": group})
        await self.make_plan(PLAN.name, plan or {})

    async def make_plan(self, name: str, more: Mapping[str, Any]) -> Obj:
        spec = {
            "protectedSite": BERLIN,
            "recoverySite": LEIPZIG,
            "desiredState": "protected",
            "protectionGroups": [{"name": GROUP.name}],
            "inventoryMappingRef": {"name": "map"},
        }
        return await self.kube.create(
            "recoveryplans", {"metadata": {"name": name, "namespace": NS}, "spec": {**spec, **more}}
        )

    async def ask(self, **spec: Any) -> None:
        """Edit the plan."""
        await self.kube.patch(PLAN, {"spec": spec})

    async def make_run(self, name: str, **spec: Any) -> Obj:
        """A run made by hand."""
        body = {"planRef": {"name": PLAN.name}, "type": "PlannedMigration", **spec}
        return await self.kube.create("recoveryruns", {"metadata": {"name": name, "namespace": NS}, "spec": body})

    # -- what is seen ---------------------------------------------------------------------------------

    async def runs(self) -> list[Obj]:
        return await self.kube.list("recoveryruns", namespace=NS)

    async def get(self, key: Key) -> Obj:
        return await self.kube.get(key)

    def vm(self, site: str, name: str) -> Vm | None:
        return next((v for v in self.sites[site].inventory().vms.values() if v.name == name), None)


def condition(obj: Obj, kind: str) -> tuple[str, str]:
    """Status and reason, ("", "") where it was never put."""
    found = [c for c in (obj.get("status") or {}).get("conditions", []) if c["type"] == kind]
    return (found[0]["status"], found[0]["reason"]) if found else ("", "")


def message(obj: Obj, kind: str) -> str:
    return next(c["message"] for c in obj["status"]["conditions"] if c["type"] == kind)


def phase(obj: Obj) -> str:
    return str((obj.get("status") or {}).get("phase", ""))


def step(run: Obj) -> str:
    return str((run.get("status") or {}).get("currentStep", ""))


def _site(name: str) -> Obj:
    return {
        "vcenter": {
            "url": f"https://{name}.example",
            "insecureSkipTlsVerify": True,
            "credentialsSecretRef": {"namespace": "ops", "name": "vc"},
        },
        "access": [{"namespaceSelector": {"matchLabels": {"team": "erp"}}, "datastores": ["*"], "folders": ["/*"]}],
    }


def _pair() -> Obj:
    endpoints = [{"site": s, "id": f"array-{s}"} for s in (BERLIN, LEIPZIG)]
    return {"adapter": {"type": "sra"}, "sra": {"name": "fake"}, "endpoints": endpoints, "pollSeconds": 5}


def _mapping() -> Obj:
    return {
        "sites": [BERLIN, LEIPZIG],
        "networks": [{"from": "LAN", "to": "DR LAN"}],
        "folders": [{"from": "/berlin/vm", "to": "/leipzig/vm"}],
        "resourcePools": [{"from": "/berlin/host/c1/Resources", "to": "/leipzig/host/c2/Resources"}],
        "ipRules": [{"network": "LAN", "from": "10.1.0.0/24", "to": "10.2.0.0/24", "gateway": "10.2.0.1"}],
    }


class Operator:
    """One process: a loop per object, as long as the block lasts."""

    def __init__(self, world: World) -> None:
        self.world, self.context = world, world.make_context()
        self.context.ring_kind = self._ring_kind
        drivers: dict[str, Driver] = {
            "sites": Loop(self.context, SiteReconciler(self.context)),
            "replicationpairs": Loop(self.context, PairReconciler(self.context)),
            "inventorymappings": Loop(self.context, MappingReconciler(self.context)),
            "protectiongroups": Loop(self.context, GroupReconciler(self.context)),
            "recoveryplans": Loop(self.context, PlanReconciler(self.context)),
            "recoveryruns": RunDriver(self.context),
        }
        self.drivers = drivers
        self.loops: dict[str, tuple[Key, FakeBell, asyncio.Task[None]]] = {}

    async def __aenter__(self) -> Self:
        self.world.kube.watchers.append(self._changed)
        for key, obj in list(self.world.kube.objects.items()):
            self._changed("ADDED", key.plural, obj)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.die()

    async def die(self) -> None:
        """The process is killed: nothing is finished, nothing is said."""
        if self._changed in self.world.kube.watchers:
            self.world.kube.watchers.remove(self._changed)
        tasks = [task for _, _, task in self.loops.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.loops.clear()

    def _changed(self, kind: str, plural: str, obj: Obj) -> None:
        if plural not in self.drivers:
            return
        meta = obj["metadata"]
        known = self.loops.get(meta["uid"])
        if kind == "DELETED" and known:
            known[1].stop_with(Stop.SAFE_POINT)
        elif known and not known[2].done():
            known[1].ring()
        elif kind != "DELETED" and (known is None or _wants(obj)):
            key, bell = Key(plural, meta.get("namespace"), meta["name"]), FakeBell()
            task = asyncio.create_task(self.drivers[plural].drive(key, meta["uid"], bell))
            self.loops[meta["uid"]] = (key, bell, task)
        if plural == "recoveryruns":
            self._ring_kind("recoveryplans")

    def _ring_kind(self, plural: str) -> None:
        for key, bell, _ in self.loops.values():
            if key.plural == plural:
                bell.ring()

    async def until(self, holds: Callable[[Obj], bool], key: Key, *, what: str, seconds: float = 20.0) -> Obj:
        """Wait until an object is as it should be, and return it."""
        end = time.monotonic() + seconds
        while True:
            obj = self.world.kube.objects.get(key)
            if obj is not None and holds(obj):
                return obj
            if time.monotonic() > end:
                raise AssertionError(f"{key}: {what} did not come; its status: {(obj or {}).get('status')}")
            await asyncio.sleep(0.01)

    async def ready(self, key: Key = PLAN) -> Obj:
        return await self.until(lambda o: condition(o, "Ready")[0] == "True", key, what="Ready")

    async def run_of(self, plan: Key = PLAN) -> Key:
        """The run that the plan has made."""
        obj = await self.until(
            lambda o: bool(((o.get("status") or {}).get("lastRequest") or {}).get("run")), plan, what="a run"
        )
        return Key("recoveryruns", NS, obj["status"]["lastRequest"]["run"])

    async def first_run(self) -> Key:
        """The first run that exists, whether the plan knows of it or not."""
        end = time.monotonic() + 20.0
        while not (runs := await self.world.runs()):
            assert time.monotonic() < end, "no run was made"
            await asyncio.sleep(0.01)
        return Key("recoveryruns", NS, runs[0]["metadata"]["name"])

    async def over(self, run: Key) -> Obj:
        """The run, once it has ended and let go."""
        return await self.until(
            lambda o: "completionTime" in (o.get("status") or {}) and not o["metadata"].get("finalizers"),
            run,
            what="its end",
        )


def _wants(obj: Obj) -> bool:
    """Whether an object whose loop has ended is to be driven again: a run that is asked to retry."""
    return obj["spec"].get("retry", 0) > (obj.get("status") or {}).get("handledRetry", 0)
