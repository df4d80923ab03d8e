"""The fake of tests/fakes, so that tests which stand on it stand on something proven."""

from __future__ import annotations

from pathlib import Path

from tests.fakes.replication import FakeReplication

from resurgo.domain.ports import ReplicationEndpoint
from resurgo.domain.replication import DeviceIdentity, GroupRef


class FakeRig:
    """A `Rig` in memory."""

    source, target = "berlin", "leipzig"
    groups = ("cg-erp", "cg-web")

    def __init__(self) -> None:
        self.pair = FakeReplication({g: (f"ds-{g}-01", f"ds-{g}-02") for g in self.groups})

    def endpoint(self, site: str) -> ReplicationEndpoint:
        return self.pair[site]

    def _files(self, identity: DeviceIdentity) -> dict[str, bytes]:
        end = next(e for e in self.pair.ends.values() if e.server == identity.server)
        if (files := end.files(identity.value)) is None:
            raise PermissionError(identity.value)
        return files

    async def write(self, identity: DeviceIdentity, name: str, content: bytes) -> None:
        self._files(identity)[name] = content

    async def read(self, identity: DeviceIdentity, name: str) -> bytes | None:
        return self._files(identity).get(name)

    def cut(self, site: str) -> None:
        self.pair[site].reachable = False

    def heal(self, site: str) -> None:
        self.pair[site].reachable = True

    def slow(self, site: str, operation: str) -> None:
        self.pair[site].hold.add(operation)

    async def hurry(self) -> None:
        for end in self.pair.ends.values():
            end.hold.clear()
        self.pair.release()

    def refuse(self, site: str, operation: str, group: str) -> None:
        self.pair[site].refuse[operation, group] += 1

    def lose_answer(self, site: str, operation: str) -> None:
        self.pair[site].lose_answer[operation] += 1

    async def begin_and_die(self, site: str, group: str) -> str:
        self.slow(site, "sync")
        op = await self.pair[site].sync(GroupRef(group, f"pair.{group}"), op_id="dying")
        return op.handle

    async def aclose(self) -> None:
        """Nothing to end."""


async def make(_: Path) -> FakeRig:
    return FakeRig()
