"""Reconciles a ReplicationPair: reads both ends every pollSeconds and keeps what they say for everybody else.

The ends are read independently: one that hangs delays neither the reading of the other nor its publication.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable
from typing import Any

from resurgo.api import ReplicationPair
from resurgo.domain.errors import DrError, NotAllowed, Unreachable
from resurgo.domain.ports import Key
from resurgo.domain.replication import GroupStatus, Role
from resurgo.engine.context import Context, EndView, PairView, stamp
from resurgo.engine.loop import Pass

_PATIENCE = 15.0  # seconds a reconciliation waits for an end; a slower answer is taken when it comes


class PairReconciler:
    ready = "Ready"

    def __init__(self, context: Context) -> None:
        self._context = context
        self._made_from: dict[str, str] = {}
        self._reading: dict[tuple[str, str], asyncio.Task[None]] = {}

    async def reconcile(self, work: Pass) -> None:
        """Status of both ends, groups, conditions Reachable, CredentialsValid, Ready."""
        pair = ReplicationPair.model_validate(work.obj)
        name = pair.metadata.name
        view = await self._view(pair, work.obj["spec"])
        tasks = [self._read(name, site, end) for site, end in view.ends.items()]
        await asyncio.wait(tasks, timeout=_PATIENCE)
        for (site, end), task in zip(view.ends.items(), tasks, strict=True):
            if not task.done():
                end.problem, end.reason = f"no answer for {_PATIENCE:.0f} s, still waiting", "NoAnswer"
            self._context.metrics.pair(name, site, reachable=not end.problem)
        self._describe(view, work)
        work.after = float(pair.spec.poll_seconds)

    async def forget(self, key: Key) -> None:
        view = self._context.pairs.pop(key.name, None)
        self._made_from.pop(key.name, None)
        self._context.metrics.drop_pair(key.name)
        if view is not None:
            await self._close(key.name, view)

    async def _close(self, name: str, view: PairView) -> None:
        for site, end in view.ends.items():
            if task := self._reading.pop((name, site), None):
                task.cancel()
            await end.endpoint.aclose()

    async def _view(self, pair: ReplicationPair, spec: dict[str, Any]) -> PairView:
        name = pair.metadata.name
        credentials: dict[str, Callable[[], tuple[str, str] | None]] = {}
        secrets: list[tuple[str, str] | None] = []
        for endpoint in pair.spec.endpoints:
            secret = None
            if (reference := endpoint.credentials_secret_ref) is not None:
                entries = await self._context.secret(reference.namespace, reference.name)
                secret = (entries.get("username", ""), entries.get("password", ""))
            secrets.append(secret)
            credentials[endpoint.site] = lambda secret=secret: secret  # type: ignore[misc]
        digest = hashlib.sha256(f"{json.dumps(spec, sort_keys=True)}{secrets!r}".encode()).hexdigest()
        view = self._context.pairs.get(name)
        if view is None or self._made_from.get(name) != digest:
            if view is not None:
                await self._close(name, view)
            ends = self._context.make_pair(name, spec, credentials)
            view = PairView({site: EndView(endpoint) for site, endpoint in ends.items()})
            self._context.pairs[name] = view
            self._made_from[name] = digest
        return view

    def _read(self, name: str, site: str, end: EndView) -> asyncio.Task[None]:
        task = self._reading.get((name, site))
        if task is None or task.done():
            task = asyncio.create_task(read_end(self._context, end))
            task.add_done_callback(lambda _: self._tell())
            self._reading[name, site] = task
        return task

    def _tell(self) -> None:
        """Something was read: groups judge it, and runs that wait for the world to be known look again."""
        self._context.ring_kind("protectiongroups")
        self._context.ring_kind("recoveryruns")

    def _describe(self, view: PairView, work: Pass) -> None:
        now = self._context.clock.now()
        ends = list(view.ends.items())
        work.status |= {
            "observedTime": stamp(now),
            "capabilities": sorted({str(c) for _, end in ends for c in end.capabilities}),
            "endpoints": [{"site": s, "reachable": not e.problem, "message": e.problem[:1000]} for s, e in ends],
            "groups": _groups(view),
        }
        conditions = work.conditions
        bad = [(site, end) for site, end in ends if end.problem]
        refused = [(site, end) for site, end in bad if end.reason in {"AuthFailed", "NotAllowed", "InvalidCredentials"}]
        if refused:
            conditions.put("CredentialsValid", False, refused[0][1].reason, _problems(refused))
        elif bad:
            conditions.keep("CredentialsValid")
        else:
            conditions.put("CredentialsValid", True, "LoggedIn")
        conditions.put("Reachable", not bad, bad[0][1].reason if bad else "Answered", _problems(bad))
        conditions.put("Ready", not bad, bad[0][1].reason if bad else "Answered", _problems(bad))


async def read_end(context: Context, end: EndView) -> None:
    """Read one end into its view. An error becomes its problem; the last good reading is kept."""
    try:
        if not end.capabilities:
            end.capabilities = await end.endpoint.capabilities()
        groups = await end.endpoint.discover()
    except DrError as error:
        refused = isinstance(error, NotAllowed)
        end.problem = str(error)
        end.reason = error.reason if refused or not isinstance(error, Unreachable) else "Unreachable"
        return
    end.groups = {g.ref.id: g for g in groups}
    end.read, end.problem, end.reason = context.clock.now(), "", ""


def _problems(ends: list[tuple[str, EndView]]) -> str:
    return "; ".join(f"{site}: {end.problem}" for site, end in ends)


def _groups(view: PairView) -> list[dict[str, Any]]:
    """One entry per group, told by its writable end."""
    found: dict[str, list[tuple[str, GroupStatus]]] = {}
    for site, end in view.ends.items():
        for group in end.groups.values():
            found.setdefault(group.ref.id, []).append((site, group))
    entries = []
    for name in sorted(found)[:1000]:
        ends = found[name]
        writable = [(s, g) for s, g in ends if g.role in {Role.SOURCE, Role.FAILED_OVER}]
        site, group = (writable or ends)[0]
        points = [g.recovery_point for _, g in ends if g.recovery_point is not None]
        entry = {
            "id": name,
            "sourceSite": site if writable else None,
            "role": str(group.role),
            "link": str(group.link),
            "healthy": all(g.healthy for _, g in ends),
            "recoveryPointTime": stamp(max(points)) if points else None,
            "test": any(g.test is not None for _, g in ends),
            "devices": len(group.devices),
            "message": "; ".join(g.message for _, g in ends if g.message)[:256],
        }
        entries.append({k: v for k, v in entry.items() if v is not None})
    return entries
