"""Every metric of the operator in one table, and the only way to set them.

Times are timestamps, because "seconds since" would freeze with the exporter. Labels are bounded and never name a VM.
A value of None means "not known": its series is absent, not 0. The `namespace` label is the object's: scrape with
`honorLabels: true`, or it becomes `exported_namespace`.
"""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, generate_latest

from resurgo.domain.states import ActiveState

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
PREFIX = "resurgo_"
_BUCKETS = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)

Value = datetime | float | bool | None


class Type(StrEnum):
    GAUGE = "gauge"
    COUNTER = "counter"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Row:
    """One metric; *name* without the prefix."""

    name: str
    type: Type
    labels: tuple[str, ...]
    help: str


_NAME = ("namespace", "name")
_STEP = ("namespace", "name", "plan", "step")
_BACKEND = ("backend", "operation", "result")

TABLE = (
    Row("protection_group_rpo_target_seconds", Type.GAUGE, _NAME, "spec.rpoSeconds; 0 is synchronous."),
    Row(
        "protection_group_last_recovery_point_timestamp_seconds",
        Type.GAUGE,
        _NAME,
        "Newest complete copy away from the active site; absent until the first.",
    ),
    Row(
        "protection_group_observed_timestamp_seconds", Type.GAUGE, _NAME, "Last good reading of the replication state."
    ),
    Row("protection_group_replication_healthy", Type.GAUGE, _NAME, "1 if the adapter calls the replication healthy."),
    Row("protection_group_suspended", Type.GAUGE, _NAME, "1 if spec.suspend silences the alerts of this group."),
    Row(
        "protection_group_writable_sites",
        Type.GAUGE,
        _NAME,
        "Sites with writable volumes, copies of tests not counted; 2 is a split brain.",
    ),
    Row("protection_group_virtual_machines", Type.GAUGE, _NAME, "Members of the group."),
    Row("protection_group_unprotected_virtual_machines", Type.GAUGE, _NAME, "Members with a disk outside the group."),
    Row("protection_group_last_sync_duration_seconds", Type.GAUGE, _NAME, "Duration of the last replication cycle."),
    Row("protection_group_last_sync_bytes", Type.GAUGE, _NAME, "Size of the last replication cycle."),
    Row("recovery_plan_ready", Type.GAUGE, _NAME, "1 if the condition Ready holds."),
    Row("recovery_plan_in_sync", Type.GAUGE, _NAME, "1 if the condition InSync holds."),
    Row("recovery_plan_state", Type.GAUGE, (*_NAME, "state"), "1 for the observed state, 0 for the others."),
    Row("recovery_plan_forecast_recovery_time_seconds", Type.GAUGE, _NAME, "Forecast of the recovery time."),
    Row("recovery_plan_forecast_data_loss_seconds", Type.GAUGE, _NAME, "Forecast of the data loss."),
    Row(
        "recovery_plan_last_run_result",
        Type.GAUGE,
        (*_NAME, "type", "result"),
        "1 for the result of the newest finished run of each type.",
    ),
    Row("recovery_plan_last_run_recovery_time_seconds", Type.GAUGE, (*_NAME, "type"), "Measured recovery time."),
    Row("recovery_plan_last_run_data_loss_seconds", Type.GAUGE, (*_NAME, "type"), "Measured data loss."),
    Row(
        "recovery_plan_last_successful_test_timestamp_seconds",
        Type.GAUGE,
        _NAME,
        "End of the last successful test; absent until the first.",
    ),
    Row("recovery_plan_test_max_age_seconds", Type.GAUGE, _NAME, "spec.test.maxAgeSeconds."),
    Row("recovery_plan_test_running", Type.GAUGE, _NAME, "1 from the start of a test until it is cleaned up."),
    Row("recovery_plan_test_resources", Type.GAUGE, _NAME, "VMs, networks and snapshots that a test holds."),
    Row("recovery_runs_total", Type.COUNTER, ("namespace", "plan", "type", "result"), "Finished runs."),
    Row(
        "recovery_run_awaiting_approval",
        Type.GAUGE,
        (*_NAME, "plan"),
        "1 while the run waits for an approval; present while it is active.",
    ),
    Row("recovery_run_step_start_timestamp_seconds", Type.GAUGE, _STEP, "Start of each step that runs now."),
    Row("recovery_run_step_timeout_seconds", Type.GAUGE, _STEP, "Time limit of each step that runs now."),
    Row("site_reachable", Type.GAUGE, ("site",), "1 if this operator reaches the vCenter."),
    Row("replication_pair_reachable", Type.GAUGE, ("pair", "site"), "1 if this operator reaches the storage endpoint."),
    Row(
        "replication_pair_clock_offset_seconds",
        Type.GAUGE,
        ("pair", "site"),
        "Clock of the storage endpoint minus ours; recovery points are corrected by it.",
    ),
    Row("backend_calls_total", Type.COUNTER, _BACKEND, "Calls to vCenters and storage adapters."),
    Row(
        "backend_call_duration_seconds", Type.HISTOGRAM, _BACKEND, "Duration of calls to vCenters and storage adapters."
    ),
    Row("lease_held", Type.GAUGE, (), "1 if this process leads."),
    Row("approval_policy_installed", Type.GAUGE, (), "1 if the policy that guards approvals is installed."),
    Row("build_info", Type.GAUGE, ("version",), "1; the version is in the label."),
)


