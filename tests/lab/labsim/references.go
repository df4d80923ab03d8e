// References: the lists by which inventory objects know each other, changed only in copies and always published.
package main

import (
	"slices"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// editRefs adds a reference to a list of an object, or takes it out, under the object's lock.
func (h *hub) editRefs(
	ctx *simulator.Context, object mo.Reference, property string, list *[]types.ManagedObjectReference, ref types.ManagedObjectReference, present bool,
) {
	h.locked(ctx, object.Reference(), func() {
		if slices.Contains(*list, ref) == present {
			return
		}
		next := slices.DeleteFunc(slices.Clone(*list), func(r types.ManagedObjectReference) bool { return r == ref })
		if present {
			next = append(next, ref)
		}
		h.reg.Update(ctx, object, []types.PropertyChange{set(property, next)})
	})
}

// putChild puts an entity, which has its reference already, into a folder. Views look it up in the folder while it is put.
func (h *hub) putChild(ctx *simulator.Context, folder types.ManagedObjectReference, child mo.Entity) {
	f := h.reg.Get(folder).(*simulator.Folder)
	h.locked(ctx, f.Self, func() {
		f.ChildEntity = append(slices.Clone(f.ChildEntity), child.Reference())
		h.reg.PutEntity(f, child)
		h.reg.Update(ctx, f, []types.PropertyChange{set("childEntity", f.ChildEntity)})
	})
}

// removeChild takes an entity out of its folder and out of the inventory.
func (h *hub) removeChild(ctx *simulator.Context, folder, child types.ManagedObjectReference) {
	if f, ok := h.reg.Get(folder).(*simulator.Folder); ok {
		h.editRefs(ctx, f, "childEntity", &f.ChildEntity, child, false)
	}
	h.reg.Remove(ctx, child)
}
