"""The composition: configuration -> clients -> reconcilers -> Lease -> kopf. The only place that builds things."""

from __future__ import annotations

import asyncio
import base64
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any

from resurgo import log as logs
from resurgo.adapters.kube.client import KubeClient
from resurgo.adapters.kube.lease import Lease
from resurgo.adapters.kube.login import Login
from resurgo.adapters.replication.contract import Surroundings, build_pair
from resurgo.adapters.vsphere import Limits, Trust, VSphereGateway
from resurgo.api import SiteSpec
from resurgo.config import Config, ConfigError
from resurgo.domain.errors import LeaseLost
from resurgo.domain.ports import ReplicationEndpoint, VCenter
from resurgo.edge.bells import Bells
from resurgo.edge.handlers import Services, run_kopf
from resurgo.edge.probes import LoopLag, Probes, attempts_fresh
from resurgo.engine.context import Context, Credentials
from resurgo.engine.inventory_mapping import MappingReconciler
from resurgo.engine.loop import Loop
from resurgo.engine.protection_group import GroupReconciler
from resurgo.engine.recovery_plan import PlanReconciler
from resurgo.engine.recovery_run import RunDriver
from resurgo.engine.replication_pair import PairReconciler
from resurgo.engine.site import SiteReconciler
from resurgo.metrics import Metrics

log = logging.getLogger("resurgo")


class SystemClock:
    """The `Clock` of the real world."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()


def make_vcenter(
    config: Config,
    metrics: Metrics,
    name: str,
    spec: SiteSpec,
    credentials: Credentials,
    on_change: Callable[[], None],
) -> VCenter:
    """A gateway to one Site's vCenter, its long poll and its probe running."""
    vcenter = spec.vcenter
    gateway = VSphereGateway(
        name,
        vcenter.url,
        trust=Trust(
            ca_pem=base64.b64decode(vcenter.ca_bundle).decode() if vcenter.ca_bundle else None,
            thumbprint=vcenter.thumbprint,
            insecure=vcenter.insecure_skip_tls_verify,
        ),
        credentials=credentials,
        limits=Limits(
            concurrent_tasks=spec.limits.concurrent_tasks,
            request_timeout=float(spec.limits.request_timeout_seconds),
            probe_interval=config.site_probe_interval,
        ),
        on_change=on_change,
        on_call=partial(metrics.backend_call, f"vcenter:{name}"),
    )
    gateway.start()
    return gateway


def make_pair(
    config: Config,
    metrics: Metrics,
    name: str,
    spec: Mapping[str, Any],
    credentials: Mapping[str, Callable[[], tuple[str, str] | None]],
) -> Mapping[str, ReplicationEndpoint]:
    around = Surroundings(config.sra_dir, config.state_dir / "pairs" / name, credentials, metrics.backend_call)
    return build_pair(spec, around)


def end_process(reason: str) -> None:
    """End at once: another process may lead already, and nothing we would still do is safe."""
    log.error("lease.lost", extra={"error": reason})
    logging.shutdown()
    os._exit(1)


async def operate(config: Config) -> None:
    """Serve probes, wait for the Lease, lead until asked to stop."""
    metrics, lag, stop = Metrics(), LoopLag(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    kube = await KubeClient.connect(Login.find(), instance=config.identity, seconds=config.kube_request_timeout)
    lease = Lease(
        kube.calls,
        namespace=config.namespace,
        name=config.lease_name,
        identity=config.identity,
        duration=config.lease_duration,
        renew=config.lease_renew,
    )
    bells = Bells()
    leading = config.leader_election
    context = Context(
        kube=kube,
        clock=SystemClock(),
        metrics=metrics,
        make_vcenter=partial(make_vcenter, config, metrics),
        make_pair=partial(make_pair, config, metrics),
        ring_kind=bells.ring_kind,
        may_act=lambda: lease.valid or not leading,
        lost=end_process,
    )
    live = {"event loop": lag.check}
    if leading:
        live["lease"] = attempts_fresh(lambda: lease.attempt_age, config.lease_duration * 2)
    probes = Probes(metrics, live=live, before_scrape=lambda: metrics.lease(held=lease.valid))
    services = Services(
        drivers={
            "sites": Loop(context, SiteReconciler(context)),
            "replicationpairs": Loop(context, PairReconciler(context)),
            "inventorymappings": Loop(context, MappingReconciler(context)),
            "protectiongroups": Loop(context, GroupReconciler(context)),
            "recoveryplans": Loop(context, PlanReconciler(context)),
            "recoveryruns": RunDriver(context),
        },
        bells=bells,
        is_own_write=kube.is_own_write,
        closing=[partial(close_all, context), probes.disconnect],
    )
    watch = asyncio.create_task(lag.watch())
    host, port = config.metrics_address
    async with probes.serving(host, port):
        lead = partial(run_kopf, services, stop=stop)
        try:
            await (lease.run(lead, stop=stop) if leading else lead())
        except LeaseLost as error:  # here, not in main(): on the way there the event loop waits for what still runs
            end_process(str(error))
    watch.cancel()
    await kube.aclose()


async def close_all(context: Context) -> None:
    """Log out everywhere, within a bound: the process ends anyway."""
    ends = [v.vcenter.aclose() for v in context.sites.values() if v.vcenter is not None]
    ends += [e.endpoint.aclose() for p in context.pairs.values() for e in p.ends.values()]
    with suppress(TimeoutError):
        async with asyncio.timeout(3.0):
            await asyncio.gather(*ends, return_exceptions=True)


def main() -> None:
    """The `resurgo` command."""
    try:
        config = Config.load(sys.argv[1:], os.environ)
    except ConfigError as error:
        sys.exit(f"resurgo: {error}")
    logs.configure(level=config.log_level, style=config.log_format)
    try:
        asyncio.run(operate(config))
    except Exception:
        log.exception("operator.failed")
        logging.shutdown()
        os._exit(1)
    logging.shutdown()
    os._exit(0)  # threads of a vCenter that hangs would hold the exit


if __name__ == "__main__":
    main()
