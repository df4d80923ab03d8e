"""What a failed call means: pyvmomi's exceptions become errors of the domain here and nowhere else.

Read one table by the fault's type and its bases, most special first. Whether a call may have taken effect depends on
the failure *and* on whether it was a mutation, so both columns stand side by side.
"""

from __future__ import annotations

import http.client
from collections.abc import Callable
from typing import Any, Final

from resurgo.adapters.vsphere.sdk import vmodl
from resurgo.adapters.vsphere.stub import ConnectError
from resurgo.domain.errors import (
    Busy,
    DrError,
    InvalidPlan,
    InvalidState,
    Missing,
    NotAllowed,
    NotSupported,
    OutcomeUnknown,
    Rejected,
    Throttled,
    Unreachable,
)

INVALID_CREDENTIALS: Final = "InvalidCredentials"
TOOLS_NOT_RUNNING: Final = "ToolsNotRunning"
_SHORTAGE_SECONDS: Final = 30.0  # resources come back when somebody frees them, not within seconds

Maker = Callable[[str, str], DrError]  # message, name of the fault


def _busy(message: str, name: str) -> DrError:
    return Busy(message, reason=name)


def _short(message: str, name: str) -> DrError:
    return Busy(message, reason=name, after=_SHORTAGE_SECONDS)


def _missing(message: str, _: str) -> DrError:
    return Missing(message)


def _not_allowed(message: str, name: str) -> DrError:
    return NotAllowed(message, reason=name, hint="give the operator's account this right in vCenter")


def _credentials(message: str, _: str) -> DrError:
    return NotAllowed(message, reason=INVALID_CREDENTIALS, hint="correct the Secret of the Site")


def _invalid(message: str, name: str) -> DrError:
    return InvalidPlan(message, reason=name)


_TABLE: Final[dict[str, Maker]] = {
    "NotAuthenticated": _not_allowed,
    "InvalidLogin": _credentials,
    "NoPermission": _not_allowed,
    "RestrictedVersion": _not_allowed,
    "SecurityError": _not_allowed,
    "ManagedObjectNotFound": _missing,
    "NotFound": _missing,
    "FileNotFound": _missing,
    "InvalidDatastore": _missing,
    "AlreadyExists": lambda message, name: Rejected(message, reason=name),
    "DuplicateName": lambda message, name: Rejected(message, reason=name),
    "FileAlreadyExists": lambda message, name: Rejected(message, reason=name),
    "InvalidPowerState": _busy,
    "ToolsUnavailable": lambda message, _: Rejected(message, reason=TOOLS_NOT_RUNNING),
    "TaskInProgress": _busy,
    "ResourceInUse": _busy,
    "FileLocked": _busy,
    "ConcurrentAccess": _busy,
    "HostCommunication": _busy,
    "HostNotConnected": _busy,
    "Timedout": _busy,
    "InsufficientResourcesFault": _short,
    "NoCompatibleHost": _short,
    "LimitExceeded": _short,
    "CustomizationPending": _busy,
    "CustomizationFault": _invalid,
    "NicSettingMismatch": _invalid,
    "InvalidVmConfig": _invalid,
    "InvalidArgument": _invalid,
    "InvalidName": _invalid,
    "NotSupported": lambda message, name: NotSupported(message, reason=name),
    "MethodNotFound": lambda message, name: NotSupported(message, reason=name),
    "HostConfigFault": _busy,  # an export that is not there, or not yet: mounting it again later may do
}


def fault_name(fault: Any) -> str:
    """The type's own name: ``InvalidPowerState``."""
    return type(fault).__name__.rpartition(".")[2]


def translate(error: BaseException, what: str, *, mutation: bool, seen: bool = True) -> DrError:
    """The domain's error for what a call raised. *what* reads "PowerOn of VM erp-db at berlin".

    A mutation whose answer was lost, or not understood, is OutcomeUnknown; a fault that was answered is not. *seen* is
    False for a fault that ended a task: unlike a refused call, it says nothing of what was done before.
    """
    if isinstance(error, DrError):
        return error
    if isinstance(error, vmodl.MethodFault):
        return _answered(error, what, mutation=mutation, refused=seen)
    if isinstance(error, ConnectError):
        return Unreachable(f"{what}: no connection: {error}")
    if isinstance(error, http.client.HTTPException) and not isinstance(error, OSError):
        kind: type[Unreachable | Throttled] = Throttled
    elif isinstance(error, (OSError, KeyError, AttributeError, TypeError, ValueError)) or _parse_error(error):
        kind = Unreachable  # no answer, or one that could not be read; pyvmomi has dropped its connections
    else:
        raise error
    text = str(error) or type(error).__name__
    if mutation:
        return OutcomeUnknown(f"{what}: the answer was lost: {text}", op=what)
    return kind(f"{what}: no answer: {text}")


def _answered(fault: Any, what: str, *, mutation: bool, refused: bool) -> DrError:
    name = fault_name(fault)
    message = f"{what}: {_text(fault)}"
    for base in type(fault).__mro__:
        make = _TABLE.get(base.__name__.rpartition(".")[2])
        if make is not None:
            return make(message, name)
    if name == "InvalidState":
        return InvalidState(message, reason=name)
    if mutation and not refused:
        return OutcomeUnknown(message, op=what)
    return Busy(message, reason=name)


def _text(fault: Any) -> str:
    """The server's words, with the type where they say less than it; some servers answer bare type names."""
    name = fault_name(fault)
    said = str(getattr(fault, "msg", "") or "").strip()
    if not said or said.lstrip("*&").rpartition(".")[2] == name:
        said = ""
    details = getattr(fault, "faultMessage", None) or ()
    more = "; ".join(str(detail.message) for detail in details if getattr(detail, "message", None))
    return ": ".join(part for part in (name, said, more) if part)


def _parse_error(error: BaseException) -> bool:
    return type(error).__module__ in {"pyexpat", "xml.parsers.expat"}
