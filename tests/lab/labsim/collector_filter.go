// Filters: which objects one PropertyFilterSpec selects, and what of them was reported last.
package main

import (
	"reflect"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/types"
)

type refSet map[types.ManagedObjectReference]struct{}

func (s refSet) has(ref types.ManagedObjectReference) bool {
	_, ok := s[ref]
	return ok
}

// filter is one PropertyFilter. Everything but self belongs to the wait whose turn it is.
type filter struct {
	owner *collector
	self  types.ManagedObjectReference
	spec  types.PropertyFilterSpec

	selection *selection // nil: start all over
	members   refSet
	queue     []types.ManagedObjectReference // members and former members to look at
	queued    refSet
	sent      map[types.ManagedObjectReference]map[string]any // per reported object the values last reported
	missing   []types.MissingObject                           // to be reported
	absent    refSet                                          // reported as missing
}

// newFilter checks a spec: undefined names of traversals and, unless they are to be reported, unknown objects are refused.
func newFilter(owner *collector, ctx *simulator.Context, spec types.PropertyFilterSpec) (*filter, types.BaseMethodFault) {
	if _, fault := newSelection(owner, spec); fault != nil {
		return nil, fault
	}
	if !reportsMissing(spec) {
		for _, o := range spec.ObjectSet {
			if !owner.exists(ctx, o.Obj) {
				return nil, &types.ManagedObjectNotFound{Obj: o.Obj}
			}
		}
	}
	f := &filter{owner: owner, spec: spec}
	f.restart()
	return f, nil
}

// restart forgets what was reported.
func (f *filter) restart() {
	f.selection = nil
	f.members, f.queued, f.queue = refSet{}, refSet{}, nil
	f.sent = map[types.ManagedObjectReference]map[string]any{}
	f.missing, f.absent = nil, refSet{}
}

// absorb finds out what the noted objects mean for this filter; it reads no properties yet.
func (f *filter) absorb(ctx *simulator.Context, dirty refSet) {
	walk := false
	if f.selection == nil {
		f.selection, _ = newSelection(f.owner, f.spec) // checked when the filter was made
		walk = true
	} else {
		walk = f.selection.refresh(ctx, dirty)
	}
	for ref := range dirty {
		if f.members.has(ref) {
			f.enqueue(ref)
			walk = walk || !f.owner.exists(ctx, ref)
		}
	}
	if !walk {
		return
	}
	found, missing := f.selection.walk(ctx)
	now := make(refSet, len(found))
	for _, ref := range found {
		now[ref] = struct{}{}
		if !f.members.has(ref) {
			f.enqueue(ref)
		}
	}
	for ref := range f.members {
		if !now.has(ref) {
			f.enqueue(ref)
		}
	}
	f.members = now
	f.miss(missing)
}

// miss notes objects of the spec that do not exist, each once until it comes back, if the spec asks for it.
func (f *filter) miss(missing []types.MissingObject) {
	absent := refSet{}
	for _, object := range missing {
		absent[object.Obj] = struct{}{}
		if !f.absent.has(object.Obj) && reportsMissing(f.spec) {
			f.missing = append(f.missing, object)
		}
	}
	f.absent = absent
}

func reportsMissing(spec types.PropertyFilterSpec) bool {
	return spec.ReportMissingObjectsInResults != nil && *spec.ReportMissingObjectsInResults
}

func (f *filter) enqueue(ref types.ManagedObjectReference) {
	if f.queued.has(ref) {
		return
	}
	f.queued[ref] = struct{}{}
	f.queue = append(f.queue, ref)
}

// pending tells whether more could be reported than the last report had room for.
func (f *filter) pending() bool { return len(f.queue) != 0 }

// report reads up to max queued objects and returns what is new about them.
func (f *filter) report(ctx *simulator.Context, max int) types.PropertyFilterUpdate {
	update := types.PropertyFilterUpdate{Filter: f.self, MissingSet: f.missing}
	f.missing = nil
	for len(f.queue) != 0 && len(update.ObjectSet) < max {
		n := min(len(f.queue), max-len(update.ObjectSet))
		batch := f.queue[:n]
		f.queue = f.queue[n:]
		content := f.read(ctx, batch)
		for _, ref := range batch {
			delete(f.queued, ref)
			if change, any := f.compare(ref, content[ref]); any {
				update.ObjectSet = append(update.ObjectSet, change)
			}
		}
	}
	return update
}

// read reads the filter's properties of those objects that are still selected; others are absent from the result.
func (f *filter) read(ctx *simulator.Context, refs []types.ManagedObjectReference) map[types.ManagedObjectReference]*types.ObjectContent {
	content := make(map[types.ManagedObjectReference]*types.ObjectContent, len(refs))
	objects := make([]types.ObjectSpec, 0, len(refs))
	for _, ref := range refs {
		if f.members.has(ref) && f.owner.exists(ctx, ref) && f.wants(ctx, ref) {
			objects = append(objects, types.ObjectSpec{Obj: ref})
		}
	}
	if len(objects) == 0 {
		return content
	}
	res := new(simulator.PropertyCollector).RetrievePropertiesEx(ctx, &types.RetrievePropertiesEx{
		SpecSet: []types.PropertyFilterSpec{{
			PropSet: f.spec.PropSet, ObjectSet: objects, ReportMissingObjectsInResults: types.NewBool(true),
		}},
	})
	body, ok := res.(*methods.RetrievePropertiesExBody)
	if !ok || body.Res == nil || body.Res.Returnval == nil {
		return content
	}
	for i := range body.Res.Returnval.Objects {
		object := &body.Res.Returnval.Objects[i]
		content[object.Obj] = object
	}
	return content
}

// wants tells whether any property of the filter is for this kind of object.
func (f *filter) wants(ctx *simulator.Context, ref types.ManagedObjectReference) bool {
	for _, p := range f.spec.PropSet {
		if isKind(ctx.Session.Get(ref), ref, p.Type) {
			return true
		}
	}
	return false
}

// compare turns what was read of an object (nil: gone or not selected) into an update, and remembers it as reported.
func (f *filter) compare(ref types.ManagedObjectReference, now *types.ObjectContent) (types.ObjectUpdate, bool) {
	before, known := f.sent[ref]
	update := types.ObjectUpdate{Obj: ref}
	if now == nil {
		delete(f.sent, ref)
		update.Kind = types.ObjectUpdateKindLeave
		return update, known
	}
	after := make(map[string]any, len(now.PropSet))
	for _, p := range now.PropSet {
		after[p.Name] = p.Val
		if was, had := before[p.Name]; !had || !reflect.DeepEqual(was, p.Val) {
			update.ChangeSet = append(update.ChangeSet, types.PropertyChange{Name: p.Name, Op: types.PropertyChangeOpAssign, Val: p.Val})
		}
	}
	for name := range before {
		if _, has := after[name]; !has {
			update.ChangeSet = append(update.ChangeSet, types.PropertyChange{Name: name, Op: types.PropertyChangeOpIndirectRemove})
		}
	}
	f.sent[ref] = after
	update.Kind = types.ObjectUpdateKindModify
	if !known {
		update.Kind = types.ObjectUpdateKindEnter
		update.MissingSet = now.MissingSet
	}
	return update, !known || len(update.ChangeSet) != 0
}
