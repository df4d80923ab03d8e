// The property collector: WaitForUpdatesEx whose cost depends on what changed, not on how much is watched.
//
// The stock collector reads everything that a filter selects again for every change. This one keeps, per filter, the
// selected objects and the values it last reported; it hears which objects changed and reads only those again.
package main

import (
	"context"
	"fmt"
	"log"
	"runtime/debug"
	"sync"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// collector is the lab object to which the calls in collectorMethods and filterMethods are redirected. It serves all
// property collectors of all sessions, and must be told what is added, changed and removed in the registry.
type collector struct {
	mo.FileManager // any managed object type that is not an entity
	noLock

	reg   *simulator.Registry
	alive func(session string) bool
	panic func(any)

	mu      sync.Mutex
	feeds   map[feedKey]*feed
	counter int
	gone    map[types.ManagedObjectReference]struct{} // told removed, perhaps still in the registry for a moment
}

// feedKey names one property collector: every session has one under the same well-known reference.
type feedKey struct {
	session string
	ref     types.ManagedObjectReference
}

var (
	// collectorMethods are the methods of PropertyCollector that the collector serves.
	collectorMethods = []string{
		"CreateFilter", "WaitForUpdatesEx", "WaitForUpdates", "CheckForUpdates", "CancelWaitForUpdates", "DestroyPropertyCollector",
	}
	// filterMethods are the methods of PropertyFilter that the collector serves.
	filterMethods = []string{"DestroyPropertyFilter"}
)

// newCollector makes the collector of a site. alive tells whether a session is still logged in, recovered is told of panics.
func newCollector(reg *simulator.Registry, alive func(string) bool, recovered func(any)) *collector {
	c := &collector{
		reg: reg, alive: alive, panic: recovered,
		feeds: map[feedKey]*feed{},
		gone:  map[types.ManagedObjectReference]struct{}{},
	}
	c.Self = types.ManagedObjectReference{Type: "Lab", Value: "lab-collector"}
	return c
}

// added, changed and removed only take notes: they are called under the locks of objects.
func (c *collector) added(ref types.ManagedObjectReference) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.gone, ref)
	c.note(ref)
}

func (c *collector) changed(ref types.ManagedObjectReference) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.note(ref)
}

func (c *collector) removed(ref types.ManagedObjectReference) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.feeds) != 0 {
		c.gone[ref] = struct{}{}
	}
	c.note(ref)
}

func (c *collector) note(ref types.ManagedObjectReference) {
	for _, f := range c.feeds {
		f.note(ref)
	}
}

// exists tells whether an object can be read in a session.
func (c *collector) exists(ctx *simulator.Context, ref types.ManagedObjectReference) bool {
	c.mu.Lock()
	_, gone := c.gone[ref]
	c.mu.Unlock()
	return !gone && ctx.Session.Get(ref) != nil
}

// forget drops the notes of removals that the registry has carried out.
func (c *collector) forget() {
	c.mu.Lock()
	refs := make([]types.ManagedObjectReference, 0, len(c.gone))
	for ref := range c.gone {
		refs = append(refs, ref)
	}
	c.mu.Unlock()
	for _, ref := range refs {
		if c.reg.Get(ref) != nil {
			continue
		}
		c.mu.Lock()
		delete(c.gone, ref)
		c.mu.Unlock()
	}
}

// open returns the feed of a property collector that exists in the session; it is made at the first use.
func (c *collector) open(ctx *simulator.Context, ref types.ManagedObjectReference) (*feed, types.BaseMethodFault) {
	if ctx.Session.Get(ref) == nil {
		return nil, &types.ManagedObjectNotFound{Obj: ref}
	}
	return c.feed(ctx, ref, true), nil
}

// feed returns the feed of a property collector; it is made when wanted.
func (c *collector) feed(ctx *simulator.Context, ref types.ManagedObjectReference, make bool) *feed {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := feedKey{ctx.Session.Key, ref}
	f := c.feeds[key]
	if f == nil && make {
		c.counter++
		f = newFeed(c, ref, ctx.Session, c.counter)
		c.feeds[key] = f
	}
	return f
}

// sweep drops the feeds of sessions that have ended, and the views they left behind.
func (c *collector) sweep() {
	c.mu.Lock()
	feeds := make(map[feedKey]*feed, len(c.feeds))
	for key, f := range c.feeds {
		feeds[key] = f
	}
	c.mu.Unlock()
	for key, f := range feeds {
		if !c.alive(key.session) {
			c.drop(key, f)
			for _, view := range f.session.AllReference("ContainerView") {
				if listener, ok := view.(simulator.RegisterObject); ok {
					c.reg.RemoveHandler(listener)
				}
			}
		}
	}
}

func (c *collector) drop(key feedKey, f *feed) {
	c.mu.Lock()
	delete(c.feeds, key)
	c.mu.Unlock()
	f.cancelWaits()
}

