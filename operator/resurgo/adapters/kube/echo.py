"""Which versions of objects we wrote ourselves, so that the watch event of our own write wakes nobody."""

from __future__ import annotations

from collections import OrderedDict

from resurgo.domain.ports import Obj


class Echo:
    """Remembers the newest writes; what falls out of memory costs one needless look at an object, nothing else."""

    def __init__(self, limit: int = 10_000) -> None:
        self._limit = limit
        self._written: OrderedDict[tuple[str, str], None] = OrderedDict()

    def note(self, obj: Obj) -> None:
        """Remember *obj*, as the API server answered a write with it."""
        metadata = obj.get("metadata") or {}
        self._written[metadata.get("uid", ""), metadata.get("resourceVersion", "")] = None
        while len(self._written) > self._limit:
            self._written.popitem(last=False)

    def is_own(self, uid: str, version: str) -> bool:
        """Whether this very version came from a write of this process."""
        return (uid, version) in self._written
