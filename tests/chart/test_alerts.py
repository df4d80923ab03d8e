"""Alerts: each is silent while all is well, fires after its time and clears; they read only what the operator tells.

Written for promtool: a case says in the syntax of its `values` what a series does, one value a minute.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from tests.chart.conftest import CHART

from resurgo.metrics import PREFIX, TABLE

RULES = CHART / "files" / "alerts.yaml"
GROUP = '{namespace="a",name="g"}'


@dataclass(frozen=True)
class Case:
    """*silent*, *firing*, *cleared*: minutes at which the alert is looked at; *firing* counts those that fire."""

    alert: str
    series: dict[str, str]
    silent: int
    firing: int
    cleared: int | None
    count: int = 1


def gauge(name: str, values: str, labels: str = GROUP) -> dict[str, str]:
    return {f"{PREFIX}{name}{labels}": values}


def target(seconds: int) -> dict[str, str]:
    return gauge("protection_group_rpo_target_seconds", f"{seconds}x3000")


POINT = "protection_group_last_recovery_point_timestamp_seconds"
STEP = '{namespace="a",name="r",plan="p",step="Failover"}'
SITE = '{site="berlin"}'
PAIR = '{pair="p",site="berlin"}'

CASES = [
    # A point at minute 0 and none until minute 60: late against 900 s from minute 15, twice late from minute 30.
    Case("ResurgoRPODrift", target(900) | gauge(POINT, "0x60 3660+60x60"), silent=19, firing=22, cleared=70),
    Case("ResurgoRPODrift", target(900) | gauge(POINT, "0x60 3660+60x60"), silent=19, firing=40, cleared=70, count=2),
    Case(
        "ResurgoSynchronousReplicationLost",
        target(0) | gauge("protection_group_replication_healthy", "1x10 0x10 1x10"),
        silent=10,
        firing=14,
        cleared=25,
    ),
    Case("ResurgoNeverReplicated", target(900) | gauge(POINT, "_x90 5400x10"), silent=59, firing=62, cleared=95),
    Case(
        "ResurgoObservationStale",
        gauge("protection_group_observed_timestamp_seconds", "0+60x20 1200x30 3060+60x20"),
        silent=30,
        firing=38,
        cleared=55,
    ),
    Case("ResurgoSplitBrain", gauge("protection_group_writable_sites", "1x10 2x10 1x10"), 10, 13, 25),
    Case("ResurgoPlanNotReady", gauge("recovery_plan_ready", "1x10 0x30 1x10"), 20, 28, 45),
    Case(
        "ResurgoTestOverdue",
        gauge("recovery_plan_test_max_age_seconds", "3600x300")
        | gauge("recovery_plan_last_successful_test_timestamp_seconds", "0x200 12000x50"),
        silent=110,
        firing=125,
        cleared=210,
    ),
    Case("ResurgoTestOverdue", gauge("recovery_plan_test_max_age_seconds", "3600x300 0x20"), 50, 65, 310),
    Case(
        "ResurgoTestCleanupPending",
        gauge("recovery_plan_test_resources", "5x1600 0x10") | gauge("recovery_plan_test_running", "1x60 0x1600"),
        silent=1400,
        firing=1510,
        cleared=1605,
    ),
    Case(
        "ResurgoRunStuck",
        gauge("recovery_run_step_start_timestamp_seconds", "0x20 stale", STEP)
        | gauge("recovery_run_step_timeout_seconds", "300x20 stale", STEP),
        silent=5,
        firing=8,
        cleared=25,
    ),
    Case(
        "ResurgoRunFailed",
        gauge(
            "recovery_plan_last_run_result", "_x5 1x10 stale", '{namespace="a",name="p",type="Test",result="Failed"}'
        ),
        silent=4,
        firing=8,
        cleared=20,
    ),
    Case(
        "ResurgoRunAwaitingApproval",
        gauge("recovery_run_awaiting_approval", "1x20 stale", '{namespace="a",name="r",plan="p"}'),
        silent=8,
        firing=12,
        cleared=25,
    ),
    Case("ResurgoSiteUnreachable", gauge("site_reachable", "1x5 0x10 1x5", SITE), 6, 9, 18),
    Case("ResurgoPairUnreachable", gauge("replication_pair_reachable", "1x5 0x10 1x5", PAIR), 9, 13, 18),
    Case("ResurgoClockOffset", gauge("replication_pair_clock_offset_seconds", "0x5 -90x25 1x5", PAIR), 15, 23, 34),
    Case("ResurgoControllerAbsent", {'up{job="resurgo-operator"}': "1x10 0x10 1x10"}, 13, 18, 25),
    Case("ResurgoNobodyLeads", gauge("lease_held", "1x10 0x10 1x10", '{pod="p1"}'), 13, 18, 25),
    Case("ResurgoApprovalPolicyMissing", gauge("approval_policy_installed", "1x10 0x30 1x10", ""), 20, 28, 45),
]
QUIET = [
    (
        "a suspended group is silent",
        target(900) | gauge(POINT, "0x60") | gauge("protection_group_suspended", "1x60"),
        "ResurgoRPODrift",
        50,
    ),
    (
        "a test that runs is no leftover",
        gauge("recovery_plan_test_resources", "5x1600") | gauge("recovery_plan_test_running", "1x1600"),
        "ResurgoTestCleanupPending",
        1500,
    ),
]


@pytest.fixture(scope="session")
def promtool() -> str:
    found = shutil.which("promtool")
    if not found and os.environ.get("CI") == "true":
        pytest.fail("promtool is needed: install Debian's package `prometheus`")
    if not found:
        pytest.skip("no promtool on PATH: install Debian's package `prometheus`")
    return str(found)


def check(promtool: str, folder: Path, series: dict[str, str], looks: list[tuple[str, int, int]]) -> None:
    """*looks*: alert, minute, how many fire."""
    test = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [
            {
                "expr": f'count by (alertname) (ALERTS{{alertname="{alert}",alertstate="firing"}})',
                "eval_time": f"{minute}m",
                "exp_samples": [{"labels": f'{{alertname="{alert}"}}', "value": count}] if count else [],
            }
            for alert, minute, count in looks
        ],
    }
    document = {"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": [test]}
    file = folder / "test.yaml"
    file.write_text(yaml.safe_dump(document))
    done = subprocess.run([promtool, "test", "rules", file], capture_output=True, text=True, timeout=60, check=False)
    assert 0 == done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.alert}-{case.count}")
def test_an_alert_is_silent_fires_and_clears(promtool: str, tmp_path: Path, case: Case) -> None:
    looks = [(case.alert, case.silent, 0), (case.alert, case.firing, case.count)]
    if case.cleared is not None:
        looks.append((case.alert, case.cleared, 0))
    check(promtool, tmp_path, case.series, looks)


@pytest.mark.parametrize(("why", "series", "alert", "minute"), QUIET, ids=[quiet[0] for quiet in QUIET])
def test_what_must_not_alert(
    promtool: str, tmp_path: Path, why: str, series: dict[str, str], alert: str, minute: int
) -> None:
    check(promtool, tmp_path, series, [(alert, minute, 0)])


def test_a_restart_of_the_operator_resets_no_timer(promtool: str, tmp_path: Path) -> None:
    series = {
        f'{PREFIX}site_reachable{{site="berlin",pod="p1"}}': "0x2 stale",
        f'{PREFIX}site_reachable{{site="berlin",pod="p2"}}': "_x2 0x5",
    }
    check(promtool, tmp_path, series, [("ResurgoSiteUnreachable", 1, 0), ("ResurgoSiteUnreachable", 4, 1)])


def test_every_alert_has_a_case() -> None:
    rules = yaml.safe_load(RULES.read_text())["groups"][0]["rules"]
    assert {rule["alert"] for rule in rules if "alert" in rule} == {case.alert for case in CASES}


def test_promtool_accepts_the_file(promtool: str) -> None:
    done = subprocess.run([promtool, "check", "rules", RULES], capture_output=True, text=True, timeout=60, check=False)
    assert 0 == done.returncode, done.stdout + done.stderr


def test_rules_read_only_what_the_operator_tells() -> None:
    told = {PREFIX + row.name for row in TABLE}
    read = set(re.findall(rf"\b{PREFIX}[a-z_]+", RULES.read_text()))
    assert set() == read - told
