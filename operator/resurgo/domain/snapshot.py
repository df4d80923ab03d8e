"""What a run works on, frozen at its start: later edits of plan, groups and mappings change nothing in it.

Items are known by short keys (``vm-3``, ``cg-0``, ``ds-1``), stable for the run and free of users' characters.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from resurgo.domain.inventory import NfsExport
from resurgo.domain.states import RunType
from resurgo.domain.steps import Scope

REST_STAGE = "rest"  # the implicit last stage of VMs that no stage names


@dataclass(frozen=True, slots=True)
class FrozenNic:
    key: int
    mac: str
    network: str  # at the source
    target_network: str
    address: str = ""  # wanted address at the target, "" = keep what the guest has
    prefix: int = 0
    gateway: str = ""
    dns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FrozenVm:
    key: str
    name: str
    group: str  # protection group
    stage: str
    instance_uuid: str
    datastore: str  # key of the datastore its .vmx lies on
    vmx: str  # path on that datastore
    folder: str  # inventory paths: at the source ...
    pool: str
    host: str
    target_folder: str  # ... and at the target
    target_pool: str
    nics: tuple[FrozenNic, ...] = ()
    depends_on: tuple[str, ...] = ()  # keys of VMs of the same stage
    was_on: bool = True
    power_on: bool = True
    guest_shutdown: bool = True
    shutdown_seconds: int = 300
    customize: bool = False


@dataclass(frozen=True, slots=True)
class FrozenDatastore:
    key: str
    name: str
    target_name: str
    group: str  # protection group
    consistency_group: str  # key of the consistency group
    device: str  # pair key of the device
    export: NfsExport  # at the source
    hosts: tuple[str, ...]  # ids of the source hosts that mount it


@dataclass(frozen=True, slots=True)
class FrozenGroup:
    """A consistency group. The protection group it belongs to is ``group``."""

    key: str
    id: str
    group: str
    pair: str
    pair_key: str


@dataclass(frozen=True, slots=True)
class Readiness:
    tools_heartbeat: bool = True
    tcp_ports: tuple[int, ...] = ()
    timeout_seconds: int = 900
    delay_seconds: int = 0


@dataclass(frozen=True, slots=True)
class FrozenStage:
    name: str
    depends_on: tuple[str, ...] = ()
    readiness: Readiness = field(default_factory=Readiness)
    halt: bool = True
    quorum: int = 100  # percent of the stage's VMs that must become ready
    retries: int = 1


@dataclass(frozen=True, slots=True)
class SiteLimits:
    concurrent_tasks: int = 32
    power_ons_per_host: int = 4


@dataclass(frozen=True, slots=True)
class Snapshot:
    run: str  # uid
    plan: str
    type: RunType
    source: str  # site names
    target: str
    fencing: str  # Required, BestEffort, Skip
    source_limits: SiteLimits
    target_limits: SiteLimits
    groups: tuple[FrozenGroup, ...]
    datastores: tuple[FrozenDatastore, ...]
    vms: tuple[FrozenVm, ...]
    stages: tuple[FrozenStage, ...]

    def items(self, scope: Scope) -> tuple[str, ...]:
        """Keys of all items of a scope, in the snapshot's order."""
        match scope:
            case Scope.RUN:
                return ("run",)
            case Scope.GROUP:
                return tuple(g.key for g in self.groups)
            case Scope.DATASTORE:
                return tuple(d.key for d in self.datastores)
            case Scope.VM:
                return tuple(v.key for v in self.vms)

    def shards(self) -> dict[str, int]:
        """Which journal object holds the records of an item: one per protection group, the run's own in the first."""
        names = sorted({g.group for g in self.groups} | {v.group for v in self.vms})
        number = {name: index for index, name in enumerate(names)}
        owners: list[FrozenGroup | FrozenDatastore | FrozenVm] = [*self.groups, *self.datastores, *self.vms]
        return {owner.key: number[owner.group] for owner in owners}

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Snapshot:
        """Rebuild what `to_json` wrote. KeyError or TypeError for anything else."""
        return cls(
            **{
                **raw,
                "type": RunType(raw["type"]),
                "source_limits": SiteLimits(**raw["source_limits"]),
                "target_limits": SiteLimits(**raw["target_limits"]),
                "groups": tuple(FrozenGroup(**g) for g in raw["groups"]),
                "datastores": tuple(
                    FrozenDatastore(**{**d, "export": NfsExport(**d["export"]), "hosts": tuple(d["hosts"])})
                    for d in raw["datastores"]
                ),
                "vms": tuple(_vm(v) for v in raw["vms"]),
                "stages": tuple(_stage(s) for s in raw["stages"]),
            }
        )


def _vm(raw: Mapping[str, Any]) -> FrozenVm:
    nics = tuple(FrozenNic(**{**n, "dns": tuple(n["dns"])}) for n in raw["nics"])
    return FrozenVm(**{**raw, "nics": nics, "depends_on": tuple(raw["depends_on"])})


def _stage(raw: Mapping[str, Any]) -> FrozenStage:
    readiness = Readiness(**{**raw["readiness"], "tcp_ports": tuple(raw["readiness"]["tcp_ports"])})
    return FrozenStage(**{**raw, "readiness": readiness, "depends_on": tuple(raw["depends_on"])})
