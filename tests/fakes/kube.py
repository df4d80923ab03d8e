"""The Kube port in memory, with what matters of a real API server.

That is resourceVersions, generations, finalizers, the status subresource and merge patches; not schemas, defaults, RBAC
or admission. tests/contract/test_kube.py runs on it and on the real one.
"""

from __future__ import annotations

import copy
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from resurgo.adapters.kube.echo import Echo
from resurgo.adapters.kube.resources import api_version, resource
from resurgo.domain.errors import Conflict, Missing, Rejected
from resurgo.domain.ports import Key, Obj

_OURS = "resurgo.dev"
Watcher = Callable[[str, str, Obj], None]  # (ADDED | MODIFIED | DELETED, plural, object)


class FakeKube:
    """Objects come and go as copies: nothing a caller does to an answer changes what is stored.

    *watchers* are called after each change. *before_write* is called with the verb and the key before a write takes
    effect, *after_write* once it has: what they raise goes to the writer, as a refusal or as a lost answer.
    """

    def __init__(self, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.objects: dict[Key, Obj] = {}
        self.events: list[Obj] = []
        self.watchers: list[Watcher] = []
        self.before_write: Callable[[str, Key], None] = lambda _verb, _key: None
        self.after_write: Callable[[str, Key], None] = lambda _verb, _key: None
        self.writes = 0
        self._now = now
        self._version = 0
        self._echo = Echo()

    def is_own_write(self, uid: str, resource_version: str) -> bool:
        return self._echo.is_own(uid, resource_version)

    async def get(self, key: Key) -> Obj:
        return copy.deepcopy(self._find(key))

    async def list(
        self, plural: str, *, namespace: str | None = None, labels: Mapping[str, str] | None = None
    ) -> list[Obj]:
        resource(plural)
        return [
            copy.deepcopy(obj)
            for key, obj in sorted(self.objects.items(), key=lambda item: str(item[0]))
            if key.plural == plural and namespace in {None, key.namespace} and _matches(obj, labels or {})
        ]

    async def create(self, plural: str, obj: Obj) -> Obj:
        obj = copy.deepcopy(obj)
        metadata = obj.setdefault("metadata", {})
        if "name" not in metadata:
            metadata["name"] = f"{metadata['generateName']}{uuid.uuid4().hex[:5]}"
        key = Key(plural, metadata.get("namespace") if resource(plural).namespaced else None, metadata["name"])
        if key in self.objects:
            raise Conflict(f"{key} already exists", after=0.0, reason="AlreadyExists")
        self.before_write("create", key)
        if api_version(plural).startswith(_OURS):
            obj.pop("status", None)
        metadata |= {"uid": str(uuid.uuid4()), "generation": 1, "creationTimestamp": self._stamp()}
        stored = {"apiVersion": api_version(plural), "kind": resource(plural).kind} | obj
        return self._store("create", "ADDED", key, stored)

    async def patch(self, key: Key, patch: Obj) -> Obj:
        before = self._find(key)
        self._check_version(key, before, (patch.get("metadata") or {}).get("resourceVersion"))
        patch = {name: value for name, value in patch.items() if name != "status" or not _has_status(key)}
        changed = merge(before, patch)
        for fixed in ("uid", "creationTimestamp", "generation", "deletionTimestamp", "name", "namespace"):
            if fixed in before["metadata"]:
                changed["metadata"][fixed] = before["metadata"][fixed]
        return self._change("patch", key, before, changed)

    async def patch_status(self, key: Key, status: Obj, *, resource_version: str | None = None) -> Obj:
        before = self._find(key)
        self._check_version(key, before, resource_version)
        return self._change("patch_status", key, before, merge(before, {"status": status}))

    async def delete(self, key: Key) -> None:
        obj = self.objects.get(key)
        if obj is None:
            return
        self.before_write("delete", key)
        if obj["metadata"].get("finalizers"):
            if "deletionTimestamp" not in obj["metadata"]:
                marked = copy.deepcopy(obj)
                marked["metadata"]["deletionTimestamp"] = self._stamp()
                self._store("delete", "MODIFIED", key, marked, own=False)
            return
        self._remove(key)
        self.after_write("delete", key)

    async def event(
        self, about: Obj, *, type_: str, reason: str, action: str, note: str, related: Obj | None = None
    ) -> None:
        self.events.append(
            {
                "regarding": about["metadata"]["name"],
                "type": type_,
                "reason": reason,
                "action": action,
                "note": note[:1024],
                "related": related["metadata"]["name"] if related else None,
            }
        )

    def _find(self, key: Key) -> Obj:
        resource(key.plural)
        if key not in self.objects:
            raise Missing(f"{key} not found")
        return self.objects[key]

    def _check_version(self, key: Key, obj: Obj, wanted: str | None) -> None:
        if wanted is not None and wanted != obj["metadata"]["resourceVersion"]:
            raise Conflict(f"{key}: the object has been modified", after=0.0)

    def _change(self, verb: str, key: Key, before: Obj, changed: Obj) -> Obj:
        self.before_write(verb, key)
        changed["metadata"]["resourceVersion"] = before["metadata"]["resourceVersion"]
        if changed == before:
            return copy.deepcopy(before)  # the real one does not move the version either
        if changed.get("spec") != before.get("spec"):
            changed["metadata"]["generation"] = before["metadata"]["generation"] + 1
        if "deletionTimestamp" in before["metadata"]:
            if set(changed["metadata"].get("finalizers") or ()) - set(before["metadata"].get("finalizers") or ()):
                raise Rejected(f"{key}: no new finalizers can be added while it is being deleted", reason="Invalid")
            if not changed["metadata"].get("finalizers"):
                self._remove(key, changed)
                self.after_write(verb, key)
                return copy.deepcopy(changed)
        return self._store(verb, "MODIFIED", key, changed)

    def _store(self, verb: str, kind: str, key: Key, obj: Obj, *, own: bool = True) -> Obj:
        self._version += 1
        self.writes += 1
        obj["metadata"]["resourceVersion"] = str(self._version)
        self.objects[key] = copy.deepcopy(obj)
        if own:
            self._echo.note(obj)
        self._tell(kind, key, obj)
        self.after_write(verb, key)
        return copy.deepcopy(obj)

    def _remove(self, key: Key, last: Obj | None = None) -> None:
        self._version += 1
        self.writes += 1
        obj = last or self.objects[key]
        del self.objects[key]
        self._tell("DELETED", key, obj)

    def _tell(self, kind: str, key: Key, obj: Obj) -> None:
        for watcher in self.watchers:
            watcher(kind, key.plural, copy.deepcopy(obj))

    def _stamp(self) -> str:
        return self._now().astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def merge(target: Any, patch: Any) -> Any:
    """RFC 7386: null removes, maps merge, everything else replaces. The inputs stay as they are."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    merged = copy.deepcopy(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge(merged.get(name), value)
    return merged


def _has_status(key: Key) -> bool:
    return api_version(key.plural).startswith(_OURS)


def _matches(obj: Obj, labels: Mapping[str, str]) -> bool:
    own = obj["metadata"].get("labels") or {}
    return all(own.get(name) == value for name, value in labels.items())
