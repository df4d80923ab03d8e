"""What is remembered of a protection group, so that it can be recovered when its site can no longer be asked.

The record is refreshed while the active site answers and stored beside the group in an unwatched object.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from resurgo.domain.inventory import DatastorePath, NfsExport


@dataclass(frozen=True, slots=True)
class MemberNic:
    key: int
    mac: str
    network: str
    addresses: tuple[str, ...] = ()  # last seen, with prefix length


@dataclass(frozen=True, slots=True)
class Member:
    instance_uuid: str
    name: str
    folder: str
    pool: str
    host: str
    vmx: DatastorePath
    powered_on: bool
    tools_running: bool
    memory_mb: int
    guest_id: str
    nics: tuple[MemberNic, ...]
    outside: tuple[str, ...]  # files or datastores of it that the group does not protect

    @property
    def path(self) -> str:
        return f"{self.folder}/{self.name.replace('/', '%2f')}"


@dataclass(frozen=True, slots=True)
class MemberDatastore:
    name: str
    export: NfsExport
    hosts: tuple[str, ...]  # ids of the hosts that mount it
    consistency_group: str
    device: str  # pair key


@dataclass(frozen=True, slots=True)
class GroupRecord:
    site: str
    observed: datetime
    members: tuple[Member, ...]
    datastores: tuple[MemberDatastore, ...]
    strangers: tuple[str, ...] = ()  # paths of VMs and templates that use the datastores without being members

    uncovered: tuple[str, ...] = ()  # what the consistency groups hold that is not the group's

    def same_as(self, other: GroupRecord | None) -> bool:
        """Equal but for the time of reading."""
        return other is not None and replace(self, observed=other.observed) == other

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "observed": self.observed.isoformat()}

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> GroupRecord:
        """Rebuild what `to_json` wrote. KeyError, TypeError or ValueError for anything else."""
        return cls(
            site=raw["site"],
            observed=datetime.fromisoformat(raw["observed"]),
            members=tuple(_member(m) for m in raw["members"]),
            datastores=tuple(
                MemberDatastore(**{**d, "export": NfsExport(**d["export"]), "hosts": tuple(d["hosts"])})
                for d in raw["datastores"]
            ),
            strangers=tuple(raw.get("strangers", ())),
            uncovered=tuple(raw.get("uncovered", ())),
        )


def _member(raw: Mapping[str, Any]) -> Member:
    nics = tuple(MemberNic(**{**n, "addresses": tuple(n["addresses"])}) for n in raw["nics"])
    return Member(**{**raw, "vmx": DatastorePath(**raw["vmx"]), "nics": nics, "outside": tuple(raw["outside"])})
