"""Events of events.k8s.io/v1, as `kubectl events` shows them. A courtesy to people; nothing is ever read back."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime

from resurgo.domain.ports import Obj

CONTROLLER = "resurgo.dev/operator"
_NOTE_LIMIT = 1024  # bytes
_WORD_LIMIT = 128
_INSTANCE_LIMIT = 128


def event_path(about: Obj) -> str:
    """Where an event about that object is posted; those about cluster-scoped objects lie in `default`."""
    return f"/apis/events.k8s.io/v1/namespaces/{_namespace(about)}/events"


def build_event(
    about: Obj, *, type_: str, reason: str, action: str, note: str, related: Obj | None, instance: str, now: datetime
) -> Obj:
    """The event's manifest, with the limits of the API applied."""
    metadata = about.get("metadata") or {}
    event: Obj = {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {
            "name": f"{metadata.get('name', 'unknown')[:200]}.{secrets.token_hex(8)}",
            "namespace": _namespace(about),
        },
        "eventTime": now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "reportingController": CONTROLLER,
        "reportingInstance": instance[:_INSTANCE_LIMIT],
        "type": type_,
        "reason": reason[:_WORD_LIMIT],
        "action": action[:_WORD_LIMIT],
        "note": shortened(note),
        "regarding": reference(about),
    }
    if related is not None:
        event["related"] = reference(related)
    return event


def shortened(note: str) -> str:
    """The note as far as it fits: the API's limit counts bytes of UTF-8."""
    if len(note.encode()) <= _NOTE_LIMIT:
        return note
    return note.encode()[: _NOTE_LIMIT - 3].decode(errors="ignore") + "..."


def reference(obj: Obj) -> Obj:
    """A core/v1 ObjectReference to *obj*."""
    metadata = obj.get("metadata") or {}
    wanted = {
        "apiVersion": obj.get("apiVersion"),
        "kind": obj.get("kind"),
        "namespace": metadata.get("namespace"),
        "name": metadata.get("name"),
        "uid": metadata.get("uid"),
        "resourceVersion": metadata.get("resourceVersion"),
    }
    return {key: value for key, value in wanted.items() if value}


def _namespace(about: Obj) -> str:
    return str((about.get("metadata") or {}).get("namespace") or "default")
