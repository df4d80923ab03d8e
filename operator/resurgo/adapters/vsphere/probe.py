"""The question that tells whether a vCenter answers, on a connection of its own."""

from __future__ import annotations

import http.client

from resurgo.adapters.vsphere.login import Session
from resurgo.adapters.vsphere.sdk import vim, vmodl
from resurgo.adapters.vsphere.stub import ConnectError
from resurgo.domain.errors import Unreachable


class Probe:
    """Blocking parts for `Health`. Asking also keeps the session alive; it never logs in."""

    def __init__(self, session: Session, *, timeout: float) -> None:
        self._session = session
        self._stub = session.stub(timeout=timeout)

    def ask(self) -> None:
        """Return if vCenter answers anything at all; raise ConnectError, NotAllowed or Unreachable."""
        try:
            vim.ServiceInstance("ServiceInstance", self._stub).CurrentTime()
        except vmodl.MethodFault:
            return  # "log in first" is an answer, too
        except ConnectError:
            raise
        except (OSError, http.client.HTTPException) as error:
            self._stub.DropConnections()
            raise Unreachable(str(error) or type(error).__name__) from None
        except (KeyError, AttributeError, TypeError, ValueError) as error:
            raise Unreachable(f"an answer that is none of a vCenter: {type(error).__name__}") from None

    def logout(self) -> None:
        """End the session."""
        self._session.logout(self._stub)

    def interrupt(self) -> None:
        """Break the connection, and with it a question that hangs. Never blocks."""
        self._stub.abort()

    def close(self) -> None:
        """No more questions. Never blocks."""
        self._stub.close()
