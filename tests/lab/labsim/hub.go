// Hub: the stock simulator and the lab's own parts around it, and how calls find their way to them.
package main

import (
	"fmt"
	"log"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// hub is one simulated site: the stock simulator and the lab's own parts around it.
//
// Calls reach the lab's parts by redirection: the registry's Handler rewrites the target of a call to a lab object,
// the request itself still names the real one. The stock objects stay what they are.
type hub struct {
	lab      *labFile
	svc      *simulator.Service
	reg      *simulator.Registry
	boot     *simulator.Context // the lab's own session, for work no client asked for
	rules    *Rules
	counters *counters
	exports  *exportTable
	locks    *fileLocks
	keeper   atomic.Pointer[stateFile] // nil when nothing is kept
	guests   *guests
	turns    turns

	redirects map[string]types.ManagedObjectReference // "VirtualMachine.PowerOnVM_Task" -> lab object
	taskSeq   atomic.Int64

	mu      sync.Mutex
	cancels map[types.ManagedObjectReference]chan struct{}
	listen  []inventoryListener
}

// inventoryListener hears of every published change. It is called under the locks of objects: be quick, lock nothing of the registry.
type inventoryListener interface {
	added(ref types.ManagedObjectReference)
	changed(ref types.ManagedObjectReference)
	removed(ref types.ManagedObjectReference)
}

// noLock keeps the registry from locking a lab object during calls: one long call must not block all others.
type noLock struct{}

func (*noLock) Lock()   {}
func (*noLock) Unlock() {}

func newHub(lab *labFile, svc *simulator.Service, boot *simulator.Context) *hub {
	h := &hub{
		lab: lab, svc: svc, reg: boot.Map, boot: boot,
		rules:     newRules(),
		counters:  newCounters(boot.Map),
		exports:   newExportTable(lab.NFSServers),
		redirects: map[string]types.ManagedObjectReference{},
		cancels:   map[types.ManagedObjectReference]chan struct{}{},
	}
	h.reg.AddHandler(&watcher{h})
	h.reg.Handler = h.dispatch
	return h
}

// redirect sends the named methods of one type to a lab object, which is put in the registry under its own reference.
func (h *hub) redirect(object mo.Reference, kind string, methods ...string) {
	h.reg.Put(object)
	for _, method := range methods {
		h.redirects[kind+"."+method] = object.Reference()
	}
}

func labRef(name string) types.ManagedObjectReference {
	return types.ManagedObjectReference{Type: "Lab", Value: "lab-" + name}
}

// dispatch is called for every call before its object is chosen; no lock is held.
func (h *hub) dispatch(ctx *simulator.Context, method *simulator.Method) (mo.Reference, types.BaseMethodFault) {
	if fault := h.admit(ctx, method); fault != nil {
		return nil, fault
	}
	if h.reg.Get(method.This) == nil && (ctx.Session == nil || ctx.Session.Get(method.This) == nil) {
		return nil, nil // the stock code answers ManagedObjectNotFound
	}
	lab, redirected := h.redirects[method.This.Type+"."+method.Name]
	if !redirected {
		return nil, nil
	}
	method.This = lab
	return h.reg.Get(lab), nil
}

// admit refuses what the user may not do and what the stock simulator cannot survive.
func (h *hub) admit(ctx *simulator.Context, method *simulator.Method) types.BaseMethodFault {
	switch method.Name {
	case "LoginByToken", "LoginExtensionByCertificate":
		return &types.InvalidLogin{}
	case "StartProgramInGuest", "ImportVApp", "CreateChildVM_Task", "CloneVM_Task", "CreateVApp", "InstantCloneVM_Task":
		return &types.NotSupported{}
	}
	return h.checkPrivilege(ctx, method)
}

// call describes a request for rules and counters.
func (h *hub) call(ctx *simulator.Context, method string, this types.ManagedObjectReference, body any) Call {
	user := ""
	if ctx.Session != nil {
		user = ctx.Session.UserName
	}
	return describe(h.reg, method, this, body, user)
}

// guard is deferred by every lab method: a panic becomes a SystemError and the process lives on.
func (h *hub) guard(result *soap.HasFault) {
	if panicked := recover(); panicked != nil {
		h.panicked(panicked)
		*result = refuse(&types.SystemError{Reason: fmt.Sprint(panicked)})
	}
}

func (h *hub) panicked(reason any) {
	h.counters.recovered(reason)
	log.Printf("labsim: recovered: %v\n%s", reason, debug.Stack())
}

// locked runs f under the lock of an object and gives the lock back whatever happens in f.
func (h *hub) locked(ctx *simulator.Context, object mo.Reference, f func()) {
	defer h.reg.AcquireLock(ctx, object)()
	f()
}

// update publishes changes of an object under its lock.
func (h *hub) update(ctx *simulator.Context, object mo.Reference, changes ...types.PropertyChange) {
	h.locked(ctx, object, func() { h.reg.Update(ctx, object, changes) })
}

// set is one assignment for update.
func set(path string, value any) types.PropertyChange {
	return types.PropertyChange{Name: path, Val: value}
}

// background is a context for work of the lab itself; its locks are its own.
func (h *hub) background() *simulator.Context {
	return detached(h.boot)
}

func (h *hub) newTaskRef() types.ManagedObjectReference {
	return types.ManagedObjectReference{Type: "Task", Value: fmt.Sprintf("task-%d", 1_000_000+h.taskSeq.Add(1))}
}

func (h *hub) post(ctx *simulator.Context, events ...types.BaseEvent) {
	manager := h.reg.EventManager()
	own := ctx
	if ctx.Session == nil {
		own = h.background()
	}
	h.locked(own, manager, func() {
		for _, event := range events {
			manager.PostEvent(own, &types.PostEvent{EventToPost: event})
		}
	})
}

// watcher sees every object that is put, changed or removed.
type watcher struct{ h *hub }

func (*watcher) Reference() types.ManagedObjectReference { return labRef("watcher") }

// PutObject wraps what a new task executes: a panic in it must not end the process. Virtual machines made by stock code
// enter the inventory before they are named; a provisional name keeps readers from tripping over them.
func (w *watcher) PutObject(_ *simulator.Context, object mo.Reference) {
	switch o := object.(type) {
	case *simulator.Task:
		execute := o.Execute
		o.Execute = func(t *simulator.Task) (result types.AnyType, fault types.BaseMethodFault) {
			defer func() {
				if panicked := recover(); panicked != nil {
					w.h.panicked(panicked)
					result, fault = nil, &types.SystemError{Reason: fmt.Sprint(panicked)}
				}
				if t.Info.Entity != nil && t.Info.Entity.Type == "HostSystem" {
					go w.h.publishHost(*t.Info.Entity) // waits for the lock that the task holds
				}
			}()
			return execute(t)
		}
	case *simulator.VirtualMachine:
		if o.Name == "" {
			o.Name = o.Self.Value
		}
	}
	w.h.noteState(object.Reference(), nil)
	for _, l := range w.h.listen {
		l.added(object.Reference())
	}
}

func (w *watcher) UpdateObject(_ *simulator.Context, object mo.Reference, changes []types.PropertyChange) {
	ref := object.Reference()
	w.h.noteState(ref, changes)
	if ref.Type == "Task" {
		for _, change := range changes {
			if strings.HasPrefix(change.Name, "info.cancelled") {
				w.h.cancelTask(ref)
			}
		}
	}
	for _, l := range w.h.listen {
		l.changed(ref)
	}
}

func (w *watcher) RemoveObject(_ *simulator.Context, ref types.ManagedObjectReference) {
	w.h.noteState(ref, nil)
	for _, l := range w.h.listen {
		l.removed(ref)
	}
}
