// Folders and pools: made, moved and removed, with every list published.
package main

import (
	"slices"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// folders is the lab object behind folders and resource pools.
type folders struct {
	mo.FileManager
	noLock

	hub *hub
}

func (h *hub) installFolders() {
	f := &folders{hub: h}
	f.Self = labRef("folders")
	h.redirect(f, "Folder", "CreateFolder", "MoveIntoFolder_Task", "Destroy_Task", "Rename_Task")
	h.redirect(f, "ResourcePool", "CreateResourcePool", "MoveIntoResourcePool", "Destroy_Task")
}

// CreateFolder makes a folder of the same kind inside another.
func (f *folders) CreateFolder(ctx *simulator.Context, req *types.CreateFolder) (res soap.HasFault) {
	defer f.hub.guard(&res)
	parent, ok := f.hub.reg.Get(req.This).(*simulator.Folder)
	switch {
	case !ok:
		return refuse(notFoundObject(req.This))
	case !slices.Contains(parent.ChildType, "Folder"):
		return refuse(&types.NotSupported{})
	case req.Name == "":
		return refuse(&types.InvalidName{Name: req.Name})
	}
	own := detached(ctx)
	made := &simulator.Folder{}
	made.Name, made.ChildType = req.Name, parent.ChildType
	var fault types.BaseMethodFault
	f.hub.locked(own, parent.Self, func() {
		if other := f.hub.childNamed(parent.ChildEntity, req.Name); other != nil {
			fault = &types.DuplicateName{Name: req.Name, Object: other.Reference()}
			return
		}
		f.hub.reg.NewEntity(made)
		f.hub.putChild(own, parent.Self, made)
	})
	if fault != nil {
		return refuse(fault)
	}
	f.hub.saveState()
	return &methods.CreateFolderBody{Res: &types.CreateFolderResponse{Returnval: made.Self}}
}

// MoveIntoFolderTask moves VMs and folders; one that cannot be moved leaves all where they are.
func (f *folders) MoveIntoFolderTask(ctx *simulator.Context, req *types.MoveIntoFolder_Task) (res soap.HasFault) {
	defer f.hub.guard(&res)
	target, ok := f.hub.reg.Get(req.This).(*simulator.Folder)
	if !ok {
		return refuse(notFoundObject(req.This))
	}
	task := f.hub.startTask(ctx, target, f.hub.call(ctx, "MoveIntoFolder_Task", req.This, req), func(ctx *simulator.Context) (types.AnyType, types.BaseMethodFault) {
		var moved []mo.Entity
		for _, ref := range req.List {
			e, known := f.hub.reg.Get(ref).(mo.Entity)
			if !known {
				return nil, notFoundObject(ref)
			}
			if !slices.Contains(target.ChildType, ref.Type) || ref == target.Self {
				return nil, &types.NotSupported{}
			}
			if other := f.hub.childNamed(f.hub.children(ctx, target), nameOf(f.hub.reg, ref)); other != nil && other.Reference() != ref {
				return nil, &types.DuplicateName{Name: nameOf(f.hub.reg, ref), Object: other.Reference()}
			}
			moved = append(moved, e)
		}
		for _, e := range moved {
			f.move(ctx, target, e)
		}
		return nil, nil
	})
	return &methods.MoveIntoFolder_TaskBody{Res: &types.MoveIntoFolder_TaskResponse{Returnval: task}}
}

func (f *folders) move(ctx *simulator.Context, target *simulator.Folder, e mo.Entity) {
	ref := e.Reference()
	var parent *types.ManagedObjectReference
	f.hub.locked(ctx, ref, func() { parent = e.Entity().Parent })
	if parent != nil {
		if from, ok := f.hub.reg.Get(*parent).(*simulator.Folder); ok {
			f.hub.editRefs(ctx, from, "childEntity", &from.ChildEntity, ref, false)
		}
	}
	f.hub.editRefs(ctx, target, "childEntity", &target.ChildEntity, ref, true)
	f.hub.update(ctx, e, set("parent", target.Self))
}

// DestroyTask removes an empty folder or pool. A real vCenter would delete the VMs inside a folder as well; here that is
// refused, so that a client that does it is found out.
func (f *folders) DestroyTask(ctx *simulator.Context, req *types.Destroy_Task) (res soap.HasFault) {
	defer f.hub.guard(&res)
	entity, ok := f.hub.reg.Get(req.This).(mo.Entity)
	if !ok {
		return refuse(notFoundObject(req.This))
	}
	task := f.hub.startTask(ctx, entity, f.hub.call(ctx, "Destroy_Task", req.This, req), func(ctx *simulator.Context) (types.AnyType, types.BaseMethodFault) {
		return nil, f.destroy(ctx, entity)
	})
	return &methods.Destroy_TaskBody{Res: &types.Destroy_TaskResponse{Returnval: task}}
}

func (f *folders) destroy(ctx *simulator.Context, entity mo.Entity) types.BaseMethodFault {
	ref, name := entity.Reference(), nameOf(f.hub.reg, entity.Reference())
	var parent *types.ManagedObjectReference
	empty := false
	f.hub.locked(ctx, ref, func() {
		parent = entity.Entity().Parent
		empty = len(childrenOf(entity)) == 0
	})
	if parent == nil || !empty {
		return withMessage(&types.ResourceInUse{Type: ref.Type, Name: name}, "'%s' is not empty.", name)
	}
	switch up := f.hub.reg.Get(*parent).(type) {
	case *simulator.Folder:
		f.hub.removeChild(ctx, up.Self, ref)
	case *simulator.ResourcePool:
		f.hub.editRefs(ctx, up, "resourcePool", &up.ResourcePool.ResourcePool, ref, false)
		f.hub.reg.Remove(ctx, ref)
	default:
		return &types.NotSupported{}
	}
	return nil
}

// RenameTask renames a folder.
func (f *folders) RenameTask(ctx *simulator.Context, req *types.Rename_Task) (res soap.HasFault) {
	defer f.hub.guard(&res)
	folder, ok := f.hub.reg.Get(req.This).(*simulator.Folder)
	if !ok {
		return refuse(notFoundObject(req.This))
	}
	task := f.hub.startTask(ctx, folder, f.hub.call(ctx, "Rename_Task", req.This, req), func(ctx *simulator.Context) (types.AnyType, types.BaseMethodFault) {
		if other := f.hub.sibling(folder, req.NewName); other != nil {
			return nil, &types.DuplicateName{Name: req.NewName, Object: other.Reference()}
		}
		f.hub.update(ctx, folder, set("name", req.NewName))
		return nil, nil
	})
	return &methods.Rename_TaskBody{Res: &types.Rename_TaskResponse{Returnval: task}}
}

// CreateResourcePool lets the stock code make the pool and publishes it.
func (f *folders) CreateResourcePool(ctx *simulator.Context, req *types.CreateResourcePool) (res soap.HasFault) {
	defer f.hub.guard(&res)
	pool, ok := f.hub.reg.Get(req.This).(*simulator.ResourcePool)
	if !ok {
		return refuse(notFoundObject(req.This))
	}
	own := detached(ctx)
	f.hub.locked(own, pool.Self, func() {
		before := slices.Clone(pool.ResourcePool.ResourcePool)
		pool.ResourcePool.ResourcePool = before
		if res = pool.CreateResourcePool(own, req); res.Fault() == nil {
			f.hub.reg.Update(own, pool, []types.PropertyChange{set("resourcePool", slices.Clone(pool.ResourcePool.ResourcePool))})
		}
	})
	f.hub.saveState()
	return res
}

// MoveIntoResourcePool moves VMs into another pool.
func (f *folders) MoveIntoResourcePool(ctx *simulator.Context, req *types.MoveIntoResourcePool) (res soap.HasFault) {
	defer f.hub.guard(&res)
	pool, ok := f.hub.reg.Get(req.This).(*simulator.ResourcePool)
	if !ok {
		return refuse(notFoundObject(req.This))
	}
	own := detached(ctx)
	for _, ref := range req.List {
		if _, fault := f.hub.vmOf(ref); fault != nil {
			return refuse(fault)
		}
	}
	for _, ref := range req.List {
		vm, _ := f.hub.vmOf(ref)
		f.hub.assignPool(own, vm, pool)
	}
	f.hub.saveState()
	return &methods.MoveIntoResourcePoolBody{Res: &types.MoveIntoResourcePoolResponse{}}
}

// assignPool moves one VM to a pool.
func (h *hub) assignPool(ctx *simulator.Context, vm *simulator.VirtualMachine, pool *simulator.ResourcePool) {
	var before *types.ManagedObjectReference
	h.locked(ctx, vm.Self, func() { before = vm.ResourcePool })
	if before != nil {
		if from, ok := h.reg.Get(*before).(*simulator.ResourcePool); ok {
			h.editRefs(ctx, from, "vm", &from.Vm, vm.Self, false)
		}
	}
	h.editRefs(ctx, pool, "vm", &pool.Vm, vm.Self, true)
	h.update(ctx, vm, set("resourcePool", pool.Self))
}
