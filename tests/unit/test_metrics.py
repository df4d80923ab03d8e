"""Metrics: the table, absence for what is not known, no series of what is gone, and promtool's opinion."""

from __future__ import annotations

import os
import shutil
import subprocess
from datetime import UTC, datetime

import pytest

from resurgo.metrics import PREFIX, TABLE, Metrics

POINT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def series(metrics: Metrics, about: str = "") -> dict[str, float]:
    """Every line that holds *about*, by name and labels."""
    lines = [line for line in metrics.text().decode().splitlines() if not line.startswith("#") and about in line]
    return {line.rpartition(" ")[0].removeprefix(PREFIX): float(line.rpartition(" ")[2]) for line in lines}


def fill(metrics: Metrics) -> None:
    """Say everything once."""
    metrics.group(
        "erp",
        "db",
        rpo_target=900,
        last_recovery_point=POINT,
        observed=POINT,
        healthy=True,
        writable_sites=1,
        vms=12,
        unprotected=0,
        last_sync_seconds=4.5,
        last_sync_bytes=2**20,
    )
    metrics.plan(
        "erp",
        "all",
        ready=True,
        in_sync=False,
        state="protected",
        forecast_recovery_time=600,
        forecast_data_loss=30,
        last_successful_test=POINT,
        test_max_age=7776000,
        test_resources=0,
    )
    metrics.run_awaits_approval("erp", "r1", "all", waiting=True)
    metrics.run_step("erp", "r2", "all", "Failover", started=POINT, timeout=300)
    metrics.run_finished("erp", "r0", "all", "Test", "Succeeded", recovery_time=512, data_loss=10)
    metrics.site("berlin", reachable=True)
    metrics.pair("ber-lpz", "berlin", reachable=False, clock_offset=-0.5)
    metrics.backend_call("vsphere/berlin", "PowerOnVM_Task", "ok", 0.2)
    metrics.approval_policy(installed=True)


def test_a_group_is_told_with_timestamps_and_numbers() -> None:
    metrics = Metrics()
    fill(metrics)
    labels = '{name="db",namespace="erp"}'
    told = series(metrics, 'name="db"')
    assert POINT.timestamp() == told[f"protection_group_last_recovery_point_timestamp_seconds{labels}"]
    assert 12 == told[f"protection_group_virtual_machines{labels}"]
    assert 0 == told[f"protection_group_suspended{labels}"]


def test_what_is_not_known_is_absent_and_disappears_when_it_is_forgotten() -> None:
    metrics = Metrics()
    metrics.group("erp", "db", rpo_target=0)
    assert {"protection_group_rpo_target_seconds", "protection_group_suspended"} == {
        name.partition("{")[0] for name in series(metrics, 'name="db"')
    }
    metrics.group("erp", "db", rpo_target=0, last_recovery_point=POINT)
    metrics.group("erp", "db", rpo_target=0, last_recovery_point=None)
    assert not [name for name in series(metrics) if "last_recovery_point" in name]


def test_exactly_one_state_of_a_plan_is_1() -> None:
    metrics = Metrics()
    for state in ("protected", "recovered"):
        metrics.plan("erp", "all", ready=True, in_sync=True, state=state)
    told = {name: value for name, value in series(metrics).items() if name.startswith("recovery_plan_state")}
    assert 3 == len(told)
    assert [f'recovery_plan_state{{name="all",namespace="erp",state="{state}"}}'] == [
        name for name, value in told.items() if value
    ]
    metrics.plan("erp", "all", ready=False, in_sync=False, state=None)
    assert not [name for name in series(metrics) if name.startswith("recovery_plan_state")]


def test_a_newer_run_of_the_same_type_takes_the_place_of_the_older() -> None:
    metrics = Metrics()
    for result in ("Failed", "Succeeded"):
        metrics.run_finished("erp", "r", "all", "Test", result)
    metrics.run_finished("erp", "r", "all", "PlannedMigration", "Failed")
    results = {name for name in series(metrics) if name.startswith("recovery_plan_last_run_result")}
    assert {
        'recovery_plan_last_run_result{name="all",namespace="erp",result="Succeeded",type="Test"}',
        'recovery_plan_last_run_result{name="all",namespace="erp",result="Failed",type="PlannedMigration"}',
    } == results
    assert 3 == sum(value for name, value in series(metrics).items() if name.startswith("recovery_runs_total"))


def test_nothing_is_left_of_what_is_gone() -> None:
    metrics = Metrics()
    fill(metrics)
    metrics.group("erp", "other", rpo_target=1)
    metrics.drop_group("erp", "db")
    metrics.drop_plan("erp", "all")
    metrics.drop_run("erp", "r1")
    metrics.run_step_ended("erp", "r2", "all", "Failover")
    metrics.drop_site("berlin")
    metrics.drop_pair("ber-lpz")
    for gone in ('name="db"', '"all"', '"r1"', '"r2"', 'site="berlin"', "ber-lpz"):
        assert {} == series(metrics, gone), gone
    assert series(metrics, 'name="other"')
    metrics.drop_group("erp", "never-seen")


def test_two_registries_do_not_meet() -> None:
    first, second = Metrics(), Metrics()
    first.lease(held=True)
    assert ({"lease_held": 1.0}, {"lease_held": 0.0}) == (series(first, "lease_held"), series(second, "lease_held"))


def test_every_row_of_the_table_can_be_told() -> None:
    metrics = Metrics()
    fill(metrics)
    metrics.run_step("erp", "r2", "all", "Failover", started=POINT, timeout=300)
    text = metrics.text().decode()
    untold = [row.name for row in TABLE if f"\n{PREFIX}{row.name}" not in text]
    assert [] == untold


def test_promtool_has_nothing_to_say() -> None:
    promtool = shutil.which("promtool")
    if not promtool:
        if os.environ.get("CI") == "true":
            pytest.fail("promtool is needed: install Debian's package `prometheus`")
        pytest.skip("no promtool on PATH: install Debian's package `prometheus`")
    metrics = Metrics()
    fill(metrics)
    done = subprocess.run(
        [promtool, "check", "metrics"], input=metrics.text(), capture_output=True, timeout=60, check=False
    )
    assert (0, "") == (done.returncode, (done.stdout + done.stderr).decode())
