"""Writes the journal: group commit, guarded by resourceVersion, so that a stale leader fails before it can act.

One ConfigMap per protection group holds the records of its items; a commit patches only the entries that changed, in
one request per object. After a write whose answer was lost the object is read: it holds what was there before, or what
was to be written, or another process has taken over.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable

from resurgo.domain.errors import Conflict, LeaseLost, Missing, OutcomeUnknown, Retryable
from resurgo.domain.journal import Journal
from resurgo.domain.ports import Key, Kube, Obj
from resurgo.domain.snapshot import Snapshot

log = logging.getLogger(__name__)
_BACKOFF_MOST = 5.0


class JournalStore:
    """The journal objects of one run. One writer: the run's own loop."""

    def __init__(self, kube: Kube, run: Obj, snapshot: Snapshot) -> None:
        self._kube, self._run, self._snapshot = kube, run, snapshot
        self._versions: dict[int, str] = {}
        self._stored: dict[int, dict[str, str]] = {}
        self._shards = snapshot.shards()

    def _key(self, shard: int) -> Key:
        meta = self._run["metadata"]
        return Key("configmaps", meta["namespace"], f"{meta['name']}.journal-{shard}.resurgo.dev")

    async def open(self) -> Journal:
        """Read what is there, make what is missing. ValueError for a damaged journal."""
        merged: dict[str, str] = {}
        for shard in range(max(self._shards.values(), default=0) + 1):
            merged |= await self._open(shard)
        return Journal.load(merged)

    async def _open(self, shard: int) -> dict[str, str]:
        key = self._key(shard)
        try:
            obj = await self._kube.get(key)
        except Missing:
            meta = self._run["metadata"]
            owner = {
                "apiVersion": self._run["apiVersion"],
                "kind": self._run["kind"],
                "name": meta["name"],
                "uid": meta["uid"],
            }
            head = {"name": key.name, "namespace": key.namespace, "ownerReferences": [owner]}
            try:
                obj = await self._kube.create("configmaps", {"metadata": head, "data": {}})
            except (Conflict, OutcomeUnknown):
                obj = await self._kube.get(key)
        return self._adopt(shard, obj)

    def _adopt(self, shard: int, obj: Obj) -> dict[str, str]:
        self._versions[shard] = obj["metadata"]["resourceVersion"]
        self._stored[shard] = dict(obj.get("data") or {})
        return self._stored[shard]

    async def commit(self, journal: Journal, items: Iterable[str]) -> None:
        """Put the records of *items* on disk and return when they are there, however long the API server is away.

        LeaseLost when another process has written this journal.
        """
        by_shard: dict[int, dict[str, str]] = {}
        for item in items:
            by_shard.setdefault(self._shards.get(item, 0), {})[item] = journal.item_json(item)
        await asyncio.gather(*(self._write(shard, entries) for shard, entries in by_shard.items()))

    async def _write(self, shard: int, entries: dict[str, str]) -> None:
        wait = 0.1
        while True:
            body = {"metadata": {"resourceVersion": self._versions[shard]}, "data": entries}
            try:
                obj = await self._kube.patch(self._key(shard), body)
            except Missing as error:
                raise LeaseLost(f"the journal of run {self._run['metadata']['name']} is gone") from error
            except (Retryable, OutcomeUnknown) as error:
                log.warning("journal.write_failed", extra={"run": self._run["metadata"]["name"], "error": str(error)})
                if await self._settled(shard, entries):
                    return
                await asyncio.sleep(wait)
                wait = min(_BACKOFF_MOST, wait * 2)
            else:
                self._adopt(shard, obj)
                return

    async def _settled(self, shard: int, entries: dict[str, str]) -> bool:
        """Look what became of a write. True: it is there. False: write again."""
        try:
            obj = await self._kube.get(self._key(shard))
        except (Retryable, OutcomeUnknown):
            return False
        before, found = self._stored[shard], dict(obj.get("data") or {})
        wanted = {**before, **entries}
        if found not in (before, wanted):
            raise LeaseLost(f"another process writes the journal of run {self._run['metadata']['name']}")
        self._adopt(shard, obj)
        return found == wanted
