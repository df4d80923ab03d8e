// The place of a VM in the inventory: folder, pool, host and datastores, which all list it.
package main

import (
	"slices"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// vmPlace is where a VM is to go.
type vmPlace struct {
	folder *simulator.Folder
	pool   *simulator.ResourcePool
	host   *simulator.HostSystem
}

// placement checks folder, pool and host of a request for a VM on a datastore; without a host one is chosen.
func (h *hub) placement(ctx *simulator.Context, folder types.ManagedObjectReference, pool, host *types.ManagedObjectReference, datastore types.ManagedObjectReference) (vmPlace, types.BaseMethodFault) {
	var p vmPlace
	var ok bool
	if p.folder, ok = h.reg.Get(folder).(*simulator.Folder); !ok {
		return p, notFoundObject(folder)
	}
	if !slices.Contains(p.folder.ChildType, "VirtualMachine") {
		return p, &types.NotSupported{}
	}
	if pool != nil {
		if p.pool, ok = h.reg.Get(*pool).(*simulator.ResourcePool); !ok {
			return p, notFoundObject(*pool)
		}
	} else {
		p.pool = h.rootPool()
	}
	if host == nil {
		p.host = h.leastLoaded(ctx, datastore)
		if p.host == nil {
			return p, &types.NoCompatibleHost{}
		}
		return p, nil
	}
	if p.host, ok = h.reg.Get(*host).(*simulator.HostSystem); !ok {
		return p, notFoundObject(*host)
	}
	if !h.mounts(ctx, p.host, datastore) {
		return p, withMessage(&types.InvalidDatastore{Datastore: &datastore, Name: nameOf(h.reg, datastore)},
			"Datastore '%s' is not mounted on host %s.", nameOf(h.reg, datastore), nameOf(h.reg, *host))
	}
	return p, nil
}

func (h *hub) mounts(ctx *simulator.Context, host *simulator.HostSystem, datastore types.ManagedObjectReference) bool {
	mounted := false
	h.locked(ctx, host.Self, func() { mounted = slices.Contains(host.Datastore, datastore) })
	return mounted
}

// leastLoaded picks among the connected hosts that mount a datastore.
func (h *hub) leastLoaded(ctx *simulator.Context, datastore types.ManagedObjectReference) *simulator.HostSystem {
	var best *simulator.HostSystem
	least := 0
	for _, ref := range h.cluster().Host {
		host, ok := h.reg.Get(ref).(*simulator.HostSystem)
		if !ok || !h.mounts(ctx, host, datastore) {
			continue
		}
		load, usable := 0, false
		h.locked(ctx, host.Self, func() {
			load = len(host.Vm)
			usable = host.Runtime.ConnectionState == types.HostSystemConnectionStateConnected && !host.Runtime.InMaintenanceMode
		})
		if usable && (best == nil || load < least) {
			best, least = host, load
		}
	}
	return best
}

// insert puts a finished VM into the inventory: it appears whole, with its name, in all lists.
func (h *hub) insert(ctx *simulator.Context, vm *simulator.VirtualMachine, p vmPlace) types.BaseMethodFault {
	pool, host := p.pool.Self, p.host.Self
	vm.ResourcePool, vm.Runtime.Host = &pool, &host
	vm.Summary.Runtime = vm.Runtime
	if browser := h.cluster().EnvironmentBrowser; browser != nil {
		vm.EnvironmentBrowser = *browser
	}
	if vm.Config.Template {
		vm.ResourcePool = nil
	}
	var fault types.BaseMethodFault
	h.locked(ctx, p.folder.Self, func() {
		if other := h.childNamed(p.folder.ChildEntity, vm.Name); other != nil {
			fault = &types.DuplicateName{Name: vm.Name, Object: other.Reference()}
			return
		}
		h.putChild(ctx, p.folder.Self, vm)
	})
	if fault != nil {
		return fault
	}
	h.editRefs(ctx, p.host, "vm", &p.host.Vm, vm.Self, true)
	if vm.ResourcePool != nil {
		h.editRefs(ctx, p.pool, "vm", &p.pool.Vm, vm.Self, true)
	}
	h.relist(ctx, vm.Self, nil, usedBy(vm))
	return nil
}

// relist makes datastores and networks list a VM exactly if it is on them.
func (h *hub) relist(ctx *simulator.Context, vm types.ManagedObjectReference, before, after []types.ManagedObjectReference) {
	each := func(refs, but []types.ManagedObjectReference, present bool) {
		for _, ref := range refs {
			if slices.Contains(but, ref) {
				continue
			}
			switch o := h.reg.Get(ref).(type) {
			case *simulator.Datastore:
				h.editRefs(ctx, o, "vm", &o.Vm, vm, present)
			case *mo.Network:
				h.editRefs(ctx, o, "vm", &o.Vm, vm, present)
			}
		}
	}
	each(before, after, false)
	each(after, nil, true)
}

// usedBy lists the datastores and networks of a VM, which is locked.
func usedBy(vm *simulator.VirtualMachine) []types.ManagedObjectReference {
	return append(slices.Clone(vm.Datastore), vm.Network...)
}

// withdraw takes a VM out of all lists and out of the inventory; its files stay.
func (h *hub) withdraw(ctx *simulator.Context, vm *simulator.VirtualMachine) {
	var host, pool, folder *types.ManagedObjectReference
	var used []types.ManagedObjectReference
	h.locked(ctx, vm.Self, func() {
		host, pool, folder, used = vm.Runtime.Host, vm.ResourcePool, vm.Parent, usedBy(vm)
	})
	if host != nil {
		if o, ok := h.reg.Get(*host).(*simulator.HostSystem); ok {
			h.editRefs(ctx, o, "vm", &o.Vm, vm.Self, false)
		}
	}
	if pool != nil {
		if o, ok := h.reg.Get(*pool).(*simulator.ResourcePool); ok {
			h.editRefs(ctx, o, "vm", &o.Vm, vm.Self, false)
		}
	}
	h.relist(ctx, vm.Self, used, nil)
	if folder != nil {
		h.removeChild(ctx, *folder, vm.Self)
	}
}

// vmOf finds the VM of a request.
func (h *hub) vmOf(ref types.ManagedObjectReference) (*simulator.VirtualMachine, types.BaseMethodFault) {
	if vm, ok := h.reg.Get(ref).(*simulator.VirtualMachine); ok {
		return vm, nil
	}
	return nil, notFoundObject(ref)
}

// sibling finds another entity of this name beside one, or nil.
func (h *hub) sibling(e mo.Entity, name string) mo.Entity {
	var parent *types.ManagedObjectReference
	locked(h.reg, e.Reference(), func() { parent = e.Entity().Parent })
	if parent == nil {
		return nil
	}
	folder, ok := h.reg.Get(*parent).(*simulator.Folder)
	if !ok {
		return nil
	}
	for _, ref := range h.children(h.background(), folder) {
		if other, ok := h.reg.Get(ref).(mo.Entity); ok && ref != e.Reference() && nameOf(h.reg, ref) == name {
			return other
		}
	}
	return nil
}
