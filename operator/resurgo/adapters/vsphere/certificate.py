"""Whom we trust to be the vCenter, and how a certificate that we don't trust is described to a person."""

from __future__ import annotations

import hashlib
import ssl
from dataclasses import dataclass
from typing import Final

# The attribute types people recognise a certificate by, as the DER encoding of their object identifiers.
_ATTRIBUTES: Final = {b"\x55\x04\x03": "CN", b"\x55\x04\x0a": "O", b"\x55\x04\x0b": "OU", b"\x55\x04\x06": "C"}
_HASHES: Final = {40: hashlib.sha1, 64: hashlib.sha256}
_EXPLICIT_VERSION: Final = 0xA0


@dataclass(frozen=True, slots=True)
class Trust:
    """How the vCenter's certificate is judged. With nothing given: the system's authorities and the host name.

    ``thumbprint`` (SHA-256, or SHA-1 by its length; colons and case don't matter) must equal the certificate's, which
    then needs no authority unless ``ca_pem`` is given as well. ``insecure`` trusts anybody.
    """

    ca_pem: str | None = None
    thumbprint: str | None = None
    insecure: bool = False

    def context(self) -> ssl.SSLContext:
        """A TLS context for connections. ValueError: *ca_pem* holds no usable certificate."""
        try:
            context = ssl.create_default_context(cadata=self.ca_pem or None)
        except ssl.SSLError as error:
            raise ValueError("the CA bundle holds no usable certificate in PEM form") from error
        if self.insecure or (self.thumbprint and not self.ca_pem):
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    def accepts(self, der: bytes) -> bool:
        """Whether the thumbprint, where one is wanted, is that of the certificate."""
        if not self.thumbprint:
            return True
        wanted = self.thumbprint.replace(":", "").replace(" ", "").lower()
        digest = _HASHES.get(len(wanted))
        return digest is not None and digest(der).hexdigest() == wanted


def describe(der: bytes) -> str:
    """Subject and SHA-256 fingerprint of a certificate, for an error message."""
    digest = hashlib.sha256(der).hexdigest().upper()
    fingerprint = ":".join(digest[i : i + 2] for i in range(0, len(digest), 2))
    try:
        subject = _subject(der)
    except (IndexError, ValueError):
        subject = ""
    return f"subject {subject or 'unreadable'}, SHA-256 fingerprint {fingerprint}"


def _subject(der: bytes) -> str:
    # Python decodes the subject of trusted certificates only; here it is the untrusted one that must be named.
    body = _children(_children(_children(der)[0][1])[0][1])
    fields = body[1:] if body[0][0] == _EXPLICIT_VERSION else body
    names = []
    for _, relative in _children(fields[4][1]):  # serial, signature, issuer, validity, subject
        for _, attribute in _children(relative):
            (_, kind), (_, value) = _children(attribute)[:2]
            if kind in _ATTRIBUTES:
                names.append(f"{_ATTRIBUTES[kind]}={value.decode('utf-8', errors='replace')}")
    return ", ".join(names)


def _children(data: bytes) -> list[tuple[int, bytes]]:
    """The (tag, content) pairs of a DER sequence's content."""
    found = []
    at = 0
    while at < len(data):
        tag, length, start = data[at], data[at + 1], at + 2
        if length & 0x80:
            count = length & 0x7F
            length = int.from_bytes(data[start : start + count], "big")
            start += count
        found.append((tag, data[start : start + length]))
        at = start + length
    return found
