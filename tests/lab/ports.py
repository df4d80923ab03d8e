"""Free TCP ports on 127.0.0.1 for programs that cannot choose one themselves."""

from __future__ import annotations

import random
import socket

# Below the range the kernel hands out to outgoing connections (32768 and up): a port chosen here is not taken by a
# connection between the choice and the listen, nor while a program is down and about to be started again on it.
_FIRST, _LAST = 15_000, 32_000
_given: set[int] = set()


def free_port() -> int:
    """Return a port nobody listens on now and that this process has not given out before."""
    while True:
        port = random.randint(_FIRST, _LAST)  # noqa: S311 - spread, not secrecy
        if port in _given:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        _given.add(port)
        return port
