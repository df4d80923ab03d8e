"""One array driven by its adapter's commands alone: one process per command, nothing is read before or after."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from xml.etree import ElementTree as ET

from tests.lab.arrays import SRA_NAME, array_dir, credentials, sra_dir
from tests.lab.design import SiteDesign

from resurgo.adapters.replication.sra.document import Login, child, make, read_answer, request


class PlainArray:
    """The array at one site of the lab in folder *lab*."""

    def __init__(self, lab: Path, site: SiteDesign, peer: SiteDesign) -> None:
        account = credentials(lab, site)
        self._command = sra_dir(lab) / SRA_NAME / "command"
        self._id, self._peer_id = site.array_id, peer.array_id
        self._login = Login(
            site.array_id,
            (("address-1", site.nfs_server),),
            {"dirarray.root": str(array_dir(lab, site)), "dirarray.peer": str(array_dir(lab, peer))},
            (account["username"], account["password"]),
        )

    async def sync(self, group: str) -> None:
        await self._run("syncOnce", make("PeerArrayId", text=self._peer_id), _source(group))

    async def prepare_failover(self, group: str) -> None:
        await self._run("prepareFailover", _source(group))

    async def failover(self, group: str) -> None:
        item = make("TargetGroup", key=f"pair.{group}", isolationRequired="false")
        await self._run("failover", make("TargetGroups", item))

    async def _run(self, name: str, *parameters: ET.Element) -> None:
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "log").mkdir()
            document = request(name, Path(folder), self._login, (make("ArrayId", text=self._id), *parameters))
            process = await asyncio.create_subprocess_exec(
                self._command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL
            )
            await process.communicate(document)
            answer = read_answer(Path(folder) / "output")
            failed = child(answer, "Error") is not None or any(e.tag.endswith("}Error") for e in answer.iter())
            if process.returncode or failed:
                raise RuntimeError(f"{name}: {ET.tostring(answer, encoding='unicode')}")


def _source(group: str) -> ET.Element:
    return make("ConsistencyGroups", make("ConsistencyGroup", id=group))
