// Virtual machines: one lab object for everything about them but power. Here: forgetting and deleting them.
package main

import (
	"os"
	"path"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// machines is the lab object behind folders and virtual machines.
type machines struct {
	mo.FileManager
	noLock

	hub *hub
}

func (h *hub) installVMs() {
	m := &machines{hub: h}
	m.Self = labRef("machines")
	h.redirect(m, "Folder", "CreateVM_Task", "RegisterVM_Task")
	h.redirect(m, "VirtualMachine", "ReconfigVM_Task", "Rename_Task", "UnregisterVM", "Destroy_Task", "RefreshStorageInfo")
}

// UnregisterVM forgets a VM that is not on; its files stay.
func (m *machines) UnregisterVM(ctx *simulator.Context, req *types.UnregisterVM) (res soap.HasFault) {
	defer m.hub.guard(&res)
	vm, fault := m.hub.vmOf(req.This)
	if fault == nil {
		fault = m.unregister(detached(ctx), vm)
	}
	if fault != nil {
		return refuse(fault)
	}
	m.hub.saveState()
	return &methods.UnregisterVMBody{Res: &types.UnregisterVMResponse{}}
}

func (m *machines) unregister(ctx *simulator.Context, vm *simulator.VirtualMachine) types.BaseMethodFault {
	if fault := m.off(ctx, vm); fault != nil {
		return fault
	}
	event := m.hub.vmEvent(ctx, vm)
	m.hub.withdraw(ctx, vm)
	m.hub.post(ctx, &types.VmRemovedEvent{VmEvent: event})
	return nil
}

func (m *machines) off(ctx *simulator.Context, vm *simulator.VirtualMachine) (fault types.BaseMethodFault) {
	m.hub.locked(ctx, vm.Self, func() {
		if vm.Runtime.PowerState == types.VirtualMachinePowerStatePoweredOn {
			fault = &types.InvalidPowerState{RequestedState: types.VirtualMachinePowerStatePoweredOff, ExistingState: vm.Runtime.PowerState}
		}
	})
	return fault
}

// DestroyTask forgets a VM and deletes its files.
func (m *machines) DestroyTask(ctx *simulator.Context, req *types.Destroy_Task) (res soap.HasFault) {
	defer m.hub.guard(&res)
	vm, fault := m.hub.vmOf(req.This)
	if fault != nil {
		return refuse(fault)
	}
	task := m.hub.startTask(ctx, vm, m.hub.call(ctx, "Destroy_Task", vm.Self, req), func(ctx *simulator.Context) (types.AnyType, types.BaseMethodFault) {
		return nil, m.destroy(ctx, vm)
	})
	return &methods.Destroy_TaskBody{Res: &types.Destroy_TaskResponse{Returnval: task}}
}

func (m *machines) destroy(ctx *simulator.Context, vm *simulator.VirtualMachine) types.BaseMethodFault {
	var vmx string
	var disks []string
	m.hub.locked(ctx, vm.Self, func() {
		vmx = vm.Config.Files.VmPathName
		for _, device := range vm.Config.Hardware.Device {
			if disk, ok := device.(*types.VirtualDisk); ok {
				disks = append(disks, diskName(disk))
			}
		}
	})
	at, fault := m.hub.writable(vmx)
	if fault != nil {
		return fault
	}
	if fault := m.unregister(ctx, vm); fault != nil {
		return fault
	}
	for _, file := range disks {
		if disk, fault := m.hub.writable(file); fault == nil {
			_ = removeDisk(disk.path)
		}
	}
	var p object.DatastorePath
	p.FromString(vmx)
	if path.Dir(p.Path) == "." { // never the whole datastore
		_ = os.Remove(at.path)
		return nil
	}
	if err := os.RemoveAll(path.Dir(at.path)); err != nil {
		return fileFault(err, vmx)
	}
	return nil
}

// RefreshStorageInfo looks at the files again.
func (m *machines) RefreshStorageInfo(ctx *simulator.Context, req *types.RefreshStorageInfo) (res soap.HasFault) {
	defer m.hub.guard(&res)
	vm, fault := m.hub.vmOf(req.This)
	if fault != nil {
		return refuse(fault)
	}
	m.hub.locked(ctx, vm.Self, func() {
		config := *vm.Config
		m.hub.reg.Update(ctx, vm, m.hub.derived(vm, &config))
	})
	return &methods.RefreshStorageInfoBody{Res: &types.RefreshStorageInfoResponse{}}
}
