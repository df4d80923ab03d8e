"""A process that starts a sync through the SRA adapter, says which handle it got, and is gone."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

from tests.conformance.rigs.sra_dirarray import Dirarrays, endpoints


async def main(folder: str, site: str, group: str) -> None:
    arrays = Dirarrays.__new__(Dirarrays)  # they are there already
    arrays.folder, arrays.sra_dir = Path(folder), Path(folder) / "sra"
    endpoint = endpoints(arrays, answer_within=0.7)[site]
    ref = next(s.ref for s in await endpoint.discover() if s.ref.id == group)
    op = await endpoint.sync(ref, op_id="dying")
    print(op.handle, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)


asyncio.run(main(*sys.argv[1:]))
