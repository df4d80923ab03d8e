"""A site as the contract of the VCenter port needs it: the same two ways, in memory and on a simulated vCenter.

Exports /cg/ds1 (mounted everywhere as ds1) and /cg/spare (mounted nowhere). On ds1 the VMs `app` (on, Tools, two NICs
on "VM Network" and "Backup"), `db` (off) and `mute` (on, no Tools); folders `erp` and `erp/test`.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Protocol

from tests.fakes.vcenter import Export, FakeVCenter, Files
from tests.lab.design import DeviceDesign, LabDesign, SiteDesign, VmDesign
from tests.lab.pki import Pki
from tests.lab.sites import OPERATOR_USER, LabSim
from tests.lab.toolchain import Toolchain

from resurgo.adapters.vsphere import Limits, Trust, VSphereGateway
from resurgo.domain.errors import OutcomeUnknown
from resurgo.domain.inventory import DatastorePath, HostId, NfsExport, Vm
from resurgo.domain.ports import VCenter

SITE = SiteDesign("berlin", "c1", ("esx-1", "esx-2"), ("VM Network", "Backup"), "nfs.lab", "array-1")
OTHER = SiteDesign("leipzig", "c2", ("esx-3",), ("DR Network",), "nfs-2.lab", "array-2")
DS1 = NfsExport("nfs.lab", "/cg/ds1")
SPARE = NfsExport("nfs.lab", "/cg/spare")
FOLDER = "/berlin/vm/erp"
POOL = "/berlin/host/c1/Resources"
DESIGN = LabDesign(
    sites=(SITE, OTHER),
    devices=(DeviceDesign("ds1", "cg"),),
    folders=("erp", "erp/test"),
    vms=(
        VmDesign("app", "ds1", "erp", networks=("VM Network", "Backup"), annotation="the application"),
        VmDesign("db", "ds1", "erp", power_on=False),
        VmDesign("mute", "ds1", "erp", guest={"tools": False}),
    ),
    guest={"bootSeconds": 0.05, "shutdownSeconds": 0.05, "tools": True},
)


class World(Protocol):
    """What a test may do besides calling the port. *site* is the port."""

    site: VCenter
    kind: str

    def slow(self, seconds: float) -> None:
        """Let every task take that long from now on."""

    def lose_reply(self, operation: str) -> None:
        """Let the next such call take effect, and its answer get lost."""

    def refuse_exports(self, export: NfsExport) -> None:
        """Take the export away at the array."""

    def go(self, *, up: bool) -> None:
        """The site goes away as if switched off, or comes back."""

    def effects(self) -> Counter[str]:
        """How often each thing really happened: "PowerOn app"."""


class FakeWorld:
    """The site in memory."""

    kind = "fake"

    def __init__(self) -> None:
        files = {
            "app/app.vmx": Files("app", "u-app", {4000: "VM Network", 4001: "Backup"}, {4000: "10.0.0.7/24"}),
            "db/db.vmx": Files("db", "u-db", {4000: "VM Network"}),
            "mute/mute.vmx": Files("mute", "u-mute", {4000: "VM Network"}, tools=False),
        }
        files["app/app.vmx"].annotation = "the application"
        for path, each in files.items():
            each.disks = (f"[ds1] {path.replace('.vmx', '.vmdk')}",)
        fake = FakeVCenter(
            "berlin",
            hosts=SITE.hosts,
            networks=SITE.networks,
            folders=("erp", "erp/test"),
            exports={DS1: Export(files), SPARE: Export()},
        )
        fake.mount(DS1, "ds1")
        for path in files:
            fake.register(DatastorePath("ds1", path), FOLDER, on="db" not in path)
        fake.boot_seconds = fake.shutdown_seconds = 0.05
        self.site: VCenter = fake
        self._fake = fake

    def slow(self, seconds: float) -> None:
        self._fake.task_seconds = seconds

    def lose_reply(self, operation: str) -> None:
        def lose(done: str, about: str) -> None:
            if done == operation:
                self._fake.after = lambda _o, _a: None
                raise OutcomeUnknown(f"{done} of {about}: the answer was lost", op=done)

        self._fake.after = lose

    def refuse_exports(self, export: NfsExport) -> None:
        self._fake.exports[export].access = "none"

    def go(self, *, up: bool) -> None:
        self._fake.go(up=up)

    def effects(self) -> Counter[str]:
        return Counter(self._fake.effects)


class SimWorld:
    """The site on labsim, through the real adapter."""

    kind = "labsim"
    _WIRE: ClassVar[dict[str, str]] = {
        "PowerOn": "PowerOnVM_Task",
        "PowerOff": "PowerOffVM_Task",
        "Register": "RegisterVM_Task",
        "Unregister": "UnregisterVM",
        "Configure": "ReconfigVM_Task",
        "Customize": "CustomizeVM_Task",
        "Mount": "CreateNasDatastore",
        "Unmount": "RemoveDatastore",
        "ShutdownGuest": "ShutdownGuest",
    }

    def __init__(self, toolchain: Toolchain, folder: Path, privileges: list[str] | None = None) -> None:
        self.pki = Pki(folder / "pki")
        self.array = folder / "arrays" / SITE.name
        self._exports = {path: {"dir": path.strip("/"), "access": "rw"} for path in (DS1.path, SPARE.path)}
        for path in self._exports:
            (self.array / path.strip("/")).mkdir(parents=True)
        self._write_exports()
        self.sim = LabSim(toolchain, folder, DESIGN, SITE, self.pki)
        if privileges is not None:
            _limit_operator(self.sim.lab_file, privileges)
        self.sim.start()
        self.changes = 0
        self.calls: list[tuple[str, str, float]] = []
        self.password = self.sim.passwords[OPERATOR_USER]
        self.gateway = self.connect()
        self.site: VCenter = self.gateway

    def connect(self, trust: Trust | None = None, **limits: Any) -> VSphereGateway:
        """Another gateway to the site; not started."""
        return VSphereGateway(
            SITE.name,
            f"{self.sim.url}/sdk",
            trust=trust or Trust(ca_pem=self.pki.ca.read_text()),
            credentials=lambda: (OPERATOR_USER, self.password),
            limits=Limits(**{"probe_interval": 0.2, "probe_timeout": 0.5, "request_timeout": 10.0, **limits}),
            on_change=self._changed,
            on_call=lambda *call: self.calls.append(call),
        )

    def _changed(self) -> None:
        self.changes += 1

    def slow(self, seconds: float) -> None:
        self.sim.admin.rules(
            {"match": {"method": "*_Task"}, "effect": {"when": "task", "delayMs": int(seconds * 1000)}}
        )

    def lose_reply(self, operation: str) -> None:
        self.sim.admin.outage("lostReply", match=self._WIRE[operation], count=1)

    def refuse_exports(self, export: NfsExport) -> None:
        self._exports[export.path]["access"] = "none"
        self._write_exports()

    def go(self, *, up: bool) -> None:
        self.sim.admin.outage("none" if up else "refuse")

    def effects(self) -> Counter[str]:
        names = {wire: operation for operation, wire in self._WIRE.items()}
        counted = self.sim.admin.counters()["effects"]
        found: Counter[str] = Counter()
        for key, times in counted.items():
            wire, _, about = key.partition(" ")
            found[f"{names.get(wire, wire)} {about}"] += times
        return found

    def _write_exports(self) -> None:
        target = self.array / "exports.json"
        new = target.with_suffix(".new")
        new.write_text(json.dumps({"server": SITE.nfs_server, "exports": self._exports}))
        new.replace(target)


def _limit_operator(lab_file: Path, privileges: list[str]) -> None:
    content = json.loads(lab_file.read_text())
    for user in content["users"]:
        if user["name"] == OPERATOR_USER:
            user["privileges"] = privileges
    lab_file.write_text(json.dumps(content))


async def eventually(check: Callable[[], bool], what: str, *, seconds: float = 10) -> None:
    """Wait until *check* holds, on the loop."""
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, f"{what}: not within {seconds:g} s"
        await asyncio.sleep(0.01)


def named(site: VCenter, name: str) -> Vm:
    """The VM of that name in the newest inventory."""
    return next(vm for vm in site.inventory().vms.values() if vm.name == name)


def first_host(site: VCenter) -> HostId:
    """The host esx-1."""
    return next(host.id for host in site.inventory().hosts.values() if host.name == "esx-1")
