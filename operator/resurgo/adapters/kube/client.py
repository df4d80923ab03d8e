"""The Kube port on a real API server. Contract: resurgo.domain.ports.Kube; proven by tests/contract/test_kube.py."""

from __future__ import annotations

import logging
import socket
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from resurgo.adapters.kube.calls import EXPIRED, MERGE_PATCH, Calls, HttpCalls
from resurgo.adapters.kube.echo import Echo
from resurgo.adapters.kube.events import build_event, event_path
from resurgo.adapters.kube.login import Login
from resurgo.adapters.kube.resources import api_version, collection_path, object_path, resource
from resurgo.domain.errors import DrError, Missing, Rejected
from resurgo.domain.ports import Key, Obj

log = logging.getLogger(__name__)

FIELD_MANAGER = "resurgo"
_PAGE = "500"
_EVENT_SECONDS = 5.0  # an event is not worth a longer wait


class KubeClient:
    """`Kube` for one process. One connection pool; use it from one event loop."""

    def __init__(self, calls: Calls, *, namespace: str = "default", instance: str = "") -> None:
        """*namespace* is what commands mean when none is given; *instance* names this process in events."""
        self.calls = calls
        self.namespace = namespace
        self._instance = instance or socket.gethostname()
        self._echo = Echo()

    @classmethod
    async def connect(cls, login: Login, *, instance: str = "", seconds: float = 30.0) -> KubeClient:
        """A client that speaks as *login*. Nothing is sent yet. NotAllowed if there are no usable credentials."""
        calls = await HttpCalls.connect(login, seconds=seconds)
        return cls(calls, namespace=login.namespace, instance=instance)

    async def aclose(self) -> None:
        """Close the connections."""
        if isinstance(self.calls, HttpCalls):
            await self.calls.aclose()

    def is_own_write(self, uid: str, resource_version: str) -> bool:
        """Whether this version of that object came from a write of this client: its event is an echo."""
        return self._echo.is_own(uid, resource_version)

    async def get(self, key: Key) -> Obj:
        return await self.calls.request("GET", object_path(key))

    async def list(
        self, plural: str, *, namespace: str | None = None, labels: Mapping[str, str] | None = None
    ) -> list[Obj]:
        query = {"limit": _PAGE}
        if labels:
            query["labelSelector"] = ",".join(f"{name}={value}" for name, value in sorted(labels.items()))
        try:
            found = await _pages(self.calls, collection_path(plural, namespace), query)
        except Rejected as refused:
            if refused.reason != EXPIRED:  # the pages were older than the API server keeps them: all in one
                raise
            found = await _pages(self.calls, collection_path(plural, namespace), query | {"limit": "0"})
        kind = {"apiVersion": api_version(plural), "kind": resource(plural).kind}
        return [kind | item for item in found]  # items of built-in kinds do not name their kind themselves

    async def create(self, plural: str, obj: Obj) -> Obj:
        path = collection_path(plural, (obj.get("metadata") or {}).get("namespace"))
        kind = {"apiVersion": api_version(plural), "kind": resource(plural).kind}
        return self._wrote(await self.calls.request("POST", path, query=_manager(), body=kind | obj))

    async def patch(self, key: Key, patch: Obj) -> Obj:
        return self._wrote(await self._patch(object_path(key), patch))

    async def patch_status(self, key: Key, status: Obj, *, resource_version: str | None = None) -> Obj:
        patch: Obj = {"status": status}
        if resource_version is not None:
            patch["metadata"] = {"resourceVersion": resource_version}
        return self._wrote(await self._patch(object_path(key, "status"), patch))

    async def delete(self, key: Key) -> None:
        try:
            await self.calls.request("DELETE", object_path(key), body={"propagationPolicy": "Background"})
        except Missing:
            return

    async def event(
        self, about: Obj, *, type_: str, reason: str, action: str, note: str, related: Obj | None = None
    ) -> None:
        event = build_event(
            about,
            type_=type_,
            reason=reason,
            action=action,
            note=note,
            related=related,
            instance=self._instance,
            now=datetime.now(UTC),
        )
        try:
            await self.calls.request("POST", event_path(about), body=event, seconds=_EVENT_SECONDS)
        except DrError as exc:
            log.warning("event.not_posted", extra={"reason": reason, "error": str(exc)})

    async def _patch(self, path: str, patch: Obj) -> Obj:
        return await self.calls.request("PATCH", path, query=_manager(), body=patch, content_type=MERGE_PATCH)

    def _wrote(self, answer: Obj) -> Obj:
        self._echo.note(answer)
        return answer


async def _pages(calls: Calls, path: str, query: Mapping[str, str]) -> list[Obj]:
    items: list[Obj] = []
    more = ""
    while True:
        answer = await calls.request("GET", path, query={**query, "continue": more} if more else query)
        items.extend(answer.get("items") or ())
        more = (answer.get("metadata") or {}).get("continue") or ""
        if not more:
            return items


def _manager() -> dict[str, str]:
    return {"fieldManager": FIELD_MANAGER}


async def load(kubeconfig: Path | None = None, context: str | None = None, *, seconds: float = 30.0) -> KubeClient:
    """A client for a command line: the named kubeconfig and context, else what kubectl would use."""
    return await KubeClient.connect(Login.find(kubeconfig, context), seconds=seconds)
