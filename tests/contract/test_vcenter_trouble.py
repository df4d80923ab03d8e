"""What the adapter for real vCenters makes of trouble: trust, sessions, hangs, lost answers, faults."""

from __future__ import annotations

import asyncio
import hashlib
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.contract.vcenter_world import DS1, FOLDER, POOL, SPARE, SimWorld, eventually, first_host, named
from tests.lab.pki import Pki
from tests.lab.toolchain import ROOT, Toolchain

from resurgo.adapters.vsphere import Trust, VSphereGateway
from resurgo.domain.errors import (
    Busy,
    DrError,
    InvalidState,
    Missing,
    NotAllowed,
    OutcomeUnknown,
    Rejected,
    Throttled,
    Unreachable,
)
from resurgo.domain.inventory import Power
from resurgo.domain.ports import Done, IpSettings, Mark, NicChange

pytestmark = pytest.mark.lab


@pytest.fixture
async def world(toolchain: Toolchain, tmp_path: Path) -> AsyncIterator[SimWorld]:
    real = SimWorld(toolchain, tmp_path)
    try:
        real.gateway.start()
        await real.gateway.refresh()
        await eventually(lambda: real.gateway.reachable, "the first probe is answered")
        real.sim.admin.reset_counters()
        yield real
    finally:
        await real.gateway.aclose()
        real.sim.stop()


# -- Trust and login


def thumbprint(world: SimWorld) -> str:
    pem = (world.pki.folder / f"vcenter-{world.sim.site.name}.crt").read_text()
    digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest().upper()
    return ":".join(digest[i : i + 2] for i in range(0, len(digest), 2))


async def facts_of(gateway: VSphereGateway) -> object:
    gateway.start()
    try:
        return await gateway.facts()
    finally:
        await gateway.aclose()


async def test_the_right_thumbprint_is_enough(world: SimWorld) -> None:
    assert await facts_of(world.connect(Trust(thumbprint=thumbprint(world))))
    assert await facts_of(world.connect(Trust(thumbprint=thumbprint(world).replace(":", "").lower())))
    assert await facts_of(world.connect(Trust(insecure=True)))


@pytest.mark.parametrize("kind", ["thumbprint", "authority", "system"])
async def test_a_vcenter_that_is_not_trusted_is_named_and_told_nothing(
    world: SimWorld, kind: str, tmp_path: Path
) -> None:
    trust = {
        "thumbprint": Trust(thumbprint="AB:" * 31 + "AB"),
        "authority": Trust(ca_pem=Pki(tmp_path / "other").ca.read_text()),
        "system": Trust(),
    }[kind]
    logins = world.sim.admin.counters()["calls"].get("Login", 0)
    with pytest.raises(NotAllowed) as caught:
        await facts_of(world.connect(trust))
    assert "TrustFailed" == caught.value.reason
    assert f"CN=vcenter-{world.sim.site.name}" in str(caught.value)
    assert thumbprint(world) in str(caught.value)
    assert logins == world.sim.admin.counters()["calls"].get("Login", 0)


async def test_a_certificate_that_changes_under_way_is_refused(world: SimWorld, tmp_path: Path) -> None:
    other = Pki(tmp_path / "other").server("impostor")
    world.sim.admin.certificate(other.cert, other.key)
    world.sim.admin.outage("drop", count=1000)
    await eventually(lambda: not world.gateway.reachable, "connections break")
    world.sim.admin.outage("none")
    await eventually(lambda: _reason(world.gateway) == "TrustFailed", "the new certificate is seen")
    with pytest.raises(NotAllowed, match="impostor"):
        await world.gateway.facts()


def _reason(gateway: VSphereGateway) -> str:
    error = gateway._health.error()
    return "" if error is None else error.reason


