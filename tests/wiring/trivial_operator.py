"""The edge with a driver that does next to nothing, as a process, for test_operator.py.

`python trivial_operator.py FOLDER`: KUBECONFIG says where. It writes its story to standard output, one JSON list per
line: ["serving", port], ["watching"], ["look", plural, name, generation, stop], ["left", plural, name], ["ended"].
The driver holds `resurgo.dev/settled` while its object lives, and while FOLDER/hold exists it does not let a deleted
object go.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path

from resurgo import log
from resurgo.adapters.kube.client import KubeClient
from resurgo.adapters.kube.login import Login
from resurgo.domain.errors import Conflict, Missing
from resurgo.domain.ports import Key, Obj
from resurgo.domain.states import TERMINAL
from resurgo.edge.handlers import KINDS, SETTLED, Services, run_kopf
from resurgo.edge.probes import LoopLag, Probes
from resurgo.edge.settings import FINALIZER
from resurgo.engine.bell import Bell, Stop
from resurgo.metrics import Metrics


def say(*words: object) -> None:
    print(json.dumps([round(time.time(), 3), *words]), flush=True)


class TrivialDriver:
    def __init__(self, client: KubeClient, folder: Path) -> None:
        self._client, self._folder = client, folder

    async def drive(self, key: Key, uid: str, bell: Bell) -> None:
        del uid
        while bell.stop is not Stop.NOW:
            try:
                if await self._look(key, bell):
                    break
            except Missing:
                break
            except Conflict:
                continue
            await bell.rest(1.0 if bell.stop is Stop.SAFE_POINT else 60.0)
        say("left", key.plural, key.name)

    async def _look(self, key: Key, bell: Bell) -> bool:
        obj = await self._client.get(key)
        say("look", key.plural, key.name, obj["metadata"]["generation"], bell.stop.name)
        if (obj.get("status") or {}).get("phase") in TERMINAL:
            retries = (obj["spec"].get("retry") or 0) > (obj["status"].get("handledRetry") or 0)
            if not retries:
                await self._settle(key, obj, held=False)
                return True
        if bell.stop is Stop.SAFE_POINT:
            if (self._folder / "hold").exists():
                return False
            await self._settle(key, obj, held=False)
            return True
        if FINALIZER not in (obj["metadata"].get("finalizers") or ()):
            return False  # no effect before kopf's hold is seen; its write rings
        await self._settle(key, obj, held=True)
        if key.plural == "recoveryruns":
            await self._client.patch_status(
                key, {"phase": "Running", "observedGeneration": obj["metadata"]["generation"]}
            )
        return False

    async def _settle(self, key: Key, obj: Obj, *, held: bool) -> None:
        now = obj["metadata"].get("finalizers") or []
        wanted = [name for name in now if name != SETTLED] + ([SETTLED] if held else [])
        if sorted(wanted) != sorted(now):
            version = obj["metadata"]["resourceVersion"]
            await self._client.patch(key, {"metadata": {"finalizers": wanted, "resourceVersion": version}})


async def main(folder: Path) -> None:
    log.configure(style="text")
    client = await KubeClient.connect(Login.find())
    driver = TrivialDriver(client, folder)
    services = Services(drivers=dict.fromkeys(KINDS, driver), is_own_write=client.is_own_write)
    lag = LoopLag()
    watching = asyncio.Event()
    helpers = [asyncio.create_task(lag.watch()), asyncio.create_task(_tell(watching))]
    probes = Probes(Metrics(), live={"loop": lag.check})
    services.closing.append(probes.disconnect)
    async with probes.serving("127.0.0.1", 0) as port:
        say("serving", port)
        await run_kopf(services, stop=asyncio.Event(), ready=watching)
    for helper in helpers:
        helper.cancel()
    await client.aclose()
    say("ended", len(services.bells))


async def _tell(watching: asyncio.Event) -> None:
    await watching.wait()
    say("watching")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
