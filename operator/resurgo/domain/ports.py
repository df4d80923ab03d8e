"""The outside world as the engine sees it: Protocols whose docstrings are the contract.

Each is met by a fake in tests and by one or more real adapters, and the same contract suite runs on all of them.
Nothing but `resurgo.domain.errors` may be raised. All calls are bounded in time by the adapter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

from resurgo.domain.inventory import DatastorePath, Hardware, HostId, Inventory, NfsExport, Vm, VmId
from resurgo.domain.replication import Access, Capability, GroupRef, GroupStatus, Op


class Done(StrEnum):
    """How an ensured end was reached."""

    DONE = "Done"
    ALREADY = "AlreadyDone"


@dataclass(frozen=True, slots=True)
class SiteFacts:
    """What a vCenter says of itself and of us. ``missing_privileges`` are privilege ids at the root folder."""

    instance_uuid: str
    version: str
    missing_privileges: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Mark:
    """Written into every VM that a run changes, so that effects can be found without our own records."""

    run: str  # uid of the run
    vm: str  # instance uuid at the protected site


@dataclass(frozen=True, slots=True)
class NicChange:
    key: int
    network: str  # name of the wanted network at this site


@dataclass(frozen=True, slots=True)
class IpSettings:
    """Wanted addresses of one NIC, by position. ``address`` is IPv4 or IPv6, ``prefix`` its length in bits."""

    nic_key: int
    address: str
    prefix: int
    gateway: str = ""
    dns: tuple[str, ...] = ()


class VCenter(Protocol):
    """One site's vCenter.

    Every ``ensure_*`` reads the VM or host first, acts only if the wanted end is not reached, and returns when it is
    reached: safe to repeat at any time, also while an earlier call of another process is still running there (it is
    waited for). A repeated call never takes effect twice. Each is bounded by the site's request and task limits.
    Errors: Unreachable (read failed, nothing sent), OutcomeUnknown (sent, answer lost), NotAllowed, Missing, Busy,
    Rejected with what vCenter said.
    """

    @property
    def site(self) -> str: ...

    async def facts(self) -> SiteFacts:
        """Log in if needed (TLS verified) and read who answers, and what we may not do there."""
        ...

    @property
    def reachable(self) -> bool:
        """Whether the last probe (at most a few seconds old) was answered. Never blocks."""
        ...

    @property
    def unreachable_since(self) -> datetime | None: ...

    def inventory(self) -> Inventory:
        """The newest reading in memory, kept current by one long poll. Unreachable if there was none yet; an older one
        is returned with its time while the site is away.
        """
        ...

    async def refresh(self) -> Inventory:
        """A reading that is not older than this call."""
        ...

    async def hardware(self, vms: Sequence[VmId]) -> Mapping[VmId, Hardware]:
        """Devices and marks, read now. VMs that are gone are absent."""
        ...

    async def read_vm(self, vm: VmId) -> Vm | None:
        """One VM, read now; None if it is gone."""
        ...

    async def shut_down_guest(self, vm: VmId) -> Done:
        """Ask the guest to shut down and return at once: done when asked. A guest that is off: ALREADY. Rejected with
        reason ToolsNotRunning where no Tools answer.
        """
        ...

    async def ensure_powered_off(self, vm: VmId) -> Done: ...

    async def ensure_powered_on(self, vm: VmId) -> Done:
        """Power on. A question of the VM whether it was moved or copied is answered with "moved"."""
        ...

    async def ensure_unregistered(self, vm: VmId) -> Done:
        """Take the powered-off VM out of the inventory; its files stay. A VM that is gone: ALREADY."""
        ...

    async def ensure_registered(
        self, vmx: DatastorePath, *, name: str, folder: str, pool: str, host: HostId | None
    ) -> tuple[Done, VmId]:
        """Register the VM whose files lie at *vmx*; one registered from there already is returned untouched.

        *folder* and *pool* are inventory paths. Missing: no such file, folder or pool.
        """
        ...

    async def ensure_configured(self, vm: VmId, *, nics: Sequence[NicChange], mark: Mark) -> Done:
        """Attach NICs to the wanted networks and write the mark, in one call. MACs stay, NICs connect at power-on."""
        ...

    async def ensure_customization(self, vm: VmId, *, hostname: str, ips: Sequence[IpSettings]) -> Done:
        """Leave a guest customization for the next power-on. *ips* name NICs by key; other NICs keep what they have."""
        ...

    async def ensure_mounted(self, export: NfsExport, *, name: str, host: HostId) -> Done:
        """Mount the export read-write as datastore *name* on one host. InvalidState: the name is another export's."""
        ...

    async def ensure_unmounted(self, export: NfsExport, *, host: HostId) -> Done:
        """Unmount the NFS export from one host, whatever it is called there. Busy while a VM of that host uses it."""
        ...

    async def aclose(self) -> None: ...


