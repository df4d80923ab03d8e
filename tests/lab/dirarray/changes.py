"""What changes a group: tests, failover, its preparation, its undoing, and turning replication round.

Each function returns True if it changed something and False if there was nothing left to do. Killed on any line, it
can be called again: the state is written last.
"""

from __future__ import annotations

from pathlib import Path

import copying
from store import ArrayError, Group, locked
from syncing import newest, peer_group


def prepare_failover(group: Group, _: Path | None) -> bool:
    """The source becomes read-only; a sync is still possible."""
    with group.changing() as state:
        _is(group, "source")
        changed = state.access == "rw"
        if changed:
            state.access = "ro"
        return changed


def restore(group: Group, peer: Path | None) -> bool:
    """The prepared source becomes writable again, unless the peer is known to have taken over."""
    with group.changing() as state:
        _is(group, "source")
        if state.access == "rw":
            return False
        if state.reversing or _peer_took_over(group, peer):
            raise ArrayError(1007, f"the peer of {group.name} has taken over: it can't be restored here")
        state.access = "rw"
        return True


def failover(group: Group, _: Path | None) -> bool:
    """The newest complete recovery point becomes live, and writable. The peer is not looked at."""
    with group.changing() as state:
        _is(group, "target")
        if state.access == "rw":
            return False
        point = newest(group)
        fresh = group.folder / "live.new"
        copying.remove(fresh)
        for device in state.devices:
            copying.mirror(group.folder / "points" / point["id"] / device, fresh / device)
        copying.remove(group.live)  # not exported: nobody sees the gap
        fresh.rename(group.live)
        state.access, state.recovered, state.epoch = "rw", point, state.epoch + 1
        return True


def start_test(group: Group, _: Path | None) -> bool:
    """A writable copy of the newest recovery point stands beside the replica; replication goes on."""
    with group.changing() as state:
        _is(group, "target")
        if state.access == "rw":
            raise ArrayError(1006, f"{group.name} has failed over: there is nothing to test")
        if state.test is not None:
            return False
        point = newest(group)
        key = f"point-{point['id']}"
        where = group.folder / "tests" / key
        copying.remove(where)
        for device in state.devices:
            copying.mirror(group.folder / "points" / point["id"] / device, where / device)
        state.test = {"key": key, "point": point}
        return True


def stop_test(group: Group, _: Path | None) -> bool:
    """The test copy is gone."""
    with group.changing() as state:
        changed = state.test is not None
        state.test = None
        group.save()
        group.array.export()  # first nobody may see it, then it goes
        copying.remove(group.folder / "tests")
        return changed


def prepare_reverse(group: Group, peer: Path | None) -> bool:
    """The old source is taken from its hosts and agrees to become a target."""
    with group.changing() as state:
        if state.role == "target":
            return False
        if not _failed_over(peer_group(peer, group.name)):
            raise ArrayError(1006, f"the peer of {group.name} has not failed over: this is still the source")
        changed = not state.reversing
        state.reversing, state.access = True, "none"
        return changed


def reverse(group: Group, peer: Path | None) -> bool:
    """The failed-over target becomes the source. The old source's last data goes to lost/."""
    other = peer_group(peer, group.name)
    with locked(group.folder / ".reverse.lock"):
        if group.load().role == "source" and other.state.role == "target":
            return False
        if group.state.role == "target" and group.state.access != "rw":
            raise ArrayError(1006, f"{group.name} has not failed over")
        with other.changing() as theirs:
            if theirs.role == "source":
                if not theirs.reversing:
                    raise ArrayError(1006, f"{group.name} at {other.array.id} is not prepared for reverse replication")
                _keep_last(other)
                theirs.role, theirs.access, theirs.reversing = "target", "none", False
                theirs.recovered, theirs.pending, theirs.epoch = None, None, theirs.epoch + 1
        with group.changing() as ours:
            ours.role, ours.access, ours.test, ours.epoch = "source", "rw", None, ours.epoch + 1
        for spent in ("points", "tests"):
            copying.remove(group.folder / spent)
        return True


def _keep_last(loser: Group) -> None:
    lost = loser.folder / "lost"
    if loser.live.is_dir():
        copying.remove(lost)
        loser.live.rename(lost)
    copying.remove(loser.folder / "points")  # of an earlier direction
    for device in loser.state.devices:
        (loser.live / device).mkdir(parents=True, exist_ok=True)


def _is(group: Group, role: str) -> None:
    if group.state.role != role:
        raise ArrayError(1006, f"{group.name} at {group.array.id} is a {group.state.role}, not a {role}")


def _failed_over(group: Group) -> bool:
    return group.state.role == "target" and group.state.access == "rw"


def _peer_took_over(group: Group, peer: Path | None) -> bool:
    try:
        return _failed_over(peer_group(peer, group.name))
    except ArrayError:
        return False  # whoever asks has to know the peer by other means