async def test_a_wrong_password_is_tried_once(world: SimWorld) -> None:
    right, world.password = world.password, "not-the-pass-word"
    gateway = world.connect()
    gateway.start()
    try:
        for _ in range(3):
            with pytest.raises(NotAllowed) as caught:
                await gateway.facts()
            assert "InvalidCredentials" == caught.value.reason
            assert "not-the-pass-word" not in repr(caught.value)
        assert 1 == world.sim.admin.counters()["calls"]["Login"]
        world.password = right
        assert await gateway.facts()
    finally:
        await gateway.aclose()


async def test_missing_privileges_are_listed(toolchain: Toolchain, tmp_path: Path) -> None:
    world = SimWorld(toolchain, tmp_path, privileges=["System.Read", "System.View", "VirtualMachine.Interact.PowerOn"])
    world.gateway.start()
    try:
        missing = (await world.gateway.facts()).missing_privileges
        assert "VirtualMachine.Inventory.Register" in missing
        assert "VirtualMachine.Interact.PowerOn" not in missing
        await world.gateway.refresh()
        with pytest.raises(NotAllowed, match="app at berlin"):
            await world.gateway.ensure_powered_off(named(world.gateway, "app").id)
    finally:
        await world.gateway.aclose()
        world.sim.stop()


async def test_an_expired_session_is_renewed_unnoticed(world: SimWorld) -> None:
    db = named(world.gateway, "db").id
    world.sim.admin.expire_sessions()
    assert Done.DONE is await world.gateway.ensure_powered_on(db)
    assert Done.DONE is await world.gateway.ensure_powered_off(db)
    await world.gateway.refresh()
    assert world.sim.admin.counters()["calls"]["Login"] <= 2


# -- Time


async def test_the_end_of_a_task_is_seen_within_milliseconds(world: SimWorld) -> None:
    db = named(world.gateway, "db").id
    await world.gateway.ensure_powered_on(db)
    await world.gateway.ensure_powered_off(db)
    world.slow(0.2)
    started = time.monotonic()
    assert Done.DONE is await world.gateway.ensure_powered_on(db)
    assert 0.2 < time.monotonic() - started < 0.3


async def test_no_more_tasks_run_than_allowed(world: SimWorld) -> None:
    gateway = world.connect(concurrent_tasks=1)
    gateway.start()
    try:
        await gateway.refresh()
        vms = [named(gateway, name).id for name in ("app", "mute")]
        world.slow(0.2)
        started = time.monotonic()
        await asyncio.gather(*(gateway.ensure_powered_off(vm) for vm in vms))
        assert time.monotonic() - started > 0.4
    finally:
        await gateway.aclose()


# -- A site that hangs or goes away


async def test_a_hanging_site_blocks_neither_loop_nor_callers(world: SimWorld) -> None:
    site, db = world.gateway, named(world.gateway, "db")
    world.sim.admin.outage("hang")
    calls = [asyncio.create_task(site.read_vm(db.id)) for _ in range(30)]  # more than there are threads
    worst = 0.0
    started = time.monotonic()
    while site.reachable and time.monotonic() - started < 10:
        before = time.monotonic()
        await asyncio.sleep(0.01)
        worst = max(worst, time.monotonic() - before)
    assert time.monotonic() - started < 3
    assert worst < 0.2
    results = await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), 2)
    assert all(isinstance(result, Unreachable) for result in results)
    assert db == named(site, "db")
    world.sim.admin.outage("none")
    await eventually(lambda: site.reachable, "it answers again")
    assert Done.DONE is await site.ensure_powered_on(db.id)
    await eventually(lambda: named(site, "db").power is Power.ON, "the watch goes on")


async def test_a_task_whose_site_goes_away_has_an_unknown_outcome_and_is_found_again(world: SimWorld) -> None:
    site, db = world.gateway, named(world.gateway, "db").id
    world.slow(1.5)
    call = asyncio.create_task(site.ensure_powered_on(db))
    await eventually(lambda: "PowerOnVM_Task" in world.sim.admin.counters()["calls"], "the call has arrived")
    await asyncio.sleep(0.1)
    world.sim.admin.outage("hang")
    with pytest.raises(OutcomeUnknown, match="PowerOn of VM db at berlin"):
        await asyncio.wait_for(call, 10)
    world.sim.admin.outage("none")
    await eventually(lambda: site.reachable, "it answers again")
    assert Done.ALREADY is await site.ensure_powered_on(db)
    assert 1 == world.effects()["PowerOn db"]


