"""Reading an array through its SRA: what is there, how to log in, and what a refusal means."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from xml.etree import ElementTree as ET

from resurgo.adapters.replication.contract import Credentials
from resurgo.adapters.replication.sra.discovery import Found, read_groups
from resurgo.adapters.replication.sra.document import Login, make
from resurgo.adapters.replication.sra.facts import Facts
from resurgo.adapters.replication.sra.program import Program, secrets_of
from resurgo.adapters.replication.sra.redact import redact
from resurgo.adapters.replication.sra.shared import Shared
from resurgo.domain.errors import DrError, InvalidPlan, Missing, NotAllowed, Retryable, Unreachable

_LOGIN = re.compile(r"password|credential|log.?in|authenti|authori[sz]|user.?name|permission", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Array:
    """Where an endpoint's array is and how to log in: ids, addresses and parameters as users wrote them."""

    site: str
    id: str
    peer_id: str
    addresses: Sequence[str]
    parameters: Mapping[str, str]
    credentials: Credentials


class Reads:
    """One array as its SRA shows it now."""

    def __init__(self, array: Array, program: Program) -> None:
        self.array = array
        self._program = program
        self._reading = Shared(self._read)

    async def groups(self) -> tuple[Found, ...]:
        """Every group, not read before this call. Unreachable, NotAllowed, InvalidPlan: a bad connection."""
        return await self._reading.get()

    async def _read(self) -> tuple[Found, ...]:
        facts = await self._program.offered("discoverDevices")
        login = self.login(facts)
        ids = make("ArrayId", text=self.array.id), make("PeerArrayId", text=self.array.peer_id)
        reply = await self._program.read(self.array.site, "discoverDevices", login, ids)
        if reply.answer is None:
            raise Unreachable(f"array {self.array.id} at {self.array.site}: SRA {self._program.name}: {reply.trouble}")
        if reply.failed is not None:
            raise self.refused(facts, reply.failed, login, Unreachable)
        return read_groups(reply.answer, facts)

    async def find(self, pair_key: str, id_: str = "") -> Found:
        """One group by its pair key, or by its id where that is empty. Missing if there is none."""
        groups = await self._reading.get()
        for found in groups:
            ref = found.status.ref
            if ref.pair_key == pair_key or (not pair_key and ref.id == id_):
                return found
        names = ", ".join([f.status.ref.id for f in groups][:10]) or "none"
        raise Missing(
            f"array {self.array.id} at {self.array.site} has no group {id_ or pair_key}", hint=f"it has: {names}"
        )

    def login(self, facts: Facts) -> Login:
        """The connection as the adapter asks for it. InvalidPlan for settings that it does not know."""
        array = self.array
        if len(array.addresses) > len(facts.address_ids):
            takes = f"it takes {len(facts.address_ids)}: {', '.join(facts.address_ids)}"
            raise InvalidPlan(f"SRA {self._program.name} was given {len(array.addresses)} addresses", hint=takes)
        if unknown := sorted(set(array.parameters) - set(facts.opaque_ids)):
            takes = f"it knows: {', '.join(facts.opaque_ids) or 'none'}"
            raise InvalidPlan(f"SRA {self._program.name} has no parameter {', '.join(unknown)}", hint=takes)
        addresses = list(zip(facts.address_ids, array.addresses, strict=False))
        return Login(facts.connection, addresses, array.parameters, array.credentials())

    def refused(self, facts: Facts, failed: ET.Element, login: Login, kind: type[Retryable]) -> DrError:
        """An Error of a whole command. Codes are the vendor's: only the words show that the login was refused."""
        said, hint = (redact(t, secrets_of(login)) for t in facts.explain(failed))
        message = f"array {self.array.id} at {self.array.site}: {said}"
        known = facts.texts.get(failed.get("code", ""), ("", ""))[0]
        return NotAllowed(message, hint=hint) if _LOGIN.search(f"{said} {known}") else kind(message, hint=hint)
