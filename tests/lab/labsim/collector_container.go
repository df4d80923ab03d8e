// Containers: which entities a ContainerView holds, kept up to date one entity at a time.
package main

import (
	"cmp"
	"slices"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// container holds the members of one ContainerView. An entity belongs to it when a chain of owners leads from it to the
// root: parents, and for a VM its resource pool and host as well. The view's own list is not used: the simulator does
// not correct it when entities move, and an entity may enter the registry before its parent lists it.
type container struct {
	owner     *collector
	root      types.ManagedObjectReference
	kinds     []string
	recursive bool

	owners  map[types.ManagedObjectReference][]types.ManagedObjectReference // of every entity of the site
	members refSet
	sorted  []types.ManagedObjectReference // nil: to be made again
}

func newContainer(ctx *simulator.Context, owner *collector, view *simulator.ContainerView) *container {
	c := &container{
		owner: owner, root: view.Container, kinds: view.Type, recursive: view.Recursive,
		owners: map[types.ManagedObjectReference][]types.ManagedObjectReference{},
	}
	for _, entity := range ctx.Map.All("") {
		ref := entity.Reference()
		if owner.exists(ctx, ref) {
			c.owners[ref] = ownersOf(ctx, ref)
		}
	}
	c.sift(ctx)
	return c
}

// refresh looks at the noted entities again; true means that members came or went.
func (c *container) refresh(ctx *simulator.Context, dirty refSet) bool {
	var leaves []types.ManagedObjectReference
	moved := false
	for ref := range dirty {
		_, entity := ctx.Map.Get(ref).(mo.Entity)
		before, known := c.owners[ref]
		if !entity && !known {
			continue
		}
		if !entity || !c.owner.exists(ctx, ref) {
			delete(c.owners, ref)
			leaves = append(leaves, ref)
			continue
		}
		now := ownersOf(ctx, ref)
		if known && slices.Equal(before, now) {
			continue
		}
		c.owners[ref] = now
		leaves = append(leaves, ref)
		moved = moved || holds(ref.Type) // everything below it came or went with it
	}
	if moved {
		before := c.members
		c.sift(ctx)
		return !sameRefs(before, c.members)
	}
	changed := false
	for _, ref := range leaves {
		changed = c.place(ctx, ref) || changed
	}
	return changed
}

// sift finds the members among all entities.
func (c *container) sift(ctx *simulator.Context) {
	c.members, c.sorted = refSet{}, nil
	for ref := range c.owners {
		c.place(ctx, ref)
	}
}

// place takes one entity in or out; true means that this changed something.
func (c *container) place(ctx *simulator.Context, ref types.ManagedObjectReference) bool {
	belongs := c.wants(ctx, ref) && c.below(ref)
	if belongs == c.members.has(ref) {
		return false
	}
	if belongs {
		c.members[ref] = struct{}{}
	} else {
		delete(c.members, ref)
	}
	c.sorted = nil
	return true
}

func (c *container) wants(ctx *simulator.Context, ref types.ManagedObjectReference) bool {
	if len(c.kinds) == 0 {
		return true
	}
	object := ctx.Map.Get(ref)
	for _, kind := range c.kinds {
		if isKind(object, ref, kind) {
			return true
		}
	}
	return false
}

// below tells whether a chain of owners leads to the root; without recursion it must be one step long.
func (c *container) below(ref types.ManagedObjectReference) bool {
	for _, up := range c.owners[ref] {
		if up == c.root || c.recursive && c.below(up) {
			return true
		}
	}
	return false
}

// list returns the members in a stable order, older references first.
func (c *container) list() []types.ManagedObjectReference {
	if c.sorted == nil {
		c.sorted = make([]types.ManagedObjectReference, 0, len(c.members))
		for ref := range c.members {
			c.sorted = append(c.sorted, ref)
		}
		slices.SortFunc(c.sorted, func(a, b types.ManagedObjectReference) int {
			return cmp.Or(cmp.Compare(a.Type, b.Type), cmp.Compare(len(a.Value), len(b.Value)), cmp.Compare(a.Value, b.Value))
		})
	}
	return c.sorted
}

// holds tells whether entities of a type can own others.
func holds(kind string) bool {
	switch kind {
	case "VirtualMachine", "Datastore", "Network", "OpaqueNetwork", "DistributedVirtualPortgroup":
		return false
	}
	return true
}

// ownersOf reads what an entity directly belongs to.
func ownersOf(ctx *simulator.Context, ref types.ManagedObjectReference) []types.ManagedObjectReference {
	var owners []types.ManagedObjectReference
	entity, ok := ctx.Map.Get(ref).(mo.Entity)
	if !ok {
		return nil
	}
	ctx.WithLock(ref, func() {
		if parent := entity.Entity().Parent; parent != nil {
			owners = append(owners, *parent)
		}
		if vm, ok := entity.(*simulator.VirtualMachine); ok {
			for _, up := range []*types.ManagedObjectReference{vm.ResourcePool, vm.Runtime.Host} {
				if up != nil {
					owners = append(owners, *up)
				}
			}
		}
	})
	return owners
}

func sameRefs(a, b refSet) bool {
	if len(a) != len(b) {
		return false
	}
	for ref := range a {
		if !b.has(ref) {
			return false
		}
	}
	return true
}