// CreateFilter adds a filter. As on vCenter an unknown object is refused, unless the spec asks to have it reported.
func (c *collector) CreateFilter(ctx *simulator.Context, req *types.CreateFilter) (res soap.HasFault) {
	defer c.guard(&res)
	c.sweep()
	feed, fault := c.open(ctx, req.This)
	if fault != nil {
		return refuse(fault)
	}
	filter, fault := newFilter(c, ctx, req.Spec)
	if fault != nil {
		return refuse(fault)
	}
	object := &filterObject{}
	object.Self.Type = "PropertyFilter"
	object.Spec, object.PartialUpdates = req.Spec, req.PartialUpdates
	filter.self = ctx.Session.Put(object).Reference()
	feed.add(filter)
	return &methods.CreateFilterBody{Res: &types.CreateFilterResponse{Returnval: filter.self}}
}

// filterObject is the PropertyFilter as clients can read it.
type filterObject struct{ mo.PropertyFilter }

// DestroyPropertyFilter takes a filter away from its collector; a wait in progress goes on with the others.
func (c *collector) DestroyPropertyFilter(ctx *simulator.Context, req *types.DestroyPropertyFilter) (res soap.HasFault) {
	defer c.guard(&res)
	c.mu.Lock()
	for key, f := range c.feeds {
		if key.session == ctx.Session.Key {
			f.remove(req.This)
		}
	}
	c.mu.Unlock()
	ctx.Session.Remove(ctx, req.This)
	return &methods.DestroyPropertyFilterBody{Res: &types.DestroyPropertyFilterResponse{}}
}

// DestroyPropertyCollector ends a collector with its filters and waits.
func (c *collector) DestroyPropertyCollector(ctx *simulator.Context, req *types.DestroyPropertyCollector) (res soap.HasFault) {
	defer c.guard(&res)
	if f := c.feed(ctx, req.This, false); f != nil {
		for _, filter := range f.list() {
			ctx.Session.Remove(ctx, filter.self)
		}
		c.drop(feedKey{ctx.Session.Key, req.This}, f)
	}
	ctx.Session.Remove(ctx, req.This)
	return &methods.DestroyPropertyCollectorBody{Res: &types.DestroyPropertyCollectorResponse{}}
}

// CancelWaitForUpdates ends the waits in progress with RequestCanceled.
func (c *collector) CancelWaitForUpdates(ctx *simulator.Context, req *types.CancelWaitForUpdates) (res soap.HasFault) {
	defer c.guard(&res)
	if f := c.feed(ctx, req.This, false); f != nil {
		f.cancelWaits()
	}
	return &methods.CancelWaitForUpdatesBody{Res: &types.CancelWaitForUpdatesResponse{}}
}

// WaitForUpdatesEx answers with what changed since a version, at once or when something changes.
func (c *collector) WaitForUpdatesEx(ctx *simulator.Context, req *types.WaitForUpdatesEx) (res soap.HasFault) {
	defer c.guard(&res)
	limits := waitLimits{objects: maxObjectUpdates}
	if o := req.Options; o != nil {
		if o.MaxWaitSeconds != nil && *o.MaxWaitSeconds >= 0 {
			limits.timed, limits.wait = true, time.Duration(*o.MaxWaitSeconds)*time.Second
		}
		if o.MaxObjectUpdates > 0 {
			limits.objects = min(int(o.MaxObjectUpdates), maxObjectUpdates)
		}
	}
	set, fault := c.wait(ctx, req.This, req.Version, limits)
	if fault != nil {
		return refuse(fault)
	}
	return &methods.WaitForUpdatesExBody{Res: &types.WaitForUpdatesExResponse{Returnval: set}}
}

// WaitForUpdates is the old form without limits.
func (c *collector) WaitForUpdates(ctx *simulator.Context, req *types.WaitForUpdates) (res soap.HasFault) {
	defer c.guard(&res)
	set, fault := c.wait(ctx, req.This, req.Version, waitLimits{objects: maxObjectUpdates})
	if fault != nil {
		return refuse(fault)
	}
	return &methods.WaitForUpdatesBody{Res: &types.WaitForUpdatesResponse{Returnval: *set}}
}

// CheckForUpdates is the old form that never waits.
func (c *collector) CheckForUpdates(ctx *simulator.Context, req *types.CheckForUpdates) (res soap.HasFault) {
	defer c.guard(&res)
	set, fault := c.wait(ctx, req.This, req.Version, waitLimits{timed: true, objects: maxObjectUpdates})
	if fault != nil {
		return refuse(fault)
	}
	return &methods.CheckForUpdatesBody{Res: &types.CheckForUpdatesResponse{Returnval: set}}
}

func (c *collector) wait(
	ctx *simulator.Context, ref types.ManagedObjectReference, version string, limits waitLimits,
) (*types.UpdateSet, types.BaseMethodFault) {
	feed, fault := c.open(ctx, ref)
	if fault != nil {
		return nil, fault
	}
	return feed.wait(ctx, version, limits)
}

// guard turns a panic of a method into a SystemError fault.
func (c *collector) guard(res *soap.HasFault) {
	if caught := recover(); caught != nil {
		c.panic(caught)
		log.Printf("labsim: property collector: %v\n%s", caught, debug.Stack())
		*res = refuse(&types.SystemError{Reason: fmt.Sprint(caught)})
	}
}

// reader is a context of its own for reading as the session of ctx: it shares no locks with the call.
func reader(ctx *simulator.Context) *simulator.Context {
	return &simulator.Context{Map: ctx.Map, Context: context.Background(), Session: ctx.Session}
}
