"""What an adapter says of itself, asked without touching an array: commands, connection, texts of its codes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from xml.etree import ElementTree as ET

from resurgo.adapters.replication.sra.document import child, children, identifier, text
from resurgo.domain.replication import Capability

QUERIES = ("queryCapabilities", "queryConnectionParameters", "queryErrorDefinitions")

_NEEDS: Mapping[Capability, frozenset[str]] = {
    Capability.SYNC_NOW: frozenset({"syncOnce"}),
    Capability.TEST: frozenset({"testFailoverStart", "testFailoverStop"}),
    Capability.PREPARE: frozenset({"prepareFailover"}),
    Capability.REVERSE: frozenset({"reverseReplication"}),
    Capability.RESTORE: frozenset({"restoreReplication"}),
}


@dataclass(frozen=True, slots=True)
class Facts:
    """One adapter's self-description. ``texts`` are description and hint by code."""

    version: str
    commands: frozenset[str]
    groups: bool
    connection: str
    address_ids: tuple[str, ...]
    opaque_ids: tuple[str, ...]
    texts: Mapping[str, tuple[str, str]]

    @property
    def capabilities(self) -> frozenset[Capability]:
        """In the words of the port. SRAs take the host's initiators: the call itself presents the devices."""
        found = {c for c, needed in _NEEDS.items() if needed <= self.commands} | {Capability.PRESENTS_DEVICES}
        return frozenset(found | ({Capability.CONSISTENCY_GROUPS} if self.groups else set()))

    def explain(self, item: ET.Element) -> tuple[str, str]:
        """Description and hint of an Error or Warning: its own words first, else those its code stands for."""
        code = item.get("code", "")
        known, known_hint = self.texts.get(code, ("", ""))
        said = text(item, "Description") or known
        return f"{said} [code {code}]" if said else f"error code {code}", text(item, "FixHint") or known_hint


def read_version(answer: ET.Element) -> str:
    """The version in an answer to queryInfo."""
    return text(answer, "AdapterInfo", "Version")


def read_facts(version: str, answers: Mapping[str, ET.Element]) -> Facts:
    """Put the answers to QUERIES together."""
    capabilities = child(answers["queryCapabilities"], "AdapterCapabilities")
    connection = child(answers["queryConnectionParameters"], "AdapterConnectionParameters", "Connection")
    errors = answers["queryErrorDefinitions"]
    definitions = [
        *children(errors, "ErrorDefinitions", "ErrorDefinition"),
        *children(errors, "WarningDefinitions", "WarningDefinition"),
    ]
    return Facts(
        version=version,
        commands=frozenset(c.get("name", "") for c in children(capabilities, "Commands", "Command")),
        groups=child(capabilities, "Features", "ConsistencyGroups") is not None,
        connection=identifier(connection, "id"),
        address_ids=tuple(a.get("id", "") for a in children(connection, "Addresses", "Address")),
        opaque_ids=tuple(o.get("id", "") for o in children(connection, "Opaques", "Opaque")),
        texts={d.get("code", ""): (text(d, "Description"), text(d, "FixHint")) for d in definitions},
    )
