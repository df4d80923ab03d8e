// Restoring a site from its state file, with the references that clients know.
package main

import (
	"log"
	"strconv"
	"strings"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

// restore builds the inventory of the state. VMs whose storage is away come back as inaccessible; those that ran run on.
func (h *hub) restore(s *storage, state *savedState) error {
	ctx := h.background()
	h.skipReferences(state)
	for _, f := range state.Folders {
		h.restoreFolder(ctx, f)
	}
	for _, p := range state.Pools {
		if err := h.restorePool(ctx, p); err != nil {
			return err
		}
	}
	for _, d := range state.Datastores {
		h.restoreDatastore(ctx, s, d)
	}
	for i := range h.lab.VMs {
		if _, err := h.guests.change(h.lab.VMs[i].Name, h.lab.VMs[i].Guest); err != nil {
			return err
		}
	}
	for i := range state.VMs {
		h.restoreVM(ctx, &state.VMs[i])
	}
	s.check()
	return nil
}

// skipReferences uses up the numbers of references in the state, so that no new object gets one of them.
func (h *hub) skipReferences(state *savedState) {
	last := 0
	note := func(moref string) {
		digits := moref[strings.IndexFunc(moref, func(r rune) bool { return r >= '0' && r <= '9' })+0:]
		if n, err := strconv.Atoi(strings.TrimLeft(digits, "-")); err == nil {
			last = max(last, n)
		}
	}
	for _, f := range append(state.Folders, state.Pools...) {
		note(f.Moref)
	}
	for _, d := range state.Datastores {
		note(d.Moref)
	}
	for _, v := range state.VMs {
		note(v.Moref)
	}
	for n := 0; n < last; {
		used := &simulator.VirtualMachine{}
		h.reg.NewEntity(used)
		n, _ = strconv.Atoi(strings.TrimPrefix(used.Self.Value, "vm-"))
	}
}

func (h *hub) restoreFolder(ctx *simulator.Context, f savedFolder) {
	ref := types.ManagedObjectReference{Type: "Folder", Value: f.Moref}
	parent, ok := h.reg.Get(types.ManagedObjectReference{Type: "Folder", Value: f.Parent}).(*simulator.Folder)
	if !ok || h.reg.Get(ref) != nil {
		return // the lab file made it already
	}
	folder := &simulator.Folder{}
	folder.Self, folder.Name, folder.ChildType = ref, f.Name, parent.ChildType
	h.putChild(ctx, parent.Self, folder)
}

func (h *hub) restorePool(ctx *simulator.Context, p savedFolder) error {
	ref := types.ManagedObjectReference{Type: "ResourcePool", Value: p.Moref}
	parent, ok := h.reg.Get(types.ManagedObjectReference{Type: "ResourcePool", Value: p.Parent}).(*simulator.ResourcePool)
	if !ok || h.reg.Get(ref) != nil {
		return nil
	}
	pool := simulator.NewResourcePool(ctx)
	pool.Self, pool.Name, pool.Owner = ref, p.Name, parent.Owner
	pool.Vm = nil
	h.reg.PutEntity(parent, pool)
	h.editRefs(ctx, parent, "resourcePool", &parent.ResourcePool.ResourcePool, ref, true)
	return nil
}

func (h *hub) restoreDatastore(ctx *simulator.Context, s *storage, d savedDatastore) {
	now, err := h.exports.lookup(d.Server, d.Path)
	if err != nil {
		now.access = accessNone
	}
	spec := types.HostNasVolumeSpec{RemoteHost: d.Server, RemotePath: d.Path, LocalPath: d.Name}
	ds := s.newDatastore(ctx, spec, now, types.ManagedObjectReference{Type: "Datastore", Value: d.Moref})
	for _, name := range d.Hosts {
		if host := h.hostNamed(name); host != nil {
			s.attach(ctx, host, ds, "")
		}
	}
}

func (h *hub) hostNamed(name string) *simulator.HostSystem {
	host, _ := h.childNamed(h.cluster().Host, name).(*simulator.HostSystem)
	return host
}

func (h *hub) restoreVM(ctx *simulator.Context, saved *savedVM) {
	text := newVmx()
	for _, line := range saved.Config {
		key, value, _ := strings.Cut(line, "=")
		text.set(key, value)
	}
	machines := &machines{hub: h}
	vm := machines.fromVmx(types.ManagedObjectReference{Type: "VirtualMachine", Value: saved.Moref}, text, saved.Vmx, "")
	folder, ok := h.reg.Get(types.ManagedObjectReference{Type: "Folder", Value: saved.Folder}).(*simulator.Folder)
	if !ok {
		folder = h.reg.Get(h.datacenter().VmFolder).(*simulator.Folder)
	}
	pool, ok := h.reg.Get(types.ManagedObjectReference{Type: "ResourcePool", Value: saved.Pool}).(*simulator.ResourcePool)
	if !ok {
		pool = h.rootPool()
	}
	host := h.hostNamed(saved.Host)
	if host == nil {
		host = h.reg.Get(h.cluster().Host[0]).(*simulator.HostSystem)
	}
	applyTo(vm, h.derived(vm, vm.Config))
	if at, fault := h.locate(saved.Vmx); fault != nil || at.access == accessNone {
		vm.Runtime.ConnectionState = types.VirtualMachineConnectionStateInaccessible
	}
	if fault := h.insert(ctx, vm, vmPlace{folder, pool, host}); fault != nil {
		log.Printf("labsim: restore %s: %s", saved.Vmx, faultMessage(fault))
		return
	}
	if !saved.On {
		return
	}
	if fault := h.resume(ctx, vm); fault != nil {
		log.Printf("labsim: %s did not come back on: %s", vm.Name, faultMessage(fault))
	}
}
