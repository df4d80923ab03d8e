"""The step: one row of a workflow's table.

A step names what is done to which kind of item, at which site, what has to be settled before, and what an error means.
Workflows are tables of steps and nothing else; `decide` reads them, status and documentation are drawn from them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Scope(StrEnum):
    RUN = "run"
    GROUP = "group"  # one consistency group
    DATASTORE = "datastore"
    VM = "vm"


class Side(StrEnum):
    SOURCE = "source"  # the site the run takes the VMs from
    TARGET = "target"  # the site the run brings them to


class Call(StrEnum):
    """What the engine is asked to bring about. Each is an ensured end: repeating it is safe."""

    SYNC = "Sync"
    PREPARE_FAILOVER = "PrepareFailover"
    RESTORE = "Restore"
    FAILOVER_PLANNED = "FailoverPlanned"
    FAILOVER_FORCED = "FailoverForced"
    SHUT_DOWN = "ShutDown"
    UNREGISTER = "Unregister"
    UNMOUNT = "Unmount"
    MOUNT = "Mount"
    REGISTER = "Register"
    CONFIGURE = "Configure"
    POWER_ON = "PowerOn"
    WAIT_READY = "WaitReady"


class OnError(StrEnum):
    ROLL_BACK = "RollBack"  # the run goes back to where it started
    STOP = "Stop"  # forward only: the run stops here until somebody asks for a retry
    ITEM = "Item"  # the item is out, the others go on
    TOLERATE = "Tolerate"  # recorded as a warning, the run goes on


class Order(StrEnum):
    ANY = "any"
    STAGES = "stages"  # what a stage or VM depends on first
    REVERSED = "reversed"  # what depends on a stage or VM first


@dataclass(frozen=True, slots=True)
class Step:
    name: str
    scope: Scope
    side: Side
    call: Call
    on_error: OnError
    deadline: float  # seconds from the first attempt of one item until its errors count
    summary: str  # one sentence for people
    tries: int = 12  # temporary errors in a row until they count: with the back-off about two and a half minutes
    needs: tuple[str, ...] = ()  # steps whose every item must be settled first
    after: str = ""  # the step of the same item that must have succeeded first
    order: Order = Order.ANY
    no_return: bool = False  # the first intent of this step is the point of no return
    undoes: tuple[str, ...] = ()  # rollback only: items of which one of these steps was begun