class ReplicationEndpoint(Protocol):
    """One storage system at one site. Operations are *ensure*: an end that is reached already is Succeeded with
    ``already``. Each returns within 10 s, RUNNING with a handle where it takes longer; any process may poll it.

    Errors: Unreachable, Busy, NotAllowed, Missing, NotSupported, InvalidState, OutcomeUnknown, Rejected.
    ``op_id`` is unique per run, step and group: artefacts are named from it where the system allows.
    """

    @property
    def site(self) -> str: ...
    async def capabilities(self) -> frozenset[Capability]: ...
    async def discover(self) -> Sequence[GroupStatus]:
        """Every group at this end, in any role. Reads only."""
        ...

    async def status(self, ref: GroupRef) -> GroupStatus:
        """One group, read now. Missing if it is gone."""
        ...

    async def sync(self, ref: GroupRef, *, op_id: str) -> Op:
        """At SOURCE or PREPARED: bring the target to the data of now."""
        ...

    async def prepare_failover(self, ref: GroupRef, *, op_id: str) -> Op:
        """At SOURCE: read-only, becomes PREPARED."""
        ...

    async def restore(self, ref: GroupRef, *, op_id: str) -> Op:
        """At PREPARED: becomes SOURCE again."""
        ...

    async def failover(
        self, ref: GroupRef, *, op_id: str, planned: bool, access: Access, point: str | None = None
    ) -> Op:
        """At TARGET: writable, becomes FAILED_OVER. With planned=False the other site is not contacted in any way."""
        ...

    async def test_start(
        self, ref: GroupRef, *, op_id: str, test_id: str, access: Access, point: str | None = None
    ) -> Op: ...
    async def test_stop(self, ref: GroupRef, *, op_id: str, test_id: str, force: bool = False) -> Op: ...
    async def prepare_reverse(self, ref: GroupRef, *, op_id: str) -> Op:
        """At the old source."""
        ...

    async def reverse(self, ref: GroupRef, *, op_id: str, access: Access) -> Op:
        """At the new source."""
        ...

    async def poll(self, handle: str) -> Op: ...
    async def aclose(self) -> None: ...


Obj = dict[str, Any]  # a Kubernetes object as JSON


@dataclass(frozen=True, slots=True)
class Key:
    """Names one object. *plural* is the resource (``recoveryplans``, ``configmaps``); cluster-scoped: no namespace."""

    plural: str
    namespace: str | None
    name: str

    def __str__(self) -> str:
        return f"{self.plural}/{self.namespace}/{self.name}" if self.namespace else f"{self.plural}/{self.name}"


class Kube(Protocol):
    """The API server. Kinds of resurgo.dev by plural; configmaps and secrets of the core API likewise.

    Errors: Missing (404), Conflict (409 on a resourceVersion or an existing object), NotAllowed (401, 403), Rejected
    (400, 422, with the server's text), Unreachable (no answer, 429, 503). A write whose answer was lost, or that ended
    in another 5xx, raises OutcomeUnknown.
    """

    async def get(self, key: Key) -> Obj: ...
    async def list(
        self, plural: str, *, namespace: str | None = None, labels: Mapping[str, str] | None = None
    ) -> list[Obj]:
        """All objects, in pages; over all namespaces where none is given."""
        ...

    async def create(self, plural: str, obj: Obj) -> Obj: ...
    async def patch(self, key: Key, patch: Obj) -> Obj:
        """Merge patch of the object without its status; ``metadata.resourceVersion`` in it makes it conditional."""
        ...

    async def patch_status(self, key: Key, status: Obj, *, resource_version: str | None = None) -> Obj:
        """Merge patch of the status subresource. With *resource_version*: Conflict if the object has moved on."""
        ...

    async def delete(self, key: Key) -> None:
        """Absent already is fine."""
        ...

    async def event(
        self, about: Obj, *, type_: str, reason: str, action: str, note: str, related: Obj | None = None
    ) -> None:
        """Post one events.k8s.io/v1 event, *type_* Normal or Warning, *note* cut to 1024. Never raises."""
        ...


class Clock(Protocol):
    def now(self) -> datetime:
        """UTC, for records and deadlines that survive the process."""
        ...

    def monotonic(self) -> float:
        """Seconds, for intervals within the process."""
        ...
