"""A process that competes for a Lease and tells what happens to it, one line each, for test_lease.py.

`python lease_holder.py KUBECONFIG NAMESPACE NAME DURATION RENEW STOP_SECONDS`: SIGTERM ends its work, which then needs
STOP_SECONDS to stop. Lines: `waiting`, `leading`, `turn <valid>` for each turn of its work, `stopping`, `stopped`,
`released`, `lost`. Exit code 1 after `lost`, as the operator's.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from pathlib import Path

from resurgo.adapters.kube.client import load
from resurgo.adapters.kube.lease import Lease
from resurgo.domain.errors import LeaseLost


def say(line: str) -> None:
    print(line, flush=True)


async def main(kubeconfig: str, namespace: str, name: str, duration: str, renew: str, stop_seconds: str) -> None:
    client = await load(Path(kubeconfig))
    lease = Lease(
        client.calls, namespace=namespace, name=name, identity="test", duration=float(duration), renew=float(renew)
    )
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)

    async def lead() -> None:
        say("leading")
        while not stop.is_set():
            say(f"turn {lease.valid}")
            await asyncio.sleep(0.1)
        say("stopping")
        await asyncio.sleep(float(stop_seconds))
        say(f"stopped {lease.valid}")

    say("waiting")
    try:
        await lease.run(lead, stop=stop)
    except LeaseLost:
        say("lost")
        os._exit(1)
    say("released")
    await client.aclose()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    asyncio.run(main(*sys.argv[1:]))
