"""A small client for the API tests: one object of one kind, tried on the real API server."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kubernetes.client import ApiClient

from resurgo.api import KINDS, Resource
from resurgo.api.base import API_VERSION, Scope
from resurgo.api.rules.samples import SPECS

Json = dict[str, Any]
BY_KIND: Mapping[str, type[Resource]] = {kind.KIND: kind for kind in KINDS}
_numbers = itertools.count(1)


def merged(base: Any, patch: Any) -> Any:
    """Apply a JSON merge patch (RFC 7386)."""
    if not isinstance(patch, Mapping):
        return patch
    out = dict(base) if isinstance(base, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            out.pop(key, None)
        else:
            out[key] = merged(out.get(key), value)
    return out


class RefusedError(Exception):
    """The API server's answer to something it does not accept."""

    def __init__(self, code: int, answer: Json) -> None:
        self.code = code
        self.causes: list[Json] = (answer.get("details") or {}).get("causes", [])
        super().__init__(answer["message"])


@dataclass
class Server:
    """Creates, changes and reads objects, strictly: an unknown field is refused, not dropped."""

    client: ApiClient
    namespace: str
    made: list[tuple[str, str]] = field(default_factory=list)

    def manifest(self, kind: str, spec: Mapping[str, Any] | None = None, name: str | None = None) -> Json:
        """The smallest valid object of *kind*, its spec merged with *spec*."""
        metadata = {"name": name or f"x-{next(_numbers)}"}
        return {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": merged(SPECS[kind], spec or {})}

    def create(self, manifest: Json, *, dry_run: bool = False) -> Json:
        created = self._call(manifest["kind"], "POST", "", manifest, dry_run=dry_run)
        if not dry_run:
            self.made.append((manifest["kind"], created["metadata"]["name"]))
        return created

    def change(self, kind: str, name: str, patch: Json, *, subresource: str = "", dry_run: bool = False) -> Json:
        return self._call(kind, "PATCH", f"/{name}{subresource}", patch, dry_run=dry_run)

    def write_status(self, kind: str, name: str, status: Mapping[str, Any]) -> Json:
        return self.change(kind, name, {"status": status}, subresource="/status")

    def get(self, kind: str, name: str) -> Json:
        return self._call(kind, "GET", f"/{name}", None)

    def clear(self) -> None:
        """Delete all that was made."""
        for kind, name in self.made:
            self._call(kind, "DELETE", f"/{name}", None)
        self.made.clear()

    def apply_status(self, kind: str, name: str, status: Mapping[str, Any], manager: str) -> Json:
        """Server-side apply of *status* by the field manager *manager*."""
        body = {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "status": status}
        query = [("fieldManager", manager)]
        return self._send("PATCH", f"{self._path(kind)}/{name}/status", body, "application/apply-patch+yaml", query)

    def _call(self, kind: str, method: str, path: str, body: Json | None, *, dry_run: bool = False) -> Json:
        query = [("fieldValidation", "Strict")] if body is not None else []
        if dry_run:
            query.append(("dryRun", "All"))
        content = "application/merge-patch+json" if method == "PATCH" else "application/json"
        return self._send(method, self._path(kind) + path, body, content, query)

    def _path(self, kind: str) -> str:
        model = BY_KIND[kind]
        where = "" if model.SCOPE is Scope.CLUSTER else f"/namespaces/{self.namespace}"
        return f"/apis/{API_VERSION}{where}/{model.PLURAL}"

    def _send(self, method: str, path: str, body: Json | None, content: str, query: list[tuple[str, str]]) -> Json:
        headers = {"Content-Type": content, "Accept": "application/json"}
        request = self.client.param_serialize(
            method, path, query_params=query, header_params=headers, body=body, auth_settings=["BearerToken"]
        )
        answer = self.client.call_api(*request, _request_timeout=30)
        said = json.loads(answer.read())  # type: ignore[no-untyped-call]
        if answer.status >= 400:
            raise RefusedError(answer.status, said)
        assert isinstance(said, dict)
        return said