@pytest.mark.parametrize("mode", ["hang", "refuse", "none"])
async def test_closing_takes_less_than_two_seconds(world: SimWorld, mode: str) -> None:
    db = named(world.gateway, "db").id
    world.sim.admin.outage(mode)
    calls = [asyncio.create_task(world.gateway.read_vm(db)) for _ in range(10)]
    await asyncio.sleep(0.1)
    started = time.monotonic()
    await world.gateway.aclose()
    assert time.monotonic() - started < 2
    results = await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), 1)
    assert all(r is None or not isinstance(r, Exception) or isinstance(r, DrError) for r in results)
    world.sim.admin.outage("none")
    await eventually(lambda: not [t for t in threading.enumerate() if t.name.startswith("vc-berlin")], "threads end")


def test_a_process_ends_although_calls_hang(tmp_path: Path, toolchain: Toolchain) -> None:
    script = tmp_path / "hang.py"
    script.write_text(
        f"""
import asyncio, sys, time
from pathlib import Path
sys.path.insert(0, {str(ROOT)!r})
from tests.contract.vcenter_world import SimWorld, named
from tests.lab.toolchain import Toolchain

async def main():
    world = SimWorld(Toolchain(), Path({str(tmp_path / "lab")!r}))
    try:
        world.gateway.start()
        await world.gateway.refresh()
        vm = named(world.gateway, "db").id
        world.sim.admin.outage("hang")
        tasks = [asyncio.create_task(world.gateway.read_vm(vm)) for _ in range(4)]
        await asyncio.sleep(0.1)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    finally:
        print(time.time(), flush=True)
        world.sim.stop()

asyncio.run(main())
"""
    )
    toolchain.find("labsim")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60, check=True)
    assert time.time() - float(done.stdout.split()[-1]) < 3


# -- Answers that are lost, and answers that say no


@pytest.mark.parametrize("mode", ["before", "after"])
async def test_a_dropped_call_is_judged_by_what_the_site_shows(world: SimWorld, mode: str) -> None:
    db = named(world.gateway, "db").id
    world.sim.admin.rules({"match": {"method": "PowerOnVM_Task"}, "max": 1, "effect": {"drop": mode, "when": "call"}})
    if mode == "after":
        assert Done.DONE is await world.gateway.ensure_powered_on(db)
    else:
        with pytest.raises(Unreachable, match="PowerOn of VM db at berlin"):
            await world.gateway.ensure_powered_on(db)
        assert Done.DONE is await world.gateway.ensure_powered_on(db)
    assert 1 == world.effects()["PowerOn db"]


async def test_a_lost_answer_of_a_site_that_goes_away_is_unknown(world: SimWorld) -> None:
    db = named(world.gateway, "db").id
    world.sim.admin.rules(
        {"match": {"method": "PowerOnVM_Task"}, "effect": {"delayMs": 3000, "when": "call"}},
    )
    call = asyncio.create_task(world.gateway.ensure_powered_on(db))
    await asyncio.sleep(0.2)
    world.sim.admin.outage("hang")
    with pytest.raises(OutcomeUnknown):
        await asyncio.wait_for(call, 15)
    world.sim.admin.outage("none")


FAULTS = [
    ("InsufficientMemoryResourcesFault", Busy),
    ("TaskInProgress", Busy),
    ("FileLocked", Busy),
    ("HostNotConnected", Busy),
    ("NoPermission", NotAllowed),
    ("FileNotFound", Missing),
    ("InvalidState", InvalidState),
    ("InvalidVmConfig", Rejected),
]


