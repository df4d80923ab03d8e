"""One request from beginning to end: log in, meet the faults, do the work item by item, answer."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from xml.etree import ElementTree as ET

import changes
import discovery
import envelope
import faults
import queries
import syncing
from envelope import Command, element, path
from store import Array, ArrayError, Group, read_json

FAILED = 255  # the exit code of a command that failed as a whole

Change = Callable[[Group, Path | None], bool]
AT_SOURCE_ITEMS: dict[str, tuple[str, Change]] = {
    "prepareFailover": ("PrepareFailoverResults", changes.prepare_failover),
    "restoreReplication": ("RestoreReplicationResults", changes.restore),
    "prepareReverseReplication": ("PrepareReverseReplicationResults", changes.prepare_reverse),
    "reverseReplication": ("ReverseReplicationResults", changes.reverse),
}
AT_TARGET_ITEMS: dict[str, tuple[str, Change]] = {
    "failover": ("FailoverResults", changes.failover),
    "testFailoverStart": ("TestFailoverStartResults", changes.start_test),
    "testFailoverStop": ("TestFailoverStopResults", changes.stop_test),
}
SYNCS = {"syncOnce": "SyncOnceResults", "querySyncStatus": "QuerySyncStatusResults"}
QUERIES: dict[str, Callable[[Command], ET.Element | list[ET.Element]]] = {
    "queryInfo": queries.info,
    "queryStrings": queries.strings,
    "queryCapabilities": queries.capabilities,
    "queryConnectionParameters": queries.connection_parameters,
    "queryErrorDefinitions": queries.error_definitions,
}


def serve(document: bytes) -> int:
    """Answer one request and return the exit code. Exit code 2 for what is no request."""
    try:
        command = envelope.read(document)
    except (ET.ParseError, ValueError) as error:
        print(f"not a request: {error}", file=sys.stderr)
        return 2
    print(f"Commence: {command.name}")
    try:
        if command.name not in queries.commands():
            raise ArrayError(100, f"{command.name} is not offered")  # noqa: TRY301
        if command.name in QUERIES:
            body = QUERIES[command.name](command)
            envelope.answer(command, *(body if isinstance(body, list) else [body]))
        else:
            return _on_array(command)
    except ArrayError as error:
        envelope.answer(command, _error(error))
        print(f"Failed: {command.name}: {error.code} {error.description}")
        return FAILED
    print(f"Complete: {command.name}")
    return 0


def _on_array(command: Command) -> int:
    array = _log_in(command)
    faults.record(array.root, "call", command.name, "")
    effect = faults.of_command(array.root, command.name, [_group_name(g) for g in _groups(command)])
    _suffer(command, effect)
    if effect.exit is not None:
        return int(effect.exit)
    body = _work(command, array)
    if effect.dieAfterEffect:
        faults.die()
    envelope.answer(command, body, truncate=bool(effect.truncate))
    print(f"Complete: {command.name}")
    return 0


def _log_in(command: Command) -> Array:
    array = Array(Path(command.opaques.get("dirarray.root", "")))
    if command.name in read_json(array.root / "capabilities.json", {}).get("off", []):
        raise ArrayError(100, f"array {array.id} does not offer {command.name}")
    wanted = read_json(array.root / "credentials.json", None)
    if wanted is not None and (command.username, command.password) != (wanted["username"], wanted["password"]):
        raise ArrayError(1002, f"array {array.id} refused user {command.username!r}")
    return array


def _suffer(command: Command, effect: faults.Effect) -> None:
    """The faults that strike before the work."""
    if effect.unreachable:
        raise ArrayError(1001)
    until = time.monotonic() + float(effect.delaySeconds or 0)
    percent = 0
    while time.monotonic() < until:
        if effect.progress:
            percent = min(percent + 1, 99)
            envelope.progress(command, percent)
        time.sleep(min(0.2, max(0.0, until - time.monotonic())))
    if effect.hang:
        faults.hang()
    if effect.dieBeforeEffect:
        faults.die()


def _work(command: Command, array: Array) -> ET.Element:
    if command.name == "discoverArrays":
        return discovery.arrays(array)
    if command.name == "discoverDevices":
        return discovery.devices(array)
    if command.name in SYNCS:
        groups = [_item(command, array, g, "ConsistencyGroup") for g in _children(command, "ConsistencyGroup")]
        loose = [_loose(d, "SourceDevice", "id") for d in _children(command, "SourceDevice")]
        results = element("ConsistencyGroups", *groups), element("SourceDevices", *loose)
        return element(SYNCS[command.name], *results)
    if command.name in AT_SOURCE_ITEMS:
        groups = [_item(command, array, g, "ConsistencyGroup") for g in _children(command, "ConsistencyGroup")]
        kind = "SourceDevice" if command.name == "prepareFailover" else "Device"
        loose = [_loose(d, kind, "id") for d in _children(command, kind)]
        return element(
            AT_SOURCE_ITEMS[command.name][0], element("ConsistencyGroups", *groups), element(f"{kind}s", *loose)
        )
    groups = [_item(command, array, g, "TargetGroup") for g in _children(command, "TargetGroup")]
    loose = [_loose(d, "TargetDevice", "key") for d in _children(command, "TargetDevice")]
    port = element("StoragePorts", element("StoragePort", id=array.config["server"], type="NFS"))
    body = element("TargetGroups", *groups), element("TargetDevices", *loose), port
    return element(AT_TARGET_ITEMS[command.name][0], *body)


def _groups(command: Command) -> list[ET.Element]:
    return [*_children(command, "ConsistencyGroup"), *_children(command, "TargetGroup")]


def _group_name(item: ET.Element) -> str:
    return item.get("id") or item.get("key", "").removeprefix("pair.")


def _children(command: Command, tag: str) -> Iterable[ET.Element]:
    return command.parameters.iterfind(path(f"{tag}s", tag))


def _loose(device: ET.Element, tag: str, attribute: str) -> ET.Element:
    """Every device here belongs to a group and is moved with it only."""
    name = device.get(attribute, "")
    return element(tag, _error(ArrayError(1003, f"device {name} is no device of its own")), **{attribute: name})


def _item(command: Command, array: Array, item: ET.Element, tag: str) -> ET.Element:
    """Do the command to one group and answer for it alone."""
    attribute = "key" if tag == "TargetGroup" else "id"
    name = item.get(attribute, "")
    try:
        group = array.group(_group_name(item))
        faults.record(array.root, "call", command.name, group.name)
        effect = faults.of_item(array.root, command.name, group.name)
        _suffer(command, effect)
        if effect.itemError:
            fault = effect.itemError
            raise ArrayError(int(fault["code"]), fault.get("description", ""), fault.get("fixHint", ""))  # noqa: TRY301
        children = _do(command, array, group, item, effect)
        if effect.dieAfterEffect:
            faults.die()
    except ArrayError as error:
        return element(tag, _error(error), **{attribute: name})
    return element(tag, *children, **{attribute: name})


def _do(
    command: Command, array: Array, group: Group, item: ET.Element, effect: faults.Effect
) -> list[ET.Element | None]:
    peer = Path(command.opaques["dirarray.peer"]) if command.opaques.get("dirarray.peer") else None

    def middle() -> None:
        if effect.dieMidEffect:
            faults.die()
        if effect.hangMidEffect:
            faults.hang()

    if command.name == "syncOnce":
        return _sync(array, group, syncing.start(group, peer, middle), started=True)
    if command.name == "querySyncStatus":
        return _sync(array, group, syncing.poll(group, peer, item.get("syncId", "")), started=False)
    change = {**AT_SOURCE_ITEMS, **AT_TARGET_ITEMS}[command.name][1]
    changed = change(group, peer)
    group.load()
    if changed:
        faults.record(array.root, "effect", command.name, group.name)
    elif effect.alreadyRaises:
        raise ArrayError(1008)
    already = None if changed else element("Warnings", element("Warning", code=str(queries.ALREADY)))
    return [element("Success"), already, *_devices(command.name, group)]


def _sync(array: Array, group: Group, at: syncing.Progress, *, started: bool) -> list[ET.Element | None]:
    if started and not at.already:
        faults.record(array.root, "effect", "syncOnce", group.name)  # each sync makes a new recovery point
    status = "complete" if at.percent >= 100 else "inProgress"
    sync = element("DeviceSync", element("Progress", text=str(at.percent)), id=at.id, status=status)
    return [sync, element("Warnings", element("Warning", code=str(queries.ALREADY))) if at.already else None]


def _devices(command: str, group: Group) -> list[ET.Element]:
    """What the host needs to mount: the recovered devices, or the test's."""
    if command not in {"failover", "testFailoverStart"}:
        return []
    point = discovery.recovery_point(group.state.recovered)
    devices = [discovery.target_device(group, d) for d in group.state.devices]
    for device in devices:
        if command == "failover" and point is not None:
            device.append(point)
        device.append(element("Success"))
    return [element("TargetDevices", *devices)]


def _error(error: ArrayError) -> ET.Element:
    made = element("Error", code=str(error.code))
    if error.description:
        made.append(element("Description", text=error.description))
    if error.hint:
        made.append(element("FixHint", text=error.hint))
    return made
