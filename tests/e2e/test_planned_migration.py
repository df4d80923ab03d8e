"""A planned migration of three VMs that a person made by hand: everything arrives, in order, once, and nothing else."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from tests.e2e import acting, by_hand, objects
from tests.e2e.by_hand import Identity
from tests.e2e.conftest import StartLab
from tests.e2e.scraping import series
from tests.lab import manifests
from tests.lab.design import DeviceDesign, LabDesign
from tests.lab.lab import Lab, condition_of
from tests.lab.sites import OPERATOR_USER
from tests.lab.waiting import wait_until

pytestmark = pytest.mark.lab

DB, APP, WEB = "Größe β-1", "app server 2", "web/3"  # first to last
DESIGN = LabDesign(
    devices=(DeviceDesign("ds-erp-01", "cg-erp"),),
    folders=("erp",),
    vms=(),
    groups={},
    plans=(),
    ip_rules=(
        {
            "network": "VM Network",
            "from": "10.1.0.0/24",
            "to": "10.2.0.0/24",
            "gateway": "10.2.0.1",
            "dns": ["10.2.0.53"],
        },
    ),
    sync_seconds=2,
)
ADDRESSES = {DB: "10.1.0.15/24", APP: "10.1.0.16/24"}  # WEB has its address from DHCP
QUICK = {"timeoutSeconds": 60}
GROUP = objects.group("by-hand", "ds-erp-01", "cg-erp", rpoSeconds=300)
STAGES = [
    {"name": "frontend", "dependsOn": ["application"], "virtualMachines": [{"name": WEB}], "readiness": QUICK},
    {"name": "database", "virtualMachines": [{"name": DB}], "readiness": QUICK},
    {"name": "application", "dependsOn": ["database"], "virtualMachines": [{"name": APP}], "readiness": QUICK},
]


@dataclass
class Children:
    """The command lines of every process below the operator, looked at all the time."""

    pid: int
    seen: set[str] = field(default_factory=set)
    stop: threading.Event = field(default_factory=threading.Event)

    def watch(self) -> None:
        while not self.stop.wait(0.01):
            for child in _below(self.pid):
                try:
                    self.seen.add(Path(f"/proc/{child}/cmdline").read_text().replace("\0", " "))
                except OSError:
                    continue


def _below(pid: int) -> Iterator[int]:
    try:
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            for child in map(int, children.read_text().split()):
                yield child
                yield from _below(child)
    except OSError:
        return


@dataclass
class Migration:
    """A migration that has ended, and what was seen before and meanwhile."""

    lab: Lab
    run: dict[str, Any]
    before: dict[str, Identity]
    vmx: dict[str, str]
    scrapes: list[str]
    command_lines: set[str]
    counters: dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def migration(start_lab: StartLab) -> Migration:
    lab = start_lab(DESIGN)
    for name, address in ADDRESSES.items():
        lab.protected.admin.guest(name, ips=[address])
    vmx = {
        name: by_hand.create_vm(
            lab.protected,
            name,
            "ds-erp-01",
            "/berlin/vm/erp",
            networks=("VM Network", "Backup"),
            disks_mb=(4, 8),
            cpus=cpus,
            memory_mb=512 * cpus,
            annotation=f"Notiz zu {name}\nzweite Zeile",
            extra={"owner.team": f"Team {name}", "owner.cost-centre": "47/11"},
        )
        for name, cpus in ((WEB, 1), (DB, 2), (APP, 4))
    }
    before = {name: by_hand.identity(lab.protected, name) for name in vmx}
    wait_until(
        lambda: all(lab.protected.admin.vms()[n.replace("/", "%2f")]["ip"] for n in vmx), "the guests have addresses"
    )
    for name, path in vmx.items():
        (_files(lab, 0, path) / "left by hand.txt").write_text(f"für {name}")
    lab.kube.apply(GROUP, objects.plan("by-hand", "by-hand", stages=STAGES))
    acting.ready(lab, "by-hand")
    addresses_known(lab)
    children = Children(lab.operator.process.pid)
    watching = threading.Thread(target=children.watch)
    watching.start()
    scrapes: list[str] = []
    for sim in lab.sites.values():
        sim.admin.reset_counters()
    try:
        run = acting.recover(lab, "by-hand")
        run = _scraping(lab, run, scrapes)
    finally:
        children.stop.set()
        watching.join()
    counters = {name: sim.admin.counters() for name, sim in lab.sites.items()}
    return Migration(lab, run, before, vmx, scrapes, children.seen, counters)


def addresses_known(lab: Lab) -> None:
    """The guests' addresses have reached the group's record, without which no rule can be applied."""

    def known() -> bool:
        vms = lab.protected.admin.vms()
        return all(vms[n.replace("/", "%2f")]["ip"] == a.partition("/")[0] for n, a in ADDRESSES.items())

    wait_until(known, "the guests show their addresses")


def _scraping(lab: Lab, run: dict[str, Any], scrapes: list[str]) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        scrapes.append(lab.operator.metrics() or "")
        found = lab.get("recoveryrun", run["metadata"]["name"])
        return found if found.get("status", {}).get("phase") in acting.OVER else None

    wait_until(look, f"the run ends; operator's log {lab.operator.log}", seconds=90, every=0.05)
    return acting.over(lab, run)


def _files(lab: Lab, site: int, vmx: str) -> Path:
    folder = vmx.partition("] ")[2].rpartition("/")[0]
    return lab.array(lab.design.sites[site]) / "cg-erp" / "live" / "ds-erp-01" / folder


def at_leipzig(migration: Migration, name: str) -> dict[str, Any]:
    found: dict[str, Any] = migration.lab.recovery.admin.vms()[name.replace("/", "%2f")]
    return found


def test_the_run_says_that_everything_succeeded_and_nothing_was_lost(migration: Migration):
    status = migration.run["status"]
    assert "Succeeded" == status["phase"], json.dumps(status, indent=1)
    assert ("True", "Recovered", "3 of 3 VMs are ready at leipzig") == acting.reason_of(migration.run, "Succeeded")
    assert {"total": 3, "ready": 3, "failed": 0, "skipped": 0} == status["counts"]
    assert 0 == status["achieved"]["dataLossSeconds"]
    assert 0 < status["achieved"]["recoveryTimeSeconds"] <= 90
    assert [] == status["failures"]


def test_every_step_is_done_and_has_its_times(migration: Migration):
    steps = migration.run["status"]["steps"]
    wanted = [
        *("Preflight", "PreSync", "ShutDown", "Unregister", "Unmount", "FinalSync", "PrepareFailover", "Failover"),
        *("Present", "Register", "Configure", "PowerOn", "Ready"),
    ]
    assert wanted == [s["name"] for s in steps]
    assert {"Done"} == {s["state"] for s in steps}
    assert all(s["startTime"] <= s["endTime"] for s in steps)
    assert [s["progress"]["total"] for s in steps if s["name"] in {"Register", "Failover"}] == [1, 3]


@pytest.mark.parametrize("name", [DB, APP, WEB])
def test_the_vm_is_the_same_one_at_leipzig(migration: Migration, name: str):
    assert migration.before[name] == by_hand.identity(migration.lab.recovery, name)


@pytest.mark.parametrize("name", [DB, APP, WEB])
def test_the_vm_runs_in_the_mapped_folder_pool_and_networks(migration: Migration, name: str):
    found = at_leipzig(migration, name)
    assert ("poweredOn", "/leipzig/vm/erp", "/leipzig/host/c2/Resources", ["DR Network", "DR Backup"]) == (
        found["powerState"],
        found["folder"],
        found["pool"],
        found["networks"],
    )


def test_the_vms_are_spread_over_the_hosts(migration: Migration):
    assert {"esx-lpz-1", "esx-lpz-2"} == {vm["host"] for vm in migration.lab.recovery.admin.vms().values()}


def test_berlin_holds_neither_vms_nor_the_datastore(migration: Migration):
    assert ({}, {}) == (migration.lab.protected.admin.vms(), migration.lab.protected.admin.datastores())


def test_leipzig_mounts_the_datastore_on_every_host_from_its_own_array(migration: Migration):
    store = migration.lab.recovery.admin.datastores()["ds-erp-01"]
    assert ("nfs-lpz.lab", "/cg-erp/ds-erp-01", ["esx-lpz-1", "esx-lpz-2"], True) == (
        store["server"],
        store["path"],
        store["hosts"],
        store["accessible"],
    )


@pytest.mark.parametrize("name", [DB, APP, WEB])
def test_a_file_left_in_the_vms_folder_is_there_afterwards(migration: Migration, name: str):
    assert f"für {name}" == (_files(migration.lab, 1, migration.vmx[name]) / "left by hand.txt").read_text()


def test_the_vms_went_down_and_came_up_in_the_order_of_the_stages(migration: Migration):
    record = migration.lab.protected.admin.writers()
    went = {r["vm"].replace("%2f", "/"): _time(r["off"]) for r in record["runs"] if r["site"] == "berlin"}
    came = {r["vm"].replace("%2f", "/"): _time(r["on"]) for r in record["runs"] if r["site"] == "leipzig"}
    assert [WEB, APP, DB] == sorted(went, key=went.__getitem__)
    assert [DB, APP, WEB] == sorted(came, key=came.__getitem__)
    assert max(went.values()) < min(came.values())
    assert [] == record["overlaps"]


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


@pytest.mark.parametrize(("name", "address"), [(DB, "10.2.0.15"), (APP, "10.2.0.16")])
def test_the_guest_has_the_address_that_the_rule_gives_it(migration: Migration, name: str, address: str):
    wait_until(lambda: at_leipzig(migration, name)["ip"] == address, f"{name} has {address} at leipzig")
    extra = at_leipzig(migration, name)["extraConfig"]
    assert "10.2.0.1" in {v for k, v in extra.items() if "gateway" in k}
    assert "10.2.0.53" in {v for k, v in extra.items() if "dns" in k}


def test_a_guest_that_no_rule_covers_is_not_customized(migration: Migration):
    calls = migration.counters["leipzig"]["mutations"]
    assert {f"CustomizeVM_Task {n}" for n in (DB, APP)} == {c for c in calls if c.startswith("CustomizeVM_Task")}


def test_nothing_was_asked_twice_of_a_vcenter_and_nothing_was_refused(migration: Migration):
    for name, counters in migration.counters.items():
        assert {} == {what: n for what, n in counters["mutations"].items() if n > 1}, name
        assert counters["mutations"] == counters["effects"], name
        assert 0 == counters["panics"], name


def test_journal_and_snapshot_are_owned_by_the_run(migration: Migration):
    run = migration.run["metadata"]
    items = migration.lab.kube.get("configmaps", "-n", migration.lab.namespace)["items"]
    owned = {c["metadata"]["name"]: c["metadata"].get("ownerReferences", []) for c in items}
    for name in (f"{run['name']}.snapshot.resurgo.dev", f"{run['name']}.journal-0.resurgo.dev"):
        assert [("RecoveryRun", run["name"], run["uid"])] == [(o["kind"], o["name"], o["uid"]) for o in owned[name]]


def test_plan_and_group_say_where_the_workloads_are(migration: Migration):
    lab = migration.lab
    plan = acting.wait_for(
        lab, "recoveryplan", "by-hand", lambda p: condition_of(p, "InSync") == "True", "the plan is in sync"
    )
    status = plan["status"]
    assert ("leipzig", "Recovered", "recovered") == (status["activeSite"], status["phase"], status["observedState"])
    assert ("Succeeded", migration.run["metadata"]["name"]) == (status["lastRun"]["result"], status["lastRun"]["name"])
    assert "activeRun" not in status
    group = acting.wait_for(
        lab, "protectiongroup", "by-hand", lambda g: g["status"].get("activeSite") == "leipzig", "the group has moved"
    )
    assert "activeRun" not in group["status"]


# -- metrics ---------------------------------------------------------------------------------------


def test_metrics_tell_objective_recovery_point_and_time_of_reading(migration: Migration):
    scrape = migration.lab.operator.metrics() or ""
    labels = 'name="by-hand",namespace="dr-demo"'
    started = _time(migration.run["status"]["startTime"]).timestamp()
    assert {labels: 300.0} == series(scrape, "resurgo_protection_group_rpo_target_seconds")
    point = series(scrape, "resurgo_protection_group_last_recovery_point_timestamp_seconds")[labels]
    assert started <= point
    assert point <= series(scrape, "resurgo_protection_group_observed_timestamp_seconds")[labels]
    assert 3.0 == series(scrape, "resurgo_protection_group_virtual_machines")[labels]


def test_metrics_show_each_step_while_it_runs_and_only_then(migration: Migration):
    name = "resurgo_recovery_run_step_start_timestamp_seconds"
    seen = {labels.partition('step="')[2].rstrip('"') for s in migration.scrapes for labels in series(s, name)}
    assert {"ShutDown", "Failover", "Ready"} <= seen
    assert {} == series(migration.lab.operator.metrics() or "", name)


def test_metrics_tell_the_runs_result_and_the_plans_state(migration: Migration):
    def known() -> str | None:
        scrape = migration.lab.operator.metrics() or ""
        return scrape if series(scrape, "resurgo_recovery_plan_last_run_data_loss_seconds") else None

    scrape = wait_until(known, "the last run is in the metrics")
    total = {k: v for k, v in series(scrape, "resurgo_recovery_runs_total").items() if v}
    assert {'namespace="dr-demo",plan="by-hand",result="Succeeded",type="PlannedMigration"': 1.0} == total
    assert [0.0] == list(series(scrape, "resurgo_recovery_plan_last_run_data_loss_seconds").values())
    states = series(scrape, "resurgo_recovery_plan_state")
    assert ['name="by-hand",namespace="dr-demo",state="recovered"'] == [k for k, v in states.items() if v == 1.0]


def test_promtool_accepts_what_is_scraped(migration: Migration):
    promtool = migration.lab.kube._toolchain.find_optional("promtool")
    if promtool is None:
        pytest.skip("no promtool on PATH: install Debian's package `prometheus`")
    scrape = migration.lab.operator.metrics() or ""
    done = subprocess.run([promtool, "check", "metrics"], input=scrape, capture_output=True, text=True, check=False)
    assert (0, "") == (done.returncode, done.stdout + done.stderr)


# -- secrets ---------------------------------------------------------------------------------------


def test_no_password_is_in_log_status_events_config_maps_or_command_lines(migration: Migration):
    lab = migration.lab
    passwords = {sim.passwords[OPERATOR_USER] for sim in lab.sites.values()}
    passwords |= {manifests.array_secret(lab.folder, s)["stringData"]["password"] for s in lab.design.sites}
    assert 4 == len(passwords)
    kinds = "sites,replicationpairs,inventorymappings,protectiongroups,recoveryplans,recoveryruns,configmaps,leases"
    places = {
        "log": lab.operator.log.read_text(),
        "objects": json.dumps(lab.kube.get(kinds, "-A")),
        "events": json.dumps(lab.kube.get("events", "-A")),
        "command lines": "\n".join(migration.command_lines),
        "metrics": "\n".join(migration.scrapes),
    }
    assert any("dirarray" in line for line in migration.command_lines), "no child of the operator was seen"
    assert [] == [where for where, text in places.items() for password in passwords if password in text]


# -- exactly once ----------------------------------------------------------------------------------


def _pass_by(lab: Lab, plan: str) -> None:
    """Until the operator has looked at the plan's present generation."""
    acting.wait_for(
        lab,
        "recoveryplan",
        plan,
        lambda p: p["status"].get("observedGeneration") == p["metadata"]["generation"],
        "the plan was looked at",
    )


