"""From kopf to the engine: an event rings a bell, one daemon per live object runs its loop. Ten lines per handler.

No state is kept in kopf: daemons live in memory and decide on what they read. Two traps shape this file, proven in
tests/wiring/test_operator.py:
- A daemon that returns is not started again before the process restarts. So ours stays, and a ring drives it again.
- kopf gives an object that is being deleted when the process starts no daemon, and takes its own finalizer off at once.
  So the engine holds a finalizer of its own while effects are not settled, and such an object gets its loop from here.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import kopf

from resurgo.api.base import GROUP, VERSION
from resurgo.domain.ports import Key
from resurgo.domain.states import TERMINAL
from resurgo.edge.bells import Bells, DaemonStopping, DeletedStopping, HungBell, Stopping
from resurgo.edge.settings import operator_settings
from resurgo.engine.bell import Bell, Stop

log = logging.getLogger(__name__)

RUNS = "recoveryruns"
KINDS = ("sites", "replicationpairs", "inventorymappings", "protectiongroups", "recoveryplans", RUNS)
SETTLED = "resurgo.dev/settled"  # the engine's finalizer: effects are under way, or their end is not written down yet
RESYNC_SECONDS = 600.0  # every loop looks at the world at least this often, whatever became of the watches
_SETTLE_SECONDS = 1.0  # how long loops of deleted objects may take to return when the process ends
_IDLE_SECONDS = 86_400.0


class Driver(Protocol):
    """The loop of one kind."""

    async def drive(self, key: Key, uid: str, bell: Bell) -> None:
        """Reconcile until the object is gone or terminal or the bell says stop. Nothing escapes. Safe to repeat.

        A terminal object is driven too while it holds `SETTLED`, which the loop takes off.
        """
        ...


def _never(_uid: str, _version: str) -> bool:
    return False


@dataclass
class Services:
    """What handlers reach: kopf hands it to each as `memo`."""

    drivers: Mapping[str, Driver]  # one per plural of KINDS; a kind without one is not watched
    bells: Bells = field(default_factory=Bells)
    is_own_write: Callable[[str, str], bool] = _never  # (uid, resourceVersion): an event that only echoes our write
    closing: list[Callable[[], Awaitable[object]]] = field(default_factory=list)
    """Called when kopf stops, after the daemons: end here what was started meanwhile, or kopf waits 5 s for it."""
    exiting: asyncio.Event = field(default_factory=asyncio.Event)
    loose: dict[str, asyncio.Task[None]] = field(default_factory=dict)  # loops without a daemon, by uid

    def __copy__(self) -> Services:
        return self  # kopf copies the memo for each object


def needs_loop(body: Mapping[str, Any]) -> bool:
    """Whether an object has anything left to be done for: all kinds always, a run until it is terminal and settled.

    A run that has ended and is asked to retry is alive again.
    """
    status = body.get("status") or {}
    phase = status.get("phase")
    if body.get("kind") != "RecoveryRun" or phase not in TERMINAL:
        return True
    retries = (body.get("spec") or {}).get("retry") or 0
    return SETTLED in _finalizers(body) or retries > (status.get("handledRetry") or 0)


def build_registry(kinds: tuple[str, ...] = KINDS) -> kopf.OperatorRegistry:
    """All handlers, in a registry of their own: importing this module registers nothing."""
    registry = kopf.OperatorRegistry()
    kopf.on.login(registry=registry)(_login)
    kopf.on.cleanup(registry=registry)(_cleanup)
    for plural in kinds:
        _register(registry, plural)
    return registry


def _register(registry: kopf.OperatorRegistry, plural: str) -> None:
    @kopf.on.event(GROUP, VERSION, plural, registry=registry)
    async def ring(type: str | None, body: kopf.Body, uid: str, memo: Services, **_: Any) -> None:  # noqa: A002 (kopf's name)
        for owner in body.metadata.get("ownerReferences", ()):
            memo.bells.ring(owner["uid"])
        if type == "DELETED":
            memo.bells.dismiss(uid)
        elif not memo.is_own_write(uid, body.metadata.get("resourceVersion", "")):
            memo.bells.ring(uid)
        if type != "DELETED" and _is_orphan(body, uid, memo):
            _drive_deleted(plural, body, uid, memo)

    @kopf.daemon(GROUP, VERSION, plural, registry=registry, when=_when, cancellation_polling=5)
    async def drive(
        namespace: str | None, name: str, uid: str, memo: Services, stopped: kopf.DaemonStopped, **_: Any
    ) -> None:
        await _drive(memo, Key(plural, namespace, name), uid, DaemonStopping(stopped))


def _when(body: kopf.Body, **_: Any) -> bool:
    return needs_loop(body)


async def _drive(services: Services, key: Key, uid: str, stopping: Stopping) -> None:
    with services.bells.hang(uid, key, HungBell(stopping)) as bell:  # taken down at the end, else a leak
        while True:
            try:
                await services.drivers[key.plural].drive(key, uid, bell)
            except Exception:  # kopf would retry it once a minute, in silence of its object
                log.exception("loop.escaped", extra={"object": str(key)})
            if not _ended(bell):
                await bell.rest(_IDLE_SECONDS)
            if _ended(bell):
                return


def _ended(bell: Bell) -> bool:
    return bell.stop is not Stop.NO


def _finalizers(body: Mapping[str, Any]) -> list[str]:
    return list((body.get("metadata") or {}).get("finalizers") or ())


def _is_orphan(body: kopf.Body, uid: str, services: Services) -> bool:
    if body.metadata.get("deletionTimestamp") is None or SETTLED not in _finalizers(body):
        return False
    return uid not in services.bells and uid not in services.loose and not services.exiting.is_set()


def _drive_deleted(plural: str, body: kopf.Body, uid: str, services: Services) -> None:
    key = Key(plural, body.metadata.namespace, body.metadata.name or "")
    log.info("loop.settling", extra={"object": str(key)})
    task = asyncio.create_task(_drive(services, key, uid, DeletedStopping(services.exiting)), name=f"settling {key}")
    services.loose[uid] = task
    task.add_done_callback(lambda _: services.loose.pop(uid, None))


def _login(**kwargs: Any) -> kopf.ConnectionInfo | None:
    # The same order as the Kube port's: what a person set, then the pod's account, then the home directory.
    if os.environ.get("KUBECONFIG"):
        return kopf.login_with_kubeconfig(**kwargs)
    return kopf.login_with_service_account(**kwargs) or kopf.login_with_kubeconfig(**kwargs)


async def _cleanup(memo: Services, **_: Any) -> None:
    memo.exiting.set()
    if memo.loose:
        await asyncio.wait(set(memo.loose.values()), timeout=_SETTLE_SECONDS)
    for close in memo.closing:
        try:
            await close()
        except Exception:
            log.exception("close.failed")


async def run_kopf(services: Services, *, stop: asyncio.Event, ready: asyncio.Event | None = None) -> None:
    """Watch and drive until *stop* is set or a signal sets it. *ready* is set once handlers are called.

    Tasks that exist when this is called are left alone; those started later are ended with it. Raises what kopf raises
    when it can't go on; the process must then end.
    """
    watching = ready or asyncio.Event()
    helpers = [asyncio.create_task(_resync(services.bells)), asyncio.create_task(_own_signals(watching, stop))]
    try:
        await kopf.operator(
            registry=build_registry(tuple(plural for plural in KINDS if plural in services.drivers)),
            settings=operator_settings(),
            memo=services,
            clusterwide=True,
            standalone=True,
            stop_flag=stop,
            ready_flag=watching,
        )
    finally:
        for helper in helpers:
            helper.cancel()
        await asyncio.gather(*helpers, return_exceptions=True)


async def _resync(bells: Bells) -> None:
    while True:
        await asyncio.sleep(RESYNC_SECONDS)
        bells.ring_all()


async def _own_signals(watching: asyncio.Event, stop: asyncio.Event) -> None:
    """Take the signals back from kopf, which installs its own handlers: there is one way to stop, the flag."""
    await watching.wait()
    with contextlib.suppress(RuntimeError, ValueError):  # not the main thread: nobody's signals
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
