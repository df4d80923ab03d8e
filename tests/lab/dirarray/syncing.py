"""Replication: a recovery point at the peer, finished by a rename, or not there at all."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import copying
import faults
from store import JSON, Array, ArrayError, Group, locked, write_json


@dataclass(frozen=True)
class Progress:
    """A synchronisation as it stands."""

    id: str
    percent: int
    already: bool = False


def peer_group(peer: Path | None, name: str) -> Group:
    """The group at the peer array. ArrayError 1004 while the peer does not answer."""
    if peer is None or not peer.is_dir() or faults.unreachable(peer):
        raise ArrayError(1004, f"peer array {peer.name if peer else '(none configured)'} does not answer")
    return Array(peer).group(name)


def start(group: Group, peer: Path | None, middle: Callable[[], None]) -> Progress:
    """Copy live into a new recovery point at the peer; with syncSeconds it is finished only that much later.

    *middle* is called when half of the work is done. A sync under way is returned as it is.
    """
    if group.state.role != "source":
        raise ArrayError(1006, f"{group.name} is a {group.state.role} here, not a source")
    other = peer_group(peer, group.name)
    with locked(group.folder / ".sync.lock"):
        pending = group.load().pending
        if pending is not None and (left := finish_if_due(group, peer)) is not None:
            return Progress(left.id, left.percent, already=True)
        point = _copy(group, other, middle)
        seconds = group.array.setting("syncSeconds", 0)
        if seconds <= 0:
            _commit(other, point)
            return Progress(point["sync"], 100)
        with group.changing() as state:
            state.pending = {**point, "began": time.time(), "due": time.time() + seconds}
        return Progress(point["sync"], 0)


def poll(group: Group, peer: Path | None, sync: str) -> Progress:
    """How far the sync is. ArrayError 1009 for an id that was never given out."""
    with locked(group.folder / ".sync.lock"):
        pending = group.load().pending
        if pending is not None and pending["sync"] == sync:
            return finish_if_due(group, peer) or Progress(sync, 100)
        other = peer_group(peer, group.name)
        if any(p.get("sync") == sync for p in other.points()):
            return Progress(sync, 100)
        raise ArrayError(1009, f"no synchronisation {sync} of {group.name}")


def finish_if_due(group: Group, peer: Path | None) -> Progress | None:
    """Finish a background sync whose time has come; otherwise say how far it is. For a holder of the sync lock."""
    pending = group.state.pending
    assert pending is not None
    if time.time() < pending["due"]:
        share = (time.time() - pending["began"]) / (pending["due"] - pending["began"])
        return Progress(pending["sync"], int(share * 100))
    other = peer_group(peer, group.name)
    with group.changing() as state:
        state.pending = None
    _commit(other, pending)
    return None


def _copy(group: Group, other: Group, middle: Callable[[], None]) -> JSON:
    """Make the data of a new recovery point at *other* and describe it; it is not a recovery point yet."""
    with other.changing() as state:
        _accepts(other)
        state.serial += 1
        serial, epoch = state.serial, state.epoch
    points = other.folder / "points"
    points.mkdir(exist_ok=True)
    for stale in points.glob("*.partial"):  # of a sync that died: this one holds the lock
        copying.remove(stale)
    finished = other.points()
    previous = points / finished[-1]["id"] if finished else None
    partial = points / f"{serial}.partial"
    devices = group.state.devices
    for device in devices[: len(devices) // 2 + 1]:  # something is there when a fault strikes in the middle
        copying.mirror(group.live / device, partial / device, previous / device if previous else None)
    middle()
    age = copying.snapshot(group.live, partial, previous)
    for extra in [p for p in partial.iterdir() if p.name not in devices]:
        copying.remove(extra)
    return {
        "sync": f"{group.array.id}-{serial}",
        "serial": serial,
        "epoch": epoch,
        "time": age.astimezone(UTC).isoformat(),
    }


def _commit(other: Group, point: JSON) -> None:
    """Turn finished data into a recovery point, if the group there still is what it was when the copy began."""
    points = other.folder / "points"
    partial = points / f"{point['serial']}.partial"
    with other.changing() as state:
        if state.epoch != point["epoch"] or not partial.is_dir():
            copying.remove(partial)
            _accepts(other)
            raise ArrayError(1006, f"{other.name} changed its role while it was copied")
        write_json(partial / "point.json", {"time": point["time"], "sync": point["sync"]})
        partial.rename(points / str(point["serial"]))
    keep = max(1, int(other.array.setting("keepPoints", 3)))
    for old in other.points()[:-keep]:
        with contextlib.suppress(OSError):
            copying.remove(points / old["id"])


def _accepts(other: Group) -> None:
    if other.state.role != "target" or other.state.access != "none":
        raise ArrayError(1007, f"{other.name} at {other.array.id} is {other.state.role}, {other.state.access}")


def newest(group: Group) -> JSON:
    """The newest complete recovery point. ArrayError 1005 if there is none."""
    points = group.points()
    if not points:
        raise ArrayError(1005, f"{group.name} at {group.array.id} has no complete recovery point")
    point = points[-1]
    return {"id": point["id"], "time": datetime.fromisoformat(point["time"]).astimezone(UTC).isoformat()}
