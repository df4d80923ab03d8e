"""What was read before something changed does not hide the change."""

from __future__ import annotations

from resurgo.adapters.vsphere.model import Model

VM = "VirtualMachine"


def test_a_reading_older_than_what_the_watch_told_is_not_taken():
    model = Model("leipzig", "group-d1")
    model.change(VM, "vm-1", {"name": "db", "guestHeartbeatStatus": "gray"})
    before = model.told()
    model.change(VM, "vm-1", {"guestHeartbeatStatus": "green"})
    assert not model.take(VM, "vm-1", {"guestHeartbeatStatus": "gray"}, told=before)
    assert "green" == model._raw["vm-1"]["guestHeartbeatStatus"]


def test_a_reading_that_nothing_overtook_is_taken():
    model = Model("leipzig", "group-d1")
    model.change(VM, "vm-1", {"name": "db", "guestHeartbeatStatus": "gray"})
    assert model.take(VM, "vm-1", {"guestHeartbeatStatus": "green"}, told=model.told())
    assert "green" == model._raw["vm-1"]["guestHeartbeatStatus"]


def test_a_reading_does_not_bring_back_what_has_gone():
    model = Model("leipzig", "group-d1")
    model.change(VM, "vm-1", {"name": "db"})
    before = model.told()
    model.leave("vm-1")
    assert not model.take(VM, "vm-1", {"name": "db"}, told=before)
    assert "vm-1" not in model.inventory().vms
