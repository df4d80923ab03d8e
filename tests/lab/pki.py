"""The lab's certificates: one CA per lab, server certificates for 127.0.0.1 and localhost, one RSA key for tokens."""

from __future__ import annotations

import datetime as dt
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_BACKDATED = dt.timedelta(hours=1)
_VALID = dt.timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Certificate:
    """Where a server's certificate and its key lie, both PEM; the key's file is readable by its owner only."""

    cert: Path
    key: Path


class Pki:
    """A CA whose files lie in one folder. A folder that holds a CA already is used as it is."""

    def __init__(self, folder: Path) -> None:
        """Make or open the CA in *folder*."""
        self.folder = folder
        self.ca = folder / "ca.crt"
        ca_key = folder / "ca.key"
        folder.mkdir(parents=True, exist_ok=True)
        if self.ca.exists() and ca_key.exists():
            self._cert = x509.load_pem_x509_certificate(self.ca.read_bytes())
            key = serialization.load_pem_private_key(ca_key.read_bytes(), None)
            assert isinstance(key, ec.EllipticCurvePrivateKey)
            self._key = key
            return
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._cert = _ca_certificate(self._key)
        _write_key(ca_key, self._key)
        self.ca.write_bytes(self._cert.public_bytes(serialization.Encoding.PEM))

    def server(self, name: str) -> Certificate:
        """Return a new certificate *name* for 127.0.0.1 and localhost; an older one of that name is replaced."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        cert = (
            _builder(_name(name), self._cert.subject)
            .public_key(key.public_key())
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        made = Certificate(self.folder / f"{name}.crt", self.folder / f"{name}.key")
        _write_key(made.key, key)
        made.cert.write_bytes(cert.public_bytes(serialization.Encoding.PEM))
        return made

    def rsa_key(self, name: str) -> Path:
        """Return the path of an RSA key in PEM, made on first use: what an API server signs its tokens with."""
        path = self.folder / f"{name}.key"
        if not path.exists():
            _write_key(path, rsa.generate_private_key(public_exponent=65537, key_size=2048))
        return path


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _builder(subject: x509.Name, issuer: x509.Name) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + _VALID)
    )


def _ca_certificate(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    usage = x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=True,
        crl_sign=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    name = _name("Resurgo lab CA")
    return (
        _builder(name, name)
        .public_key(key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> None:
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    path.touch(mode=0o600)
    path.write_bytes(pem)
