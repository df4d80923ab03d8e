// Hosts: moving VMs between them, powering many VMs on at once, and the states the stock code changes in silence.
package main

import (
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// hosts is the lab object behind relocation and PowerOnMultiVM_Task.
type hosts struct {
	mo.FileManager
	noLock

	hub   *hub
	power *power
}

func (h *hub) installHosts(p *power) {
	o := &hosts{hub: h, power: p}
	o.Self = labRef("hosts")
	h.redirect(o, "VirtualMachine", "RelocateVM_Task", "MigrateVM_Task")
	h.redirect(o, "Datacenter", "PowerOnMultiVM_Task")
}

// RelocateVMTask moves a VM to another host or pool. Moving its files is not supported.
func (o *hosts) RelocateVMTask(ctx *simulator.Context, req *types.RelocateVM_Task) (res soap.HasFault) {
	defer o.hub.guard(&res)
	vm, fault := o.hub.vmOf(req.This)
	if fault != nil {
		return refuse(fault)
	}
	task := o.hub.startTask(ctx, vm, o.hub.call(ctx, "RelocateVM_Task", vm.Self, req), func(ctx *simulator.Context) (types.AnyType, types.BaseMethodFault) {
		if req.Spec.Datastore != nil || len(req.Spec.Disk) != 0 || len(req.Spec.DeviceChange) != 0 {
			return nil, &types.NotSupported{}
		}
		return nil, o.move(ctx, vm, req.Spec.Host, req.Spec.Pool)
	})
	return &methods.RelocateVM_TaskBody{Res: &types.RelocateVM_TaskResponse{Returnval: task}}
}

// MigrateVMTask does the same in its older form.
func (o *hosts) MigrateVMTask(ctx *simulator.Context, req *types.MigrateVM_Task) (res soap.HasFault) {
	defer o.hub.guard(&res)
	vm, fault := o.hub.vmOf(req.This)
	if fault != nil {
		return refuse(fault)
	}
	task := o.hub.startTask(ctx, vm, o.hub.call(ctx, "MigrateVM_Task", vm.Self, req), func(ctx *simulator.Context) (types.AnyType, types.BaseMethodFault) {
		return nil, o.move(ctx, vm, req.Host, req.Pool)
	})
	return &methods.MigrateVM_TaskBody{Res: &types.MigrateVM_TaskResponse{Returnval: task}}
}

func (o *hosts) move(ctx *simulator.Context, vm *simulator.VirtualMachine, host, pool *types.ManagedObjectReference) types.BaseMethodFault {
	h := o.hub
	var stores []types.ManagedObjectReference
	var from *types.ManagedObjectReference
	h.locked(ctx, vm.Self, func() { stores, from = append(stores, vm.Datastore...), vm.Runtime.Host })
	var to *simulator.HostSystem
	if host != nil {
		var ok bool
		if to, ok = h.reg.Get(*host).(*simulator.HostSystem); !ok {
			return notFoundObject(*host)
		}
		for _, ds := range stores {
			if !h.mounts(ctx, to, ds) {
				return &types.InvalidDatastore{Datastore: &ds, Name: nameOf(h.reg, ds)}
			}
		}
	}
	if pool != nil {
		p, ok := h.reg.Get(*pool).(*simulator.ResourcePool)
		if !ok {
			return notFoundObject(*pool)
		}
		h.assignPool(ctx, vm, p)
	}
	if to == nil {
		return nil
	}
	if from != nil {
		if before, ok := h.reg.Get(*from).(*simulator.HostSystem); ok {
			h.editRefs(ctx, before, "vm", &before.Vm, vm.Self, false)
		}
	}
	h.editRefs(ctx, to, "vm", &to.Vm, vm.Self, true)
	h.update(ctx, vm, set("runtime.host", to.Self), set("summary.runtime.host", to.Self))
	return nil
}

// PowerOnMultiVMTask starts one task per VM; what is no VM that can be powered on is reported as not attempted.
func (o *hosts) PowerOnMultiVMTask(ctx *simulator.Context, req *types.PowerOnMultiVM_Task) (res soap.HasFault) {
	defer o.hub.guard(&res)
	dc := o.hub.datacenter()
	task := o.hub.startTask(ctx, dc, o.hub.call(ctx, "PowerOnMultiVM_Task", req.This, req), func(ctx *simulator.Context) (types.AnyType, types.BaseMethodFault) {
		result := types.ClusterPowerOnVmResult{}
		for _, ref := range req.Vm {
			started := o.power.PowerOnVMTask(ctx, &types.PowerOnVM_Task{This: ref})
			body, ok := started.(*methods.PowerOnVM_TaskBody)
			if !ok {
				fault, _ := started.Fault().VimFault().(types.BaseMethodFault)
				result.NotAttempted = append(result.NotAttempted, types.ClusterNotAttemptedVmInfo{Vm: ref, Fault: *localized(fault)})
				continue
			}
			subtask := body.Res.Returnval
			result.Attempted = append(result.Attempted, types.ClusterAttemptedVmInfo{Vm: ref, Task: &subtask})
		}
		return result, nil
	})
	return &methods.PowerOnMultiVM_TaskBody{Res: &types.PowerOnMultiVM_TaskResponse{Returnval: task}}
}

// publishHost tells watchers about the state of a host after a task of the stock code, which tells nobody.
func (h *hub) publishHost(ref types.ManagedObjectReference) {
	host, ok := h.reg.Get(ref).(*simulator.HostSystem)
	if !ok {
		return
	}
	ctx := h.background()
	h.locked(ctx, ref, func() {
		runtime := host.Runtime
		h.reg.Update(ctx, host, []types.PropertyChange{set("runtime", runtime), set("summary.runtime", &runtime)})
	})
}