@pytest.mark.parametrize("when", ["call", "task"])
@pytest.mark.parametrize(("fault", "error"), FAULTS)
async def test_a_fault_becomes_an_error_with_vcenters_words(
    world: SimWorld, fault: str, error: type[DrError], when: str
) -> None:
    db = named(world.gateway, "db").id
    world.sim.admin.rules(
        {
            "match": {"method": "PowerOnVM_Task"},
            "effect": {"fault": {"type": fault, "message": "as the lab wants it"}, "when": when},
        }
    )
    with pytest.raises(error, match=r"PowerOn of VM db at berlin: .*as the lab wants it"):
        await world.gateway.ensure_powered_on(db)
    world.sim.admin.clear_rules()
    assert Done.DONE is await world.gateway.ensure_powered_on(db)


async def test_503_asks_for_patience_and_is_no_lost_answer(world: SimWorld) -> None:
    db = named(world.gateway, "db").id
    world.sim.admin.outage("503", match="RetrievePropertiesEx", count=1)
    with pytest.raises(Throttled):
        await world.gateway.read_vm(db)
    assert await world.gateway.read_vm(db) is not None


# -- Watching


async def test_changes_by_others_ring_and_show(world: SimWorld) -> None:
    db = named(world.gateway, "db")
    before = world.changes
    with world.sim.connect() as person:
        vm = person.content.searchIndex.FindByInventoryPath("berlin/vm/erp/db")
        vm.PowerOnVM_Task()
        await eventually(lambda: world.gateway.inventory().vms[db.id].power is Power.ON, "the power state shows")
        vm.Rename_Task("db-renamed")
        await eventually(lambda: world.gateway.inventory().vms[db.id].name == "db-renamed", "the name shows")
        person.content.rootFolder.childEntity[0].vmFolder.CreateFolder("new")
        await eventually(lambda: "/berlin/vm/new" in world.gateway.inventory().folders, "the folder shows")
    assert world.changes > before


async def test_an_inventory_that_did_not_change_is_the_same_object(world: SimWorld) -> None:
    await world.gateway.refresh()
    await asyncio.sleep(0.3)
    assert world.gateway.inventory() is world.gateway.inventory()


async def test_refresh_is_quick_and_not_older_than_the_call(world: SimWorld) -> None:
    with world.sim.connect() as person:
        folder = person.content.rootFolder.childEntity[0].vmFolder
        for i in range(5):
            folder.CreateFolder(f"f{i}")
            started = time.monotonic()
            assert f"/berlin/vm/f{i}" in (await world.gateway.refresh()).folders
            assert time.monotonic() - started < 0.8


async def test_every_call_is_counted_with_its_result(world: SimWorld) -> None:
    db = named(world.gateway, "db").id
    world.calls.clear()
    await world.gateway.ensure_powered_on(db)
    assert ("PowerOn", "ok") in [call[:2] for call in world.calls]
    assert all(0 <= seconds < 5 for _, _, seconds in world.calls)


async def test_nothing_of_the_simulator_broke(world: SimWorld) -> None:
    """The whole way of a VM to another datastore mount, as a net for what the simulator may refuse to do twice."""
    site = world.gateway
    app = named(site, "app")
    await site.ensure_powered_off(app.id)
    key = (await site.hardware([app.id]))[app.id].nics[0].key
    await site.ensure_unregistered(app.id)
    await site.ensure_mounted(SPARE, name="spare", host=first_host(site))
    _, vm = await site.ensure_registered(app.vmx, name="app", folder=FOLDER, pool=POOL, host=first_host(site))
    await site.ensure_configured(vm, nics=[NicChange(key, "Backup")], mark=Mark("r", "v"))
    await site.ensure_customization(vm, hostname="app", ips=[IpSettings(key, "10.0.0.9", 24)])
    await site.ensure_powered_on(vm)
    assert DS1 in [d.export for d in site.inventory().datastores]
    assert 0 == world.sim.admin.counters()["panics"]
