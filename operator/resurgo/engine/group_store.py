"""Where what is known of a protection group lies: in memory, and in an unwatched ConfigMap beside the group."""

from __future__ import annotations

import base64
import gzip
import json
import logging
from typing import Any

from resurgo.domain.errors import Conflict, Missing
from resurgo.domain.ports import Key, Obj
from resurgo.domain.records import GroupRecord
from resurgo.engine.context import Context, owner_of

log = logging.getLogger(__name__)
_ENTRY = "record"


def pack(value: Any) -> str:
    """JSON, compressed, as the value of a binaryData entry: an object may hold 1 MiB."""
    return base64.b64encode(gzip.compress(json.dumps(value, separators=(",", ":")).encode(), mtime=0)).decode()


def unpack(text: str) -> Any:
    return json.loads(gzip.decompress(base64.b64decode(text)))


def _key(namespace: str, group: str) -> Key:
    return Key("configmaps", namespace, f"{group}.group.resurgo.dev")


async def load(context: Context, namespace: str, group: str) -> GroupRecord | None:
    """The record as last stored, None where there is none or it is damaged."""
    if (found := context.records.get((namespace, group))) is not None:
        return found
    try:
        obj = await context.kube.get(_key(namespace, group))
        record = GroupRecord.from_json(unpack(obj["binaryData"][_ENTRY]))
    except Missing:
        return None
    except (KeyError, TypeError, ValueError, OSError):
        log.warning("group.record_damaged", extra={"group": f"{namespace}/{group}"})
        return None
    context.records[namespace, group] = record
    return record


async def store(context: Context, obj: Obj, record: GroupRecord) -> None:
    """Keep *record* in memory, and on disk where it says something new."""
    meta = obj["metadata"]
    namespace, name = meta["namespace"], meta["name"]
    before = context.records.get((namespace, name))
    if record.same_as(before):
        context.records[namespace, name] = record
        return
    body = {"binaryData": {_ENTRY: pack(record.to_json())}}
    key = _key(namespace, name)
    try:
        await context.kube.patch(key, body)
    except Missing:
        owner = owner_of(obj, obj["apiVersion"], obj["kind"])
        head = {"name": key.name, "namespace": namespace, "ownerReferences": [owner]}
        try:
            await context.kube.create("configmaps", {"metadata": head, **body})
        except Conflict:
            await context.kube.patch(key, body)
    context.records[namespace, name] = record
