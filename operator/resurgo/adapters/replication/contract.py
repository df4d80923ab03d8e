"""The registry: from a ReplicationPair's spec to its two endpoints, by adapter type.

An adapter is a package of this folder with a function `build_pair` of the shape of `Builder`. What it has to promise is
written at `resurgo.domain.ports.ReplicationEndpoint`, and proven by running tests/conformance against it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

from resurgo.domain.errors import InvalidPlan, NotSupported
from resurgo.domain.ports import ReplicationEndpoint

Credentials = Callable[[], tuple[str, str] | None]  # user name and password, read anew for each login
OnCall = Callable[[str, str, str, float], None]  # "sra:<site>", command, "ok" or a reason, seconds

# What users may write, and the package that serves it: those without one are known to the API but not built yet.
_PACKAGES: Mapping[str, str | None] = {
    "sra": "resurgo.adapters.replication.sra",
    "zfs": None,
    "rbdMirror": None,
    "snapMirror": None,
    "vvolsSms": None,
    "grpc": None,
}


def ignore_call(_backend: str, _command: str, _outcome: str, _seconds: float) -> None:
    """An `OnCall` for those who don't count."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What an adapter gets from the operator.

    ``sra_dir`` holds the executables that may be run. ``state_dir`` is the pair's own folder for what
    concerns running commands; it is made if absent. ``credentials`` are by site.
    """

    sra_dir: Path
    state_dir: Path
    credentials: Mapping[str, Credentials]
    on_call: OnCall = ignore_call


class Builder(Protocol):
    """Builds both ends of a pair, by site. Talks to nobody. InvalidPlan for settings that can't work."""

    def __call__(self, spec: Mapping[str, Any], around: Surroundings) -> Mapping[str, ReplicationEndpoint]: ...


def build_pair(spec: Mapping[str, Any], around: Surroundings) -> Mapping[str, ReplicationEndpoint]:
    """The endpoints of a ReplicationPair by site, from its spec as JSON.

    NotSupported for an adapter type that this build does not have; InvalidPlan for a spec that can't work.
    """
    kind = spec.get("adapter", {}).get("type", "")
    if kind not in _PACKAGES:
        raise NotSupported(f"adapter type {kind!r} is not known", hint=f"known: {', '.join(sorted(_PACKAGES))}")
    package = _PACKAGES[kind]
    if package is None:
        built = ", ".join(sorted(k for k, v in _PACKAGES.items() if v))
        raise NotSupported(f"adapter type {kind} is not part of this version", hint=f"available: {built}")
    if len({e.get("site") for e in spec.get("endpoints", ())}) != 2:
        raise InvalidPlan("a pair needs exactly two endpoints of two different Sites")
    builder = cast("Builder", importlib.import_module(package).build_pair)
    return builder(spec, around)
