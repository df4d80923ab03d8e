// Changing virtual machines and their .vmx, all of a request or nothing.
package main

import (
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// ReconfigVMTask changes a VM and its .vmx, all of it or nothing.
func (m *machines) ReconfigVMTask(ctx *simulator.Context, req *types.ReconfigVM_Task) (res soap.HasFault) {
	defer m.hub.guard(&res)
	vm, fault := m.hub.vmOf(req.This)
	if fault != nil {
		return refuse(fault)
	}
	task := m.hub.startTask(ctx, vm, m.hub.call(ctx, "ReconfigVM_Task", vm.Self, req), func(ctx *simulator.Context) (types.AnyType, types.BaseMethodFault) {
		if fault := m.reconfigure(ctx, vm, &req.Spec); fault != nil {
			return nil, fault
		}
		m.hub.post(ctx, &types.VmReconfiguredEvent{VmEvent: m.hub.vmEvent(ctx, vm), ConfigSpec: req.Spec})
		return nil, nil
	})
	return &methods.ReconfigVM_TaskBody{Res: &types.ReconfigVM_TaskResponse{Returnval: task}}
}

func (m *machines) reconfigure(ctx *simulator.Context, vm *simulator.VirtualMachine, spec *types.VirtualMachineConfigSpec) types.BaseMethodFault {
	h := m.hub
	if other := h.sibling(vm, spec.Name); spec.Name != "" && other != nil {
		return &types.DuplicateName{Name: spec.Name, Object: other.Reference()}
	}
	var edit *deviceEdit
	var before, after []types.ManagedObjectReference
	var fault types.BaseMethodFault
	h.locked(ctx, vm.Self, func() {
		if f := spec.Files; f != nil && f.VmPathName != "" && f.VmPathName != vm.Config.Files.VmPathName {
			fault = invalid("configSpec.files.vmPathName")
			return
		}
		on := vm.Runtime.PowerState == types.VirtualMachinePowerStatePoweredOn
		var config *types.VirtualMachineConfigInfo
		if config, fault = configured(vm.Config, spec, on); fault != nil {
			return
		}
		var home object.DatastorePath
		home.FromString(vm.Config.Files.VmPathName)
		edit = h.newEdit(vm.Config.Hardware.Device, home, config.InstanceUuid)
		if fault = edit.apply(spec.DeviceChange); fault != nil {
			return
		}
		config.Hardware.Device = edit.list
		connected(edit.list, on)
		if fault = m.commit(vm, config, edit); fault != nil {
			return
		}
		before = usedBy(vm)
		h.reg.Update(ctx, vm, h.derived(vm, config))
		after = usedBy(vm)
	})
	if fault != nil {
		return fault
	}
	h.relist(ctx, vm.Self, before, after)
	edit.discard()
	h.guests.refresh(ctx, vm)
	return nil
}

// commit writes disks and the .vmx of the configuration that is about to be published; the VM is locked.
func (m *machines) commit(vm *simulator.VirtualMachine, config *types.VirtualMachineConfigInfo, edit *deviceEdit) types.BaseMethodFault {
	at, fault := m.hub.writable(config.Files.VmPathName)
	if fault != nil {
		return fault
	}
	if fault := edit.write(); fault != nil {
		return fault
	}
	draft := &simulator.VirtualMachine{}
	draft.Name, draft.Config = config.Name, config
	if err := m.hub.vmxOf(draft).save(at.path); err != nil {
		return fileFault(err, config.Files.VmPathName)
	}
	return nil
}

// connected sets which cards are connected right now: those of a running VM that start so and have a network.
func connected(devices object.VirtualDeviceList, on bool) {
	for _, device := range devices {
		if card, ok := device.(types.BaseVirtualEthernetCard); ok {
			c := card.GetVirtualEthernetCard()
			if c.Connectable != nil {
				c.Connectable.Connected = on && c.Connectable.StartConnected && !dangling(c)
			}
		}
	}
}

// RenameTask renames a VM in the inventory and in its .vmx.
func (m *machines) RenameTask(ctx *simulator.Context, req *types.Rename_Task) (res soap.HasFault) {
	defer m.hub.guard(&res)
	vm, fault := m.hub.vmOf(req.This)
	if fault != nil {
		return refuse(fault)
	}
	if req.NewName == "" {
		return refuse(invalid("newName"))
	}
	task := m.hub.startTask(ctx, vm, m.hub.call(ctx, "Rename_Task", vm.Self, req), func(ctx *simulator.Context) (types.AnyType, types.BaseMethodFault) {
		return nil, m.reconfigure(ctx, vm, &types.VirtualMachineConfigSpec{Name: req.NewName})
	})
	return &methods.Rename_TaskBody{Res: &types.Rename_TaskResponse{Returnval: task}}
}
