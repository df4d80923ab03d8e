"""One pyvmomi connection pool that sends once, judges the certificate itself and can be cut off at any time."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
import weakref
from typing import Any
from urllib.parse import urlsplit

from resurgo.adapters.vsphere.certificate import Trust, describe
from resurgo.adapters.vsphere.sdk import SoapStubAdapter
from resurgo.domain.errors import NotAllowed

TRUST_FAILED = "TrustFailed"
HTTPS_PORT = 443
_CONNECT_TIMEOUT = 10.0  # seconds; a thread that knocks at a dead address can't be woken


class ConnectError(OSError):
    """No connection could be made, so nothing was sent. The cause tells why."""

    @property
    def refused(self) -> bool:
        return isinstance(self.__cause__, ConnectionRefusedError)


class Stub(SoapStubAdapter):  # type: ignore[misc]  # pyvmomi is untyped
    """A plain SOAP stub: nothing is ever sent twice. Raises ConnectError, and NotAllowed where trust fails."""

    def __init__(self, site: str, url: str, trust: Trust, *, timeout: float, version: str, pool: int = 1) -> None:
        """*timeout* in seconds bounds each read. *url* as https://vcenter.example/sdk."""
        parts = urlsplit(url)
        host = parts.hostname or ""
        self._cookie = ""
        super().__init__(
            host=host,
            port=parts.port or HTTPS_PORT,
            path=parts.path.rstrip("/") or "/sdk",
            version=version,
            poolSize=pool,
            sslContext=trust.context(),
            httpConnectionTimeout=min(timeout, _CONNECT_TIMEOUT),
        )
        self._closed = False
        self._epoch = 0  # counts the cuts
        self._site = site
        self._trust = trust
        self._timeout = timeout
        self._open: weakref.WeakSet[http.client.HTTPConnection] = weakref.WeakSet()
        self._open_lock = threading.Lock()

    @property
    def cookie(self) -> str:
        """The session. What the server sets on later answers is ignored: only a login makes a session."""
        return self._cookie

    @cookie.setter
    def cookie(self, value: str) -> None:
        if not self._cookie:
            self._cookie = value

    def adopt(self, cookie: str) -> None:
        """Use the session of another stub."""
        self._cookie = cookie

    def GetConnection(self) -> Any:  # noqa: N802  # overrides pyvmomi's
        """A pooled or a new connection to a trusted vCenter."""
        if self._closed:
            raise ConnectError(f"the connection to {self._site} is closed")
        epoch = self._epoch
        try:
            connection = super().GetConnection()
        except ssl.SSLCertVerificationError as error:
            raise self._distrust(error.verify_message, self._presented()) from None
        except OSError as error:
            raise ConnectError(str(error) or type(error).__name__) from error
        sock = connection.sock
        if sock is None:  # closed by the server's last answer: http.client would reconnect unchecked
            connection.close()
            return self.GetConnection()
        certificate = sock.getpeercert(binary_form=True) if isinstance(sock, ssl.SSLSocket) else b""
        if not self._trust.accepts(certificate or b""):
            connection.close()
            raise self._distrust("the thumbprint is another one", certificate)
        sock.settimeout(self._timeout)
        connection.auto_open = 0  # a connection that was not judged must never be used
        with self._open_lock:
            if epoch == self._epoch:
                self._open.add(connection)
                return connection
        connection.close()  # cut off while it was made: whoever asked for it has been told so
        raise ConnectError(f"the connection to {self._site} was cut off")

    def ReturnConnection(self, connection: Any) -> None:  # noqa: N802  # overrides pyvmomi's
        """Keep the connection for the next call unless it is closed."""
        if connection.sock is not None:
            super().ReturnConnection(connection)
        if self._closed:
            self.DropConnections()

    def close(self) -> None:
        """Break every connection and make no more. Never blocks."""
        self._closed = True
        self.abort()

    def abort(self) -> None:
        """Break every connection: calls that hang in one end with an error at once. Never blocks."""
        with self._open_lock:
            self._epoch += 1
            connections = list(self._open)
        for connection in connections:
            sock = connection.sock
            if sock is not None:
                # Not close(): another thread may sit in recv, and only shutdown wakes it.
                with contextlib.suppress(OSError):
                    socket.socket.shutdown(sock, socket.SHUT_RDWR)
        self.DropConnections()

    def _presented(self) -> bytes | None:
        """The certificate that was refused, from a second handshake in which nothing is sent."""
        context = Trust(insecure=True).context()
        address = (self.host.rsplit(":", 1)[0].strip("[]"), self.port)
        try:
            with (
                socket.create_connection(address, timeout=min(self._timeout, _CONNECT_TIMEOUT)) as raw,
                context.wrap_socket(raw, server_hostname=address[0]) as sock,
            ):
                return sock.getpeercert(binary_form=True)
        except OSError:
            return None

    def _distrust(self, why: str, certificate: bytes | None) -> NotAllowed:
        presented = describe(certificate) if certificate else "a certificate that could not be read"
        return NotAllowed(
            f"the vCenter of {self._site} presents a certificate that is not trusted: {presented}: {why}",
            reason=TRUST_FAILED,
            hint="check that this is the right vCenter, then correct caBundle or thumbprint of the Site",
        )