def test_asking_again_for_what_is_done_does_nothing(migration: Migration):
    lab = migration.lab
    with acting.Untouched(lab):
        lab.patch("recoveryplan", "by-hand", {"desiredState": "recovered"})
        lab.kube.apply(GROUP, objects.plan("by-hand", "by-hand", stages=STAGES, desiredState="recovered"))
        lab.patch("recoveryplan", "by-hand", {"runHistoryLimit": 7})
        _pass_by(lab, "by-hand")
        assert [migration.run["metadata"]["name"]] == [r["metadata"]["name"] for r in acting.runs(lab)]


def test_a_restarted_operator_does_nothing_after_success(migration: Migration):
    lab = migration.lab
    with acting.Untouched(lab):
        lab.operator.stop()
        lab.operator.start()
        lab.patch("recoveryplan", "by-hand", {"runHistoryLimit": 8})
        _pass_by(lab, "by-hand")
        wait_until(
            lambda: series(lab.operator.metrics() or "", "resurgo_recovery_plan_in_sync").values(),
            "the plan is measured",
        )
        assert [migration.run["metadata"]["name"]] == [r["metadata"]["name"] for r in acting.runs(lab)]


def test_deleting_run_plan_and_group_touches_no_vm(migration: Migration):
    lab = migration.lab
    vms = lab.recovery.admin.vms()
    with acting.Untouched(lab):
        for kind, name in (
            ("recoveryrun", migration.run["metadata"]["name"]),
            ("recoveryplan", "by-hand"),
            ("protectiongroup", "by-hand"),
        ):
            done = lab.kube.kubectl("delete", kind, name, "-n", lab.namespace, "--timeout=30s")
            assert (0, "") == (done.returncode, done.stderr)
    assert vms == lab.recovery.admin.vms()
