// Selections: the objects that the ObjectSet of a filter leads to, through views and traversals.
package main

import (
	"slices"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

// edge is one traversal from one object: the property that was followed.
type edge struct {
	from types.ManagedObjectReference
	path string
}

// selection remembers where traversals led, so that only what changed is read again.
type selection struct {
	owner *collector
	spec  types.PropertyFilterSpec
	named map[string]*types.TraversalSpec

	edges map[edge][]types.ManagedObjectReference
	paths map[types.ManagedObjectReference][]string // the edges of an object
	views map[types.ManagedObjectReference]*container
}

// newSelection fails with InvalidArgument when the spec refers to a traversal it does not define.
func newSelection(owner *collector, spec types.PropertyFilterSpec) (*selection, types.BaseMethodFault) {
	s := &selection{
		owner: owner, spec: spec,
		named: map[string]*types.TraversalSpec{},
		edges: map[edge][]types.ManagedObjectReference{},
		paths: map[types.ManagedObjectReference][]string{},
		views: map[types.ManagedObjectReference]*container{},
	}
	for _, o := range spec.ObjectSet {
		s.define(o.SelectSet)
	}
	for _, o := range spec.ObjectSet {
		if !s.defined(o.SelectSet) {
			return nil, &types.InvalidArgument{InvalidProperty: "spec.objectSet.selectSet"}
		}
	}
	return s, nil
}

func (s *selection) define(set []types.BaseSelectionSpec) {
	for _, spec := range set {
		if t, ok := spec.(*types.TraversalSpec); ok {
			if t.Name != "" {
				s.named[t.Name] = t
			}
			s.define(t.SelectSet)
		}
	}
}

func (s *selection) defined(set []types.BaseSelectionSpec) bool {
	for _, spec := range set {
		if t, ok := spec.(*types.TraversalSpec); ok {
			if !s.defined(t.SelectSet) {
				return false
			}
		} else if s.named[spec.GetSelectionSpec().Name] == nil {
			return false
		}
	}
	return true
}

// refresh follows the traversals from the noted objects again; true means that they lead elsewhere now.
func (s *selection) refresh(ctx *simulator.Context, dirty refSet) bool {
	moved := false
	for ref := range dirty {
		for _, path := range s.paths[ref] {
			if s.views[ref] != nil {
				continue // a container view is recomputed from its entities, below
			}
			now := refsAt(ctx, ref, path)
			if key := (edge{ref, path}); !slices.Equal(s.edges[key], now) {
				s.edges[key] = now
				moved = true
			}
		}
		for _, o := range s.spec.ObjectSet {
			moved = moved || o.Obj == ref && s.paths[ref] == nil // it may have come into being
		}
	}
	for _, view := range s.views {
		if view.refresh(ctx, dirty) {
			moved = true
		}
	}
	return moved
}

// walk returns the selected objects in the order in which traversals reach them, and the objects of the spec that do not exist.
func (s *selection) walk(ctx *simulator.Context) ([]types.ManagedObjectReference, []types.MissingObject) {
	w := &walk{selection: s, ctx: ctx, found: refSet{}, done: map[step]struct{}{}}
	var missing []types.MissingObject
	for _, o := range s.spec.ObjectSet {
		if !s.owner.exists(ctx, o.Obj) {
			missing = append(missing, types.MissingObject{
				Obj:   o.Obj,
				Fault: types.LocalizedMethodFault{Fault: &types.ManagedObjectNotFound{Obj: o.Obj}},
			})
			continue
		}
		if o.SelectSet == nil || o.Skip == nil || !*o.Skip {
			w.choose(o.Obj)
		}
		w.follow(o.Obj, o.SelectSet)
	}
	return w.order, missing
}

// step is one traversal applied to one object; each is taken once, so cycles end.
type step struct {
	from types.ManagedObjectReference
	via  *types.TraversalSpec
}

type walk struct {
	*selection
	ctx   *simulator.Context
	found refSet
	order []types.ManagedObjectReference
	done  map[step]struct{}
}

func (w *walk) choose(ref types.ManagedObjectReference) {
	if !w.found.has(ref) && w.owner.exists(w.ctx, ref) {
		w.found[ref] = struct{}{}
		w.order = append(w.order, ref)
	}
}

func (w *walk) follow(from types.ManagedObjectReference, set []types.BaseSelectionSpec) {
	for _, spec := range set {
		via, ok := spec.(*types.TraversalSpec)
		if !ok {
			via = w.named[spec.GetSelectionSpec().Name]
		}
		if _, taken := w.done[step{from, via}]; taken {
			continue
		}
		w.done[step{from, via}] = struct{}{}
		for _, to := range w.lead(from, via) {
			if via.Skip == nil || !*via.Skip {
				w.choose(to)
			}
			if len(via.SelectSet) != 0 && w.owner.exists(w.ctx, to) {
				w.follow(to, via.SelectSet)
			}
		}
	}
}

// lead returns where a traversal leads from an object, from memory if it has been asked before.
func (w *walk) lead(from types.ManagedObjectReference, via *types.TraversalSpec) []types.ManagedObjectReference {
	object := w.ctx.Session.Get(from)
	if view, ok := object.(*simulator.ContainerView); ok && via.Path == "view" {
		if w.views[from] == nil {
			w.views[from] = newContainer(w.ctx, w.owner, view)
			w.paths[from] = append(w.paths[from], via.Path)
		}
		return w.views[from].list()
	}
	if _, view := object.(*simulator.ListView); !view && !isKind(object, from, via.Type) {
		return nil
	}
	key := edge{from, via.Path}
	refs, known := w.edges[key]
	if !known {
		refs = refsAt(w.ctx, from, via.Path)
		w.edges[key] = refs
		w.paths[from] = append(w.paths[from], via.Path)
	}
	return refs
}
