// Search: the calls of SearchIndex that the stock simulator cannot serve while VMs come and go.
package main

import (
	"strings"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

type search struct {
	mo.FileManager
	noLock

	hub *hub
}

func (h *hub) installSearch() {
	s := &search{hub: h}
	s.Self = labRef("search")
	h.redirect(s, "SearchIndex", "FindByInventoryPath", "FindChild", "FindByDatastorePath")
}

// FindByInventoryPath walks from the root; a path that leads nowhere gives no object.
func (s *search) FindByInventoryPath(ctx *simulator.Context, req *types.FindByInventoryPath) (res soap.HasFault) {
	defer s.hub.guard(&res)
	at := s.hub.content().RootFolder
	found := &at
	for _, name := range strings.FieldsFunc(req.InventoryPath, isSlash) {
		if found = s.child(detached(ctx), *found, name); found == nil {
			break
		}
	}
	return &methods.FindByInventoryPathBody{Res: &types.FindByInventoryPathResponse{Returnval: found}}
}

func (s *search) FindChild(ctx *simulator.Context, req *types.FindChild) (res soap.HasFault) {
	defer s.hub.guard(&res)
	if s.hub.reg.Get(req.Entity) == nil {
		return refuse(notFoundObject(req.Entity))
	}
	return &methods.FindChildBody{Res: &types.FindChildResponse{Returnval: s.child(detached(ctx), req.Entity, req.Name)}}
}

// FindByDatastorePath finds the VM with this .vmx.
func (s *search) FindByDatastorePath(ctx *simulator.Context, req *types.FindByDatastorePath) (res soap.HasFault) {
	defer s.hub.guard(&res)
	if req.Datacenter != s.hub.datacenter().Self {
		return refuse(notFoundObject(req.Datacenter))
	}
	body := &methods.FindByDatastorePathBody{Res: &types.FindByDatastorePathResponse{}}
	if vm := s.hub.vmAt(detached(ctx), req.Path); vm != nil {
		body.Res.Returnval = &vm.Self
	}
	return body
}

// vmAt finds the registered VM with a .vmx, or nil.
func (h *hub) vmAt(ctx *simulator.Context, vmx string) *simulator.VirtualMachine {
	for _, e := range h.reg.All("VirtualMachine") {
		vm, ok := e.(*simulator.VirtualMachine)
		found := false
		if ok {
			h.locked(ctx, vm.Self, func() { found = vm.Config != nil && vm.Config.Files.VmPathName == vmx })
		}
		if found {
			return vm
		}
	}
	return nil
}

func (s *search) child(ctx *simulator.Context, parent types.ManagedObjectReference, name string) *types.ManagedObjectReference {
	var children []types.ManagedObjectReference
	object := s.hub.reg.Get(parent)
	if object == nil {
		return nil
	}
	s.hub.locked(ctx, parent, func() { children = childrenOf(object) })
	for _, ref := range children {
		if _, known := s.hub.reg.Get(ref).(mo.Entity); known && nameOf(s.hub.reg, ref) == name {
			return &ref
		}
	}
	return nil
}

// childrenOf lists what an inventory path can go on with.
func childrenOf(object mo.Reference) []types.ManagedObjectReference {
	join := func(lists ...[]types.ManagedObjectReference) (all []types.ManagedObjectReference) {
		for _, list := range lists {
			all = append(all, list...)
		}
		return all
	}
	switch e := object.(type) {
	case *simulator.Datacenter:
		return []types.ManagedObjectReference{e.VmFolder, e.HostFolder, e.DatastoreFolder, e.NetworkFolder}
	case *simulator.Folder:
		return join(e.ChildEntity)
	case *simulator.ClusterComputeResource:
		return join(e.Host, []types.ManagedObjectReference{*e.ResourcePool})
	case *simulator.ResourcePool:
		return join(e.ResourcePool.ResourcePool, e.Vm)
	}
	return nil
}
