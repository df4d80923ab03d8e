"""Storage Replication Adapters: every array with an SRA, through child processes that speak its XML protocol."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from resurgo.adapters.replication.contract import Surroundings
from resurgo.adapters.replication.sra.endpoint import SraEndpoint
from resurgo.adapters.replication.sra.jobs import Jobs
from resurgo.adapters.replication.sra.locate import find_command
from resurgo.adapters.replication.sra.program import Program
from resurgo.adapters.replication.sra.reads import Array
from resurgo.domain.errors import InvalidPlan
from resurgo.domain.ports import ReplicationEndpoint

__all__ = ["Array", "Jobs", "Program", "SraEndpoint", "build_pair", "find_command"]

_LIMIT = 300.0  # seconds; what adapters are written for


def build_pair(spec: Mapping[str, Any], around: Surroundings) -> Mapping[str, ReplicationEndpoint]:
    """Both ends of a pair of type ``sra``. Errors of `find_command` where its adapter can't be run."""
    block = spec.get("sra") or {}
    if not block.get("name"):
        raise InvalidPlan("spec.sra.name is missing")
    program = Program(
        find_command(around.sra_dir, block["name"]),
        state_dir=around.state_dir,
        limit=float(block.get("commandTimeoutSeconds", _LIMIT)),
        on_call=around.on_call,
    )
    jobs = Jobs(around.state_dir)
    first, second = spec["endpoints"]
    arrays = (_array(first, second["id"], around), _array(second, first["id"], around))
    return {array.site: SraEndpoint(array, program, jobs) for array in arrays}


def _array(endpoint: Mapping[str, Any], peer_id: str, around: Surroundings) -> Array:
    return Array(
        site=endpoint["site"],
        id=endpoint["id"],
        peer_id=peer_id,
        addresses=tuple(endpoint.get("addresses", ())),
        parameters=dict(endpoint.get("parameters", {})),
        credentials=around.credentials.get(endpoint["site"], lambda: None),
    )
