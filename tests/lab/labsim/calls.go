// Calls: what one SOAP request is about, in the words that rules, counters and logs use.
package main

import (
	"context"
	"strings"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// Call says what one wire call is about.
type Call struct {
	Method string                       // wire name: PowerOnVM_Task
	Object types.ManagedObjectReference // _this of the call
	Name   string                       // name of the object the call is about; for RegisterVM the name argument or the .vmx path
	User   string                       // user of the session; empty without one
	Key    string                       // stable key for counting: VM name, .vmx path, server:path@host, or entity name
}

// mutation is the key under which counters know the call: "PowerOnVM_Task erp-db".
func (c Call) mutation() string {
	return c.Method + " " + c.Key
}

// describe finds the Call of a decoded request. It reads names under the objects' own locks, so call it with no lock held.
func describe(reg *simulator.Registry, method string, this types.ManagedObjectReference, body any, user string) Call {
	call := Call{Method: method, Object: this, User: user}
	call.Name, call.Key = subject(reg, this, body)
	return call
}

// subject returns the name and the counting key of what a request is about.
func subject(reg *simulator.Registry, this types.ManagedObjectReference, body any) (string, string) {
	switch req := body.(type) {
	case *types.RegisterVM_Task:
		if req.Name != "" {
			return req.Name, req.Path
		}
		return req.Path, req.Path
	case *types.CreateVM_Task:
		return both(req.Config.Name)
	case *types.CloneVM_Task:
		return both(req.Name)
	case *types.CreateFolder:
		return both(req.Name)
	case *types.CreateResourcePool:
		return both(req.Name)
	case *types.CreateNasDatastore:
		return req.Spec.LocalPath, req.Spec.RemoteHost + ":" + req.Spec.RemotePath + "@" + ownerHost(reg, this)
	case *types.RemoveDatastore:
		name, export := datastoreExport(reg, req.Datastore)
		return name, export + "@" + ownerHost(reg, this)
	case *types.RegisterExtension:
		return both(req.Extension.Key)
	case *types.CustomizeVM_Task, *types.ReconfigVM_Task:
		return both(nameOf(reg, this))
	}
	if strings.HasPrefix(this.Type, "Host") && this.Type != "HostSystem" {
		if host := ownerHost(reg, this); host != "" {
			return both(host)
		}
	}
	return both(nameOf(reg, this))
}

func both(name string) (string, string) { return name, name }

// locked runs f under the lock of ref, on behalf of nobody else.
func locked(reg *simulator.Registry, ref types.ManagedObjectReference, f func()) {
	reg.WithLock(&simulator.Context{Map: reg, Context: context.Background()}, ref, f)
}

// nameOf is the inventory name of an entity, or the moref value of anything else.
func nameOf(reg *simulator.Registry, ref types.ManagedObjectReference) string {
	name := ref.Value
	entity, ok := reg.Get(ref).(mo.Entity)
	if !ok {
		return name
	}
	locked(reg, ref, func() {
		switch e := entity.(type) {
		case *mo.Network:
			name = e.Name
		case *mo.OpaqueNetwork:
			name = e.Name
		case *simulator.DistributedVirtualPortgroup:
			name = e.Name
		case *simulator.DistributedVirtualSwitch:
			name = e.Name
		default:
			if n := e.Entity().Name; n != "" {
				name = n
			}
		}
	})
	return name
}

// ownerHost is the name of the host whose manager (datastore system, storage system, ...) this is; empty when there is none.
func ownerHost(reg *simulator.Registry, manager types.ManagedObjectReference) string {
	for _, entity := range reg.All("HostSystem") {
		host, ok := entity.(*simulator.HostSystem)
		if !ok {
			continue
		}
		m := host.ConfigManager
		for _, ref := range []*types.ManagedObjectReference{m.DatastoreSystem, m.StorageSystem, m.NetworkSystem, m.AdvancedOption} {
			if ref != nil && *ref == manager {
				return nameOf(reg, host.Self)
			}
		}
	}
	return ""
}

// datastoreExport returns a datastore's name and server:path; the name stands for the export of anything but NFS.
func datastoreExport(reg *simulator.Registry, ref types.ManagedObjectReference) (string, string) {
	datastore, ok := reg.Get(ref).(*simulator.Datastore)
	if !ok {
		return ref.Value, ref.Value
	}
	var name, export string
	locked(reg, ref, func() {
		name, export = datastore.Name, datastore.Name
		if info, ok := datastore.Info.(*types.NasDatastoreInfo); ok && info.Nas != nil {
			export = info.Nas.RemoteHost + ":" + info.Nas.RemotePath
		}
	})
	return name, export
}

// readOnly lists how the wire names of calls begin that change nothing a recovery cares about.
var readOnly = []string{
	"Retrieve", "ContinueRetrieve", "Query", "Find", "Fetch", "List", "Check", "Validate", "Estimate", "Has", "Search", "Get", "Recommend",
	"WaitFor", "CancelWaitFor", "CancelRetrieve", "CreateFilter", "CreatePropertyCollector", "DestroyProperty",
	"CreateContainerView", "CreateInventoryView", "CreateListView", "ModifyListView", "ResetListView", "DestroyView", "OpenInventoryView", "CloseInventoryView",
	"Login", "Logout", "CurrentTime", "SessionIsActive", "AcquireCloneTicket", "CloneSession", "TerminateSession", "AcquireTicket",
	"CreateCollectorFor", "ReadNext", "ReadPrevious", "RewindCollector", "ResetCollector", "DestroyCollector", "SetCollectorPageSize", "LatestPage",
	"Refresh", "DoesCustomizationSpecExist",
}

// mutates tells whether a method changes inventory, files, power or configuration.
func mutates(method string) bool {
	for _, prefix := range readOnly {
		if strings.HasPrefix(method, prefix) {
			return false
		}
	}
	return true
}
