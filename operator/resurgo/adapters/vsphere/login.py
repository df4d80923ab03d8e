"""One session per vCenter, shared by all stubs: who we are there, and which API version is spoken."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final
from xml.etree.ElementTree import Element

import defusedxml.ElementTree

from resurgo.adapters.vsphere.certificate import Trust
from resurgo.adapters.vsphere.faults import INVALID_CREDENTIALS, translate
from resurgo.adapters.vsphere.sdk import versions, vim
from resurgo.adapters.vsphere.stub import ConnectError, Stub
from resurgo.domain.errors import NotAllowed

log = logging.getLogger(__name__)

BASE_VERSION: Final = "vim.version.v7_0"  # the oldest vCenter that is supported; newer ones are negotiated
_LOCKOUT_GUARD: Final = 60.0  # seconds between logins with a password that was refused: accounts get locked
_HTTP_OK: Final = 200


@dataclass(frozen=True, slots=True)
class Api:
    """A logged-in view of one vCenter through one stub. Only for use inside blocking work; never leaves a thread."""

    stub: Stub
    content: Any  # ServiceContent: plain references, bound to the stub of the login; bind() them anew
    generation: int
    user: str

    def bind(self, reference: Any) -> Any:
        """The same managed object, spoken to through this stub."""
        return type(reference)(reference._moId, self.stub)  # noqa: SLF001  # pyvmomi has no public name for it

    def bind_root(self) -> Any:
        """The ServiceInstance."""
        return vim.ServiceInstance("ServiceInstance", self.stub)

    def object(self, kind: str, moref: str) -> Any:
        """The managed object of a kind such as ``VirtualMachine``; nothing is asked."""
        return getattr(vim, kind)(moref, self.stub)


class Session:
    """Logs in when needed, once at a time. Blocking: call from threads only.

    Errors are the domain's. A refused password is not tried again until it changes or a minute has passed.
    """

    def __init__(
        self, site: str, url: str, trust: Trust, credentials: Callable[[], tuple[str, str]], *, timeout: float
    ) -> None:
        self._site = site
        self._url = url
        self._trust = trust
        self._credentials = credentials
        self._timeout = timeout
        self._lock = threading.Lock()
        self._stubs: list[Stub] = []
        self._generation = 0
        self._content: Any = None
        self._user = ""
        self._cookie = ""
        self._version = BASE_VERSION
        self._knocking: Stub | None = None
        self._refused: tuple[tuple[str, str], float, str] | None = None

    def stub(self, *, timeout: float, pool: int = 1) -> Stub:
        """A connection pool of its own on this session."""
        stub = Stub(self._site, self._url, self._trust, timeout=timeout, version=self._version, pool=pool)
        self._stubs.append(stub)
        return stub

    def api(self, stub: Stub, *, stale: int = 0) -> Api:
        """The session through *stub*, logged in if there is none or it is still that of generation *stale*."""
        with self._lock:
            if self._content is None or self._generation <= stale:
                self._login()
            return Api(stub, self._content, self._generation, self._user)

    def known(self, stub: Stub) -> Api | None:
        """The session through *stub* if there is one. Never waits, not even for a login on its way."""
        content = self._content
        return None if content is None else Api(stub, content, self._generation, self._user)

    def _login(self) -> None:
        what = f"login at {self._site}"
        credentials = self._credentials()
        self._guard(credentials)
        stub = Stub(self._site, self._url, self._trust, timeout=self._timeout, version=self._version)
        self._knocking = stub
        try:
            stub.ComputeVersionInfo(_negotiate(stub))
            content = vim.ServiceInstance("ServiceInstance", stub).RetrieveContent()
            session = content.sessionManager.Login(*credentials, None)
        except vim.fault.InvalidLogin as fault:
            error = translate(fault, what, mutation=False)
            self._refused = (credentials, time.monotonic(), error.message)
            raise error from None
        except ConnectError:
            raise
        except Exception as error:  # noqa: BLE001  # translate raises again what is no failed call
            raise translate(error, what, mutation=False) from None
        finally:
            self._knocking = None
            stub.DropConnections()
        self._refused = None
        self._adopt(stub, content, session.userName)

    def _guard(self, credentials: tuple[str, str]) -> None:
        if self._refused is None:
            return
        refused, when, message = self._refused
        if refused == credentials and time.monotonic() - when < _LOCKOUT_GUARD:
            raise NotAllowed(message, reason=INVALID_CREDENTIALS, hint="correct the Secret of the Site")

    def _adopt(self, login: Stub, content: Any, user: str) -> None:
        self._cookie = login.cookie
        self._version = login.version
        for stub in self._stubs:
            stub.ComputeVersionInfo(login.version)
            stub.adopt(login.cookie)
        self._content = content
        self._user = user
        self._generation += 1
        log.info("vsphere.login", extra={"site": self._site})

    def interrupt(self) -> None:
        """Let a login that hangs fail: everybody else waits for it. Never blocks."""
        knocking = self._knocking
        if knocking is not None:
            knocking.abort()

    def logout(self, stub: Stub) -> None:
        """End the session. Best effort: the vCenter drops an idle one anyway."""
        api = self.known(stub)
        if api is not None:
            api.bind(api.content.sessionManager).Logout()


def _negotiate(stub: Stub) -> str:
    """The newest API version that the server and pyvmomi share. Not pyvmomi's own way: that one knows no timeout."""
    connection = stub.GetConnection()
    try:
        connection.request("GET", f"{stub.path}/vimServiceVersions.xml")
        answer = connection.getresponse()
        body = answer.read()
    finally:
        connection.close()
    if answer.status != _HTTP_OK:
        return BASE_VERSION
    offered = _versions(defusedxml.ElementTree.fromstring(body))
    for version in versions.GetServiceVersions("vim25"):
        if versions.versionIdMap.get(version) in offered:
            return str(version)
    return BASE_VERSION


def _versions(root: Element) -> frozenset[str]:
    return frozenset(
        (version.text or "").strip()
        for namespace in root.findall("namespace")
        if namespace.findtext("name") == "urn:vim25"
        for version in (*namespace.findall("version"), *namespace.findall("priorVersions/version"))
    )