class Metrics:
    """The operator's metrics in a registry of their own. Every method is cheap and may be called from any thread."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series per counter that nobody reads
        self.registry = CollectorRegistry()
        self._gauges: dict[str, Gauge] = {}
        self._counters: dict[str, Counter] = {}
        self._histograms: dict[str, Histogram] = {}
        for row in TABLE:
            self._make(row)
        self._set("build_info", 1, importlib.metadata.version("resurgo"))
        self.lease(held=False)

    def _make(self, row: Row) -> None:
        name = PREFIX + row.name
        if row.type is Type.GAUGE:
            self._gauges[row.name] = Gauge(name, row.help, row.labels, registry=self.registry)
        elif row.type is Type.COUNTER:
            self._counters[row.name] = Counter(name, row.help, row.labels, registry=self.registry)
        else:
            self._histograms[row.name] = Histogram(name, row.help, row.labels, registry=self.registry, buckets=_BUCKETS)

    def text(self) -> bytes:
        """What /metrics answers, of type CONTENT_TYPE."""
        return generate_latest(self.registry)

    # -- Protection groups

    def group(
        self,
        namespace: str,
        name: str,
        *,
        rpo_target: float,
        last_recovery_point: Value = None,
        observed: Value = None,
        healthy: bool | None = None,
        suspended: bool = False,
        writable_sites: int | None = None,
        vms: int | None = None,
        unprotected: int | None = None,
        last_sync_seconds: float | None = None,
        last_sync_bytes: float | None = None,
    ) -> None:
        """What is known of one group now; replaces what was said of it before."""
        values: dict[str, Value] = {
            "rpo_target_seconds": rpo_target,
            "last_recovery_point_timestamp_seconds": last_recovery_point,
            "observed_timestamp_seconds": observed,
            "replication_healthy": healthy,
            "suspended": suspended,
            "writable_sites": writable_sites,
            "virtual_machines": vms,
            "unprotected_virtual_machines": unprotected,
            "last_sync_duration_seconds": last_sync_seconds,
            "last_sync_bytes": last_sync_bytes,
        }
        for suffix, value in values.items():
            self._set(f"protection_group_{suffix}", value, namespace, name)

    def drop_group(self, namespace: str, name: str) -> None:
        """The group is gone."""
        self._drop("protection_group_", namespace=namespace, name=name)

    # -- Recovery plans

    def plan(
        self,
        namespace: str,
        name: str,
        *,
        ready: bool,
        in_sync: bool,
        state: str | None,
        forecast_recovery_time: float | None = None,
        forecast_data_loss: float | None = None,
        last_successful_test: Value = None,
        test_max_age: float | None = None,
        test_running: bool = False,
        test_resources: int | None = None,
    ) -> None:
        """What is known of one plan now; replaces what was said of it before, but for its last runs."""
        values: dict[str, Value] = {
            "ready": ready,
            "in_sync": in_sync,
            "forecast_recovery_time_seconds": forecast_recovery_time,
            "forecast_data_loss_seconds": forecast_data_loss,
            "last_successful_test_timestamp_seconds": last_successful_test,
            "test_max_age_seconds": test_max_age,
            "test_running": test_running,
            "test_resources": test_resources,
        }
        for suffix, value in values.items():
            self._set(f"recovery_plan_{suffix}", value, namespace, name)
        for possible in ActiveState:
            self._set("recovery_plan_state", None if state is None else possible == state, namespace, name, possible)

    def last_run(
        self,
        namespace: str,
        plan: str,
        type_: str,
        result: str,
        *,
        recovery_time: float | None = None,
        data_loss: float | None = None,
    ) -> None:
        """The newest finished run of that type. Safe to repeat: also said of what an earlier process ran."""
        self._gauges["recovery_plan_last_run_result"].remove_by_labels(
            {"namespace": namespace, "name": plan, "type": type_}
        )
        self._set("recovery_plan_last_run_result", 1, namespace, plan, type_, result)
        self._set("recovery_plan_last_run_recovery_time_seconds", recovery_time, namespace, plan, type_)
        self._set("recovery_plan_last_run_data_loss_seconds", data_loss, namespace, plan, type_)

    def drop_plan(self, namespace: str, name: str) -> None:
        """The plan is gone, and the count of its runs with it."""
        self._drop("recovery_plan_", namespace=namespace, name=name)
        self._counters["recovery_runs_total"].remove_by_labels({"namespace": namespace, "plan": name})

    # -- Recovery runs

    def run_awaits_approval(self, namespace: str, name: str, plan: str, *, waiting: bool) -> None:
        """Said of every active run, waiting or not."""
        self._set("recovery_run_awaiting_approval", waiting, namespace, name, plan)

    def run_step(self, namespace: str, name: str, plan: str, step: str, *, started: Value, timeout: Value) -> None:
        """A step of the run is under way. *timeout* in seconds, None where it has no limit."""
        self._set("recovery_run_step_start_timestamp_seconds", started, namespace, name, plan, step)
        self._set("recovery_run_step_timeout_seconds", timeout, namespace, name, plan, step)

    def run_step_ended(self, namespace: str, name: str, plan: str, step: str) -> None:
        """The step is over, well or not."""
        self.run_step(namespace, name, plan, step, started=None, timeout=None)

    def run_finished(
        self,
        namespace: str,
        name: str,
        plan: str,
        type_: str,
        result: str,
        *,
        recovery_time: float | None = None,
        data_loss: float | None = None,
    ) -> None:
        """Count a run once, after its terminal status is written, and end its series."""
        self._counters["recovery_runs_total"].labels(namespace, plan, type_, result).inc()
        self.last_run(namespace, plan, type_, result, recovery_time=recovery_time, data_loss=data_loss)
        self.drop_run(namespace, name)

    def drop_run(self, namespace: str, name: str) -> None:
        """The run is gone or over."""
        self._drop("recovery_run_", namespace=namespace, name=name)

    # -- Sites, pairs, backends

    def site(self, name: str, *, reachable: bool) -> None:
        """Whether the vCenter answers."""
        self._set("site_reachable", reachable, name)

    def drop_site(self, name: str) -> None:
        """The Site is gone."""
        self._drop("site_", site=name)

    def pair(self, name: str, site: str, *, reachable: bool, clock_offset: float | None = None) -> None:
        """Whether the pair's endpoint at *site* answers, and its clock minus ours in seconds."""
        self._set("replication_pair_reachable", reachable, name, site)
        self._set("replication_pair_clock_offset_seconds", clock_offset, name, site)

    def drop_pair(self, name: str) -> None:
        """The ReplicationPair is gone."""
        self._drop("replication_pair_", pair=name)

    def backend_call(self, backend: str, operation: str, result: str, seconds: float) -> None:
        """One call has ended. *backend* names the adapter and site, *result* is `ok` or the reason of the error."""
        self._counters["backend_calls_total"].labels(backend, operation, result).inc()
        self._histograms["backend_call_duration_seconds"].labels(backend, operation, result).observe(seconds)

    # -- The operator itself

    def lease(self, *, held: bool) -> None:
        """Whether this process leads."""
        self._set("lease_held", held)

    def approval_policy(self, *, installed: bool) -> None:
        """Whether the ValidatingAdmissionPolicy that guards approvals stands in the cluster."""
        self._set("approval_policy_installed", installed)

    def _set(self, name: str, value: Value, *labels: str) -> None:
        gauge = self._gauges[name]
        if value is None:
            gauge.remove_by_labels(dict(zip(_LABELS[name], labels, strict=True)))
            return
        number = value.timestamp() if isinstance(value, datetime) else float(value)
        (gauge.labels(*labels) if labels else gauge).set(number)

    def _drop(self, prefix: str, **labels: str) -> None:
        for name, gauge in self._gauges.items():
            if name.startswith(prefix):
                gauge.remove_by_labels(labels)


_LABELS = {row.name: row.labels for row in TABLE}
