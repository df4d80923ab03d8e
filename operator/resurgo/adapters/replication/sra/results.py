"""From a command's answer to what became of the group and each of its devices."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from urllib.parse import quote, unquote
from xml.etree import ElementTree as ET

from resurgo.adapters.replication.sra.discovery import Found, read_device, read_point
from resurgo.adapters.replication.sra.document import child, children, local, text
from resurgo.adapters.replication.sra.facts import Facts
from resurgo.adapters.replication.sra.verbs import Verb
from resurgo.domain.replication import Device, ItemResult, Op, Phase

SKIPPED = "the adapter skipped it: its answer says neither success nor error"


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads the results of one verb for one group; *clean* takes secrets out of the adapter's texts."""

    verb: Verb
    found: Found
    facts: Facts
    clean: Callable[[str], str]

    def op(self, answer: ET.Element, handle: str) -> Op:
        """The operation as the answer tells it. RUNNING with a ``sync:`` handle where a synchronisation goes on."""
        group = self._element(answer)
        syncs = {} if group is None else self._syncs(group)
        running = {k: s for k, s in syncs.items() if s.get("status") == "inProgress"}
        items = (self._item(group, done=bool(syncs) and not running), *self._devices(group))
        if running and not any(i.error and i.error != SKIPPED for i in items):
            handle = sync_handle(self.found.status.ref.pair_key, {k: s.get("id", "") for k, s in syncs.items()})
            return Op(handle, Phase.RUNNING, percent=_percent(syncs.values()))
        phase = Phase.FAILED if any(i.error for i in items) else Phase.SUCCEEDED
        return Op(handle, phase, percent=100 if phase is Phase.SUCCEEDED else None, results=items)

    def _element(self, answer: ET.Element) -> ET.Element | None:
        root, ref = child(answer, self.verb.results), self.found.status.ref
        tag = self.verb.item if self.found.single else self.verb.group
        name, value = ("key", ref.pair_key) if self.verb.keyed else ("id", ref.id)
        return next((e for e in children(root, f"{tag}s", tag) if e.get(name) == value), None)

    def _syncs(self, group: ET.Element) -> dict[str, ET.Element]:
        """DeviceSync by device id, "" for the group's own."""
        own = child(group, "DeviceSync")
        below = {
            d.get("id", ""): s
            for d in children(group, "SourceDevices", "SourceDevice")
            for s in children(d, "DeviceSync")
        }
        return below if own is None else {"": own, **below}

    def _item(self, group: ET.Element | None, *, done: bool) -> ItemResult:
        key = self.found.status.ref.pair_key
        if group is None:
            return ItemResult(key, done=False, error=SKIPPED)
        done = done or child(group, "Success") is not None
        members = list(self._members(group))
        point = read_point(group, [p for m in members for p in (m, *children(m, "Snapshot"))])
        device = self._device(group) if self.found.single and done else None
        return self._judged(group, ItemResult(key, done=done, device=device, recovery_point=point), skipped=not done)

    def _devices(self, group: ET.Element | None) -> Iterable[ItemResult]:
        known = {d.id: d.pair_key for d in self.found.status.devices}
        for member in self._members(group):
            key = member.get("key", "") or known.get(member.get("id", ""), member.get("id", ""))
            done = child(member, "Error") is None
            snapshot = child(member, "Snapshot")
            point = read_point(member, [snapshot] if snapshot is not None else [])
            device = self._device(member) if done and self.verb.gives_access and self.verb.keyed else None
            yield self._judged(member, ItemResult(key, done=done, device=device, recovery_point=point), skipped=False)

    def _members(self, group: ET.Element | None) -> Iterable[ET.Element]:
        if group is None:
            return ()
        tags = {f"{self.verb.item}s", "Devices"}
        return [m for holder in group if local(holder) in tags for m in holder]

    def _device(self, element: ET.Element) -> Device:
        test = child(element, "Snapshot") if self.verb.name == "testStart" else None
        return read_device(element, None, writable=True, presented=test)

    def _judged(self, element: ET.Element, item: ItemResult, *, skipped: bool) -> ItemResult:
        warnings = tuple(self.clean(self.facts.explain(w)[0]) for w in children(element, "Warnings", "Warning"))
        error, hint = "", ""
        if (failed := child(element, "Error")) is not None:
            error, hint = self.facts.explain(failed)
        elif skipped:
            error = SKIPPED
        return ItemResult(
            item.pair_key,
            done=item.done and not error,
            device=item.device if not error else None,
            recovery_point=item.recovery_point,
            error=self.clean(error),
            hint=self.clean(hint),
            warnings=warnings,
        )


def settled(found: Found, handle: str, *, test: bool, already: bool, warnings: tuple[str, ...] = ()) -> Op:
    """The operation whose end was found reached by looking at the array."""
    status = found.status
    shown = status.test.devices if test and status.test is not None else status.devices
    point = status.test.recovery_point if test and status.test is not None else status.recovery_point
    group = ItemResult(status.ref.pair_key, done=True, already=already, recovery_point=point, warnings=warnings)
    devices = (ItemResult(d.pair_key, done=True, already=already, device=d, recovery_point=point) for d in shown)
    return Op(handle, Phase.SUCCEEDED, percent=100, results=(group, *devices))


def _percent(syncs: Iterable[ET.Element]) -> int | None:
    """The slowest one's progress."""
    said = [text(s, "Progress") for s in syncs if s.get("status") == "inProgress"]
    return min((int(p) for p in said if p.isdigit()), default=None)


def sync_handle(pair_key: str, ids: dict[str, str]) -> str:
    """A handle that any process can poll without having seen the sync start."""
    return ":".join(
        ["sync", quote(pair_key, safe=""), *(f"{quote(k, safe='')}={quote(v, safe='')}" for k, v in ids.items())]
    )


def read_sync_handle(handle: str) -> tuple[str, dict[str, str]]:
    """Pair key and sync ids by device id. ValueError for what is no such handle."""
    kind, key, *ids = handle.split(":")
    if kind != "sync" or not ids or any("=" not in i for i in ids):
        raise ValueError(handle)
    pairs = (i.partition("=") for i in ids)
    return unquote(key), {unquote(device): unquote(sync) for device, _, sync in pairs}
