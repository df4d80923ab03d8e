"""One suite for the VCenter port, on the fake and, over labsim, on the adapter for real vCenters."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.contract.vcenter_world import (
    DS1,
    FOLDER,
    POOL,
    SPARE,
    FakeWorld,
    SimWorld,
    World,
    eventually,
    first_host,
    named,
)

from resurgo.domain.errors import Busy, InvalidPlan, InvalidState, Missing, Rejected, Unreachable
from resurgo.domain.inventory import DatastorePath, HostId, NfsExport, Power, Vm, VmId
from resurgo.domain.ports import Done, IpSettings, Mark, NicChange, VCenter

MARK = Mark(run="run-1", vm="vm-uuid-1")


@pytest.fixture(params=["fake", pytest.param("labsim", marks=pytest.mark.lab)])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    if request.param == "fake":
        fake = FakeWorld()
        yield fake
        await fake.site.aclose()
        return
    real = SimWorld(request.getfixturevalue("toolchain"), tmp_path)
    try:
        real.gateway.start()
        await real.gateway.refresh()
        await eventually(lambda: real.gateway.reachable, "the first probe is answered")
        await eventually(lambda: named(real.gateway, "app").tools_running, "app has booted")
        real.sim.admin.reset_counters()
        yield real
    finally:
        await real.gateway.aclose()
        real.sim.stop()


@pytest.fixture
def site(world: World) -> VCenter:
    return world.site


def grown(world: World, before: Counter[str]) -> Counter[str]:
    return world.effects() - before


# -- Reading


async def test_facts_tell_who_answers_and_that_nothing_is_missing(site: VCenter) -> None:
    facts = await site.facts()
    assert facts.instance_uuid
    assert "8.0.3" == facts.version
    assert () == facts.missing_privileges


async def test_the_inventory_names_everything_by_path(site: VCenter) -> None:
    inventory = site.inventory()
    assert "berlin" == inventory.site
    assert {"app", "db", "mute"} == {vm.name for vm in inventory.vms.values()}
    assert {"/berlin/vm", FOLDER, f"{FOLDER}/test"} <= set(inventory.folders)
    assert POOL in inventory.pools
    assert ["esx-1", "esx-2"] == [host.name for host in inventory.hosts_of_pool(POOL)]
    assert {"VM Network", "Backup"} <= set(inventory.networks)
    assert all(h.connected and not h.maintenance and h.memory_mb > 1024 for h in inventory.hosts.values())


async def test_a_vm_shows_what_it_is_and_where(site: VCenter) -> None:
    app = named(site, "app")
    assert f"{FOLDER}/app" == app.path
    assert POOL == app.pool
    assert DatastorePath("ds1", "app/app.vmx") == app.vmx
    assert ("ds1",) == app.datastores
    assert Power.ON is app.power
    assert app.connected
    assert app.tools_running
    assert "green" == app.heartbeat
    assert app.instance_uuid
    assert 512 == app.memory_mb
    assert app == await site.read_vm(app.id)
    assert not named(site, "mute").tools_running
    assert Power.OFF is named(site, "db").power


async def test_a_datastore_is_known_by_its_export(site: VCenter) -> None:
    inventory = site.inventory()
    ds1 = inventory.datastore_by_export(DS1)
    assert ds1 is not None
    assert ("ds1", "NFS") == (ds1.name, ds1.type)
    assert set(inventory.hosts) == ds1.hosts
    assert ds1.accessible
    assert ds1.writable
    assert inventory.datastore_by_export(SPARE) is None


async def test_hardware_lists_devices_and_leaves_out_vms_that_are_gone(site: VCenter) -> None:
    app, db = named(site, "app"), named(site, "db")
    found = await site.hardware([app.id, db.id, VmId("vm-nowhere")])
    assert {app.id, db.id} == set(found)
    hardware = found[app.id]
    assert ["VM Network", "Backup"] == [nic.network for nic in hardware.nics]
    assert all(nic.mac and nic.connected_at_power_on for nic in hardware.nics)
    assert 2 == len({nic.mac for nic in hardware.nics})
    assert all(disk.file.startswith("[ds1] app/") and not disk.raw for disk in hardware.disks)
    assert hardware.disks
    assert "the application" == hardware.annotation
    assert {} == hardware.marks
    assert not found[db.id].nics[0].addresses
    assert {} == await site.hardware([])


async def test_a_vm_that_is_gone_is_none_to_read_and_missing_to_change(site: VCenter) -> None:
    nowhere = VmId("vm-nowhere")
    assert await site.read_vm(nowhere) is None
    for change in (site.ensure_powered_on, site.ensure_powered_off, site.shut_down_guest):
        with pytest.raises(Missing):
            await change(nowhere)
    with pytest.raises(Missing):
        await site.ensure_configured(nowhere, nics=[], mark=MARK)
    with pytest.raises(Missing):
        await site.ensure_customization(nowhere, hostname="x", ips=[])
    assert Done.ALREADY is await site.ensure_unregistered(nowhere)


# -- Power


async def test_power_changes_once_and_shows_at_once(world: World, site: VCenter) -> None:
    db = named(site, "db").id
    before = world.effects()
    assert Done.DONE is await site.ensure_powered_on(db)
    assert Power.ON is site.inventory().vms[db].power
    assert Done.ALREADY is await site.ensure_powered_on(db)
    assert Done.DONE is await site.ensure_powered_off(db)
    assert Power.OFF is site.inventory().vms[db].power
    assert Done.ALREADY is await site.ensure_powered_off(db)
    assert Counter({"PowerOn db": 1, "PowerOff db": 1}) == grown(world, before)


async def test_tools_and_address_appear_by_themselves_after_power_on(site: VCenter) -> None:
    app = named(site, "app").id
    await site.ensure_powered_off(app)
    await eventually(lambda: not site.inventory().vms[app].tools_running, "Tools stop with the VM")
    await site.ensure_powered_on(app)
    await eventually(lambda: site.inventory().vms[app].tools_running, "Tools run again")
    await eventually(lambda: bool(site.inventory().vms[app].ip_address), "it has an address")


async def test_a_guest_shuts_down_when_asked(site: VCenter) -> None:
    app = named(site, "app").id
    assert Done.DONE is await site.shut_down_guest(app)
    await eventually(lambda: site.inventory().vms[app].power is Power.OFF, "the guest stops")
    assert Done.ALREADY is await site.shut_down_guest(app)


async def test_a_guest_without_tools_is_not_asked(world: World, site: VCenter) -> None:
    before = world.effects()
    with pytest.raises(Rejected, match="mute") as caught:
        await site.shut_down_guest(named(site, "mute").id)
    assert "ToolsNotRunning" == caught.value.reason
    assert Counter() == grown(world, before)


async def test_a_call_repeated_while_the_first_still_runs_takes_no_second_effect(world: World, site: VCenter) -> None:
    db = named(site, "db").id
    before = world.effects()
    world.slow(0.4)
    first = asyncio.create_task(site.ensure_powered_on(db))
    await asyncio.sleep(0.15)
    first.cancel()  # the process that began it is gone, its task goes on
    assert Done.ALREADY is await site.ensure_powered_on(db)
    assert Counter({"PowerOn db": 1}) == grown(world, before)


@pytest.mark.parametrize("operation", ["PowerOn", "Register", "Unregister", "Configure", "Mount"])
async def test_an_effect_whose_answer_was_lost_is_found_again(world: World, site: VCenter, operation: str) -> None:
    """Whether the first call finds it itself or says OutcomeUnknown: nothing happens twice."""
    db = named(site, "db")
    vmx, key = db.vmx, (await site.hardware([db.id]))[db.id].nics[0].key
    if operation == "Register":
        await site.ensure_unregistered(db.id)
    before = world.effects()

    async def call() -> object:
        match operation:
            case "PowerOn":
                return await site.ensure_powered_on(db.id)
            case "Unregister":
                return await site.ensure_unregistered(db.id)
            case "Configure":
                return await site.ensure_configured(db.id, nics=[NicChange(key, "Backup")], mark=MARK)
            case "Mount":
                return await site.ensure_mounted(SPARE, name="spare", host=first_host(site))
        return await site.ensure_registered(vmx, name="db", folder=FOLDER, pool=POOL, host=None)

    world.lose_reply(operation)
    if world.kind == "fake":
        with pytest.raises(Exception, match="lost"):
            await call()
    else:
        made = await call()
        assert Done.DONE is (made[0] if isinstance(made, tuple) else made)
    again = await call()
    assert Done.ALREADY is (again[0] if isinstance(again, tuple) else again)
    assert 1 == sum(grown(world, before).values())


# -- Registration


async def test_a_vm_leaves_the_inventory_and_comes_back_from_its_files(world: World, site: VCenter) -> None:
    app = named(site, "app")
    with pytest.raises(Busy, match="app"):
        await site.ensure_unregistered(app.id)
    await site.ensure_powered_off(app.id)
    hardware = (await site.hardware([app.id]))[app.id]
    before = world.effects()
    assert Done.DONE is await site.ensure_unregistered(app.id)
    assert app.id not in site.inventory().vms
    assert Done.ALREADY is await site.ensure_unregistered(app.id)
    folder = f"{FOLDER}/test"
    done, vm = await site.ensure_registered(app.vmx, name="app-2", folder=folder, pool=POOL, host=first_host(site))
    assert Done.DONE is done
    shown = site.inventory().vms[vm]
    assert ("app-2", folder, first_host(site), app.instance_uuid) == (
        shown.name,
        shown.folder,
        shown.host,
        shown.instance_uuid,
    )
    assert (Done.ALREADY, vm) == await site.ensure_registered(
        app.vmx, name="other", folder=FOLDER, pool=POOL, host=None
    )
    assert [nic.mac for nic in hardware.nics] == [nic.mac for nic in (await site.hardware([vm]))[vm].nics]
    assert 2 == sum(grown(world, before).values())


async def test_many_vms_register_in_one_folder_at_once(world: World, site: VCenter) -> None:
    vms = [named(site, name) for name in ("app", "db", "mute")]
    for vm in vms:
        await site.ensure_powered_off(vm.id)
        await site.ensure_unregistered(vm.id)
    world.slow(0.3)
    started = time.monotonic()
    made = await asyncio.gather(
        *(site.ensure_registered(vm.vmx, name=vm.name, folder=FOLDER, pool=POOL, host=None) for vm in vms)
    )
    assert [Done.DONE] * 3 == [done for done, _ in made]
    assert 3 == len({vm for _, vm in made})
    assert time.monotonic() - started < 0.8, "they did not run side by side"


@pytest.mark.parametrize(
    ("path", "folder", "pool"),
    [
        ("nowhere/x.vmx", FOLDER, POOL),
        ("db/db.vmx", "/berlin/vm/none", POOL),
        ("db/db.vmx", FOLDER, "/berlin/host/none"),
    ],
)
async def test_registering_from_or_to_nowhere_is_missing(site: VCenter, path: str, folder: str, pool: str) -> None:
    await site.ensure_unregistered(named(site, "db").id)
    with pytest.raises(Missing):
        await site.ensure_registered(DatastorePath("ds1", path), name="x", folder=folder, pool=pool, host=None)


# -- Configuration


async def test_nics_move_with_their_macs_and_the_mark_is_left(world: World, site: VCenter) -> None:
    app = named(site, "app").id
    await site.ensure_powered_off(app)
    before = world.effects()
    first, second = (await site.hardware([app]))[app].nics
    nics = [NicChange(first.key, "Backup"), NicChange(second.key, "VM Network")]
    assert Done.DONE is await site.ensure_configured(app, nics=nics, mark=MARK)
    hardware = (await site.hardware([app]))[app]
    assert ["Backup", "VM Network"] == [nic.network for nic in hardware.nics]
    assert [first.mac, second.mac] == [nic.mac for nic in hardware.nics]
    assert [first.key, second.key] == [nic.key for nic in hardware.nics]
    assert all(nic.connected_at_power_on for nic in hardware.nics)
    assert {"resurgo.run": MARK.run, "resurgo.vm": MARK.vm} == hardware.marks
    assert Done.ALREADY is await site.ensure_configured(app, nics=nics, mark=MARK)
    assert Done.DONE is await site.ensure_configured(app, nics=nics, mark=replace(MARK, run="run-2"))
    assert 2 == sum(grown(world, before).values())


async def test_a_network_or_nic_that_is_not_there_changes_nothing(world: World, site: VCenter) -> None:
    db = named(site, "db").id
    key = (await site.hardware([db]))[db].nics[0].key
    before = world.effects()
    with pytest.raises(Missing, match="Nowhere"):
        await site.ensure_configured(db, nics=[NicChange(key, "Nowhere")], mark=MARK)
    with pytest.raises(InvalidPlan):
        await site.ensure_configured(db, nics=[NicChange(4711, "Backup")], mark=MARK)
    assert Counter() == grown(world, before)


async def test_a_customization_waits_for_power_on_and_gives_the_address(world: World, site: VCenter) -> None:
    db = named(site, "db").id
    key = (await site.hardware([db]))[db].nics[0].key
    ips = [IpSettings(key, "10.9.0.5", 24, gateway="10.9.0.1", dns=("10.9.0.2",))]
    before = world.effects()
    assert Done.DONE is await site.ensure_customization(db, hostname="db", ips=ips)
    assert site.inventory().vms[db].customization_pending
    assert Done.ALREADY is await site.ensure_customization(db, hostname="db", ips=ips)
    assert Counter({"Customize db": 1}) == grown(world, before)
    await site.ensure_powered_on(db)
    await eventually(lambda: "10.9.0.5" == site.inventory().vms[db].ip_address, "the guest took the address")
    assert not site.inventory().vms[db].customization_pending
    assert ("10.9.0.5/24",) == (await site.hardware([db]))[db].nics[0].addresses


async def test_a_customization_of_an_unknown_nic_is_refused(world: World, site: VCenter) -> None:
    before = world.effects()
    with pytest.raises(InvalidPlan):
        await site.ensure_customization(named(site, "db").id, hostname="db", ips=[IpSettings(4711, "10.9.0.5", 24)])
    assert Counter() == grown(world, before)


# -- Datastores


async def test_an_export_is_mounted_and_unmounted_host_by_host(world: World, site: VCenter) -> None:
    hosts = sorted(site.inventory().hosts)
    before = world.effects()
    for host in hosts:
        assert Done.DONE is await site.ensure_mounted(SPARE, name="spare", host=host)
        assert Done.ALREADY is await site.ensure_mounted(SPARE, name="spare", host=host)
    spare = (await site.refresh()).datastore_by_export(SPARE)
    assert spare is not None
    assert ("spare", frozenset(hosts), True, True) == (spare.name, spare.hosts, spare.accessible, spare.writable)
    for host in hosts:
        assert Done.DONE is await site.ensure_unmounted(SPARE, host=host)
        assert Done.ALREADY is await site.ensure_unmounted(SPARE, host=host)
    assert (await site.refresh()).datastore_by_export(SPARE) is None
    assert 4 == sum(grown(world, before).values())


async def test_all_hosts_mount_one_datastore_at_once(site: VCenter) -> None:
    hosts = sorted(site.inventory().hosts)
    await asyncio.gather(*(site.ensure_mounted(SPARE, name="spare", host=host) for host in hosts))
    assert ["spare"] == [d.name for d in (await site.refresh()).datastores if d.export == SPARE]


async def test_a_name_that_stands_for_another_export_is_refused(world: World, site: VCenter) -> None:
    before = world.effects()
    with pytest.raises(InvalidState, match="ds1"):
        await site.ensure_mounted(SPARE, name="ds1", host=first_host(site))
    assert Counter() == grown(world, before)


async def test_what_is_not_exported_is_not_mounted(world: World, site: VCenter) -> None:
    world.refuse_exports(SPARE)
    for export in (SPARE, NfsExport("nfs.lab", "/cg/none")):
        with pytest.raises(Busy, match=r"none|spare"):
            await site.ensure_mounted(export, name="x", host=first_host(site))
    with pytest.raises(Missing):
        await site.ensure_mounted(SPARE, name="x", host=HostId("host-nowhere"))


async def test_a_datastore_in_use_stays_mounted(site: VCenter) -> None:
    app = named(site, "app")
    assert app.host is not None
    with pytest.raises(Busy):
        await site.ensure_unmounted(DS1, host=app.host)
    ds1 = (await site.refresh()).datastore_by_export(DS1)
    assert ds1 is not None
    assert app.host in ds1.hosts


async def test_an_export_that_is_withdrawn_shows(world: World, site: VCenter) -> None:
    world.refuse_exports(DS1)

    def gone() -> bool:
        ds1 = site.inventory().datastore_by_export(DS1)
        return ds1 is not None and not ds1.accessible

    await eventually(gone, "ds1 becomes inaccessible")


# -- Trouble


async def test_a_site_that_is_away_is_unreachable_and_its_last_inventory_stays(world: World, site: VCenter) -> None:
    db = named(site, "db")
    world.go(up=False)
    await eventually(lambda: not site.reachable, "the probe sees it")
    assert site.unreachable_since is not None
    for call in (site.refresh, site.facts, lambda: site.ensure_powered_on(db.id), lambda: site.hardware([db.id])):
        started = time.monotonic()
        with pytest.raises(Unreachable):
            await call()
        assert time.monotonic() - started < 1
    assert db == named(site, "db")
    world.go(up=True)
    await eventually(lambda: site.reachable, "the probe sees it again")
    assert site.unreachable_since is None
    assert Done.DONE is await site.ensure_powered_on(db.id)
    assert Power.ON is _vm(await site.read_vm(db.id)).power


def _vm(vm: Vm | None) -> Vm:
    assert vm is not None
    return vm
