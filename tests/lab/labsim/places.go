// Places: where the files that clients name by datastore paths lie on this machine, and what may be done to them.
package main

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

// place is a file or directory behind a datastore path.
type place struct {
	path      string // absolute, on this machine
	access    access // of the export now; the file itself may not exist
	datastore *simulator.Datastore
	test      bool // on an export that an array made for a test, which may run beside the real VMs
}

// locate resolves "[datastore] dir/file". A path of another form or out of the datastore is InvalidDatastorePath, an unknown datastore
// InvalidDatastore; an export that is withdrawn or denied gives a place with access none.
func (h *hub) locate(file string) (place, types.BaseMethodFault) {
	var parsed object.DatastorePath
	if !parsed.FromString(file) || parsed.Datastore == "" || slices.Contains(strings.Split(parsed.Path, "/"), "..") {
		return place{}, &types.InvalidDatastorePath{InvalidDatastore: types.InvalidDatastore{Name: file}, DatastorePath: file}
	}
	datastore := h.datastoreNamed(parsed.Datastore)
	if datastore == nil {
		return place{}, &types.InvalidDatastore{Name: parsed.Datastore}
	}
	server, path := h.exportOf(datastore)
	export, err := h.exports.lookup(server, path)
	found := place{datastore: datastore, access: export.access, test: slices.Contains(strings.Split(path, "/"), "tests")}
	if err != nil {
		found.access = accessNone
	}
	if export.dir != "" {
		found.path = filepath.Join(export.dir, filepath.Clean("/"+parsed.Path))
	}
	return found, nil
}

// datastoreNamed finds a mounted datastore; nil when there is none of that name.
func (h *hub) datastoreNamed(name string) *simulator.Datastore {
	for _, entity := range h.reg.All("Datastore") {
		if datastore, ok := entity.(*simulator.Datastore); ok && nameOf(h.reg, datastore.Self) == name {
			return datastore
		}
	}
	return nil
}

// exportOf is the NFS server and path of a datastore.
func (h *hub) exportOf(datastore *simulator.Datastore) (server, path string) {
	locked(h.reg, datastore.Self, func() {
		if info, ok := datastore.Info.(*types.NasDatastoreInfo); ok && info.Nas != nil {
			server, path = info.Nas.RemoteHost, info.Nas.RemotePath
		}
	})
	return server, path
}

// vmEvent fills what every event of a VM names: the VM, its host, cluster, datacenter and datastore.
func (h *hub) vmEvent(ctx *simulator.Context, vm *simulator.VirtualMachine) types.VmEvent {
	var name string
	var host *types.ManagedObjectReference
	var stores []types.ManagedObjectReference
	h.locked(ctx, vm.Self, func() {
		name, host, stores = vm.Name, vm.Runtime.Host, slices.Clone(vm.Datastore)
	})
	argument := func(ref types.ManagedObjectReference) types.EntityEventArgument {
		return types.EntityEventArgument{Name: nameOf(h.reg, ref)}
	}
	dc, cluster := h.datacenter().Self, h.cluster().Self
	event := types.VmEvent{Event: types.Event{
		Datacenter:      &types.DatacenterEventArgument{EntityEventArgument: argument(dc), Datacenter: dc},
		ComputeResource: &types.ComputeResourceEventArgument{EntityEventArgument: argument(cluster), ComputeResource: cluster},
		Vm:              &types.VmEventArgument{EntityEventArgument: types.EntityEventArgument{Name: name}, Vm: vm.Self},
	}}
	if host != nil {
		event.Host = &types.HostEventArgument{EntityEventArgument: argument(*host), Host: *host}
	}
	if len(stores) != 0 {
		event.Ds = &types.DatastoreEventArgument{EntityEventArgument: argument(stores[0]), Datastore: stores[0]}
	}
	return event
}

// writable is locate for files that are to be written: an export that is not writable is CannotAccessFile.
func (h *hub) writable(file string) (place, types.BaseMethodFault) {
	at, fault := h.locate(file)
	if fault == nil && at.access != accessRW {
		fault = withMessage(&types.CannotAccessFile{FileFault: types.FileFault{File: file}},
			"Unable to access file %s: the export of the datastore is not writable (%s)", file, at.access)
	}
	return at, fault
}
