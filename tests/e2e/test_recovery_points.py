"""The age of the copy, as a scrape and the group's conditions tell it, while the array replicates and when it stops."""

from __future__ import annotations

import pytest
from tests.e2e import acting
from tests.e2e.acting import reason_of
from tests.e2e.scraping import series
from tests.lab.arrays import start_schedule
from tests.lab.lab import Lab, condition_of
from tests.lab.waiting import wait_until

pytestmark = pytest.mark.lab

_LABELS = 'name="lagging",namespace="dr-demo"'
_PREFIX = "resurgo_protection_group_"


def read(lab: Lab, metric: str) -> float:
    return series(lab.operator.metrics() or "", _PREFIX + metric).get(_LABELS, 0.0)


def lag(lab: Lab) -> float:
    """Seconds between the newest copy and the last reading of it."""
    return read(lab, "observed_timestamp_seconds") - read(lab, "last_recovery_point_timestamp_seconds")


def test_the_lag_rises_when_the_array_stops_to_replicate(lab: Lab):
    lab.patch("protectiongroup", "lagging", {"rpoSeconds": 8})
    schedule = start_schedule(lab.folder, lab.design.sites[0], 1)
    try:
        before = read(lab, "last_recovery_point_timestamp_seconds")
        wait_until(
            lambda: read(lab, "last_recovery_point_timestamp_seconds") > before and lag(lab) < 8,
            "copies arrive",
            every=0.2,
        )
        assert 8.0 == read(lab, "rpo_target_seconds")
        lab.wait_condition("protectiongroup", "lagging", "RPOMet")
    finally:
        schedule.stop()
    wait_until(lambda: lag(lab) > 8, "the lag exceeds the objective", every=0.2)
    group = acting.wait_for(
        lab, "protectiongroup", "lagging", lambda g: condition_of(g, "RPOMet") == "False", "the objective is missed"
    )
    assert "RPOExceeded" == (reason_of(group, "RPOMet") or ())[1]
    assert "older than the 8 s" in acting.wait_event(lab, "lagging", "RPOExceeded")
    assert 1.0 == read(lab, "replication_healthy")
