// NAS: mounting and unmounting NFS exports on hosts, as HostDatastoreSystem does it.
package main

import (
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

const (
	datastoreCapacity = int64(8) << 40
	datastoreFree     = int64(6) << 40
)

// storage is the lab object behind the datastore systems of all hosts and behind the datastores themselves.
type storage struct {
	mo.FileManager
	noLock

	hub *hub
	mu  sync.Mutex // mounts and unmounts go one after another
}

func (h *hub) installStorage() *storage {
	s := &storage{hub: h}
	s.Self = labRef("storage")
	h.redirect(s, "HostDatastoreSystem", "CreateNasDatastore", "RemoveDatastore")
	h.redirect(s, "Datastore", "Destroy_Task", "DestroyDatastore", "RefreshDatastore", "RefreshDatastoreStorageInfo", "Rename_Task")
	return s
}

// CreateNasDatastore mounts an export on one host. The first mount makes the datastore, others join it.
func (s *storage) CreateNasDatastore(ctx *simulator.Context, req *types.CreateNasDatastore) (res soap.HasFault) {
	defer s.hub.guard(&res)
	host := s.hostOf(req.This)
	if host == nil {
		return refuse(notFoundObject(req.This))
	}
	ref, fault := s.mount(detached(ctx), host, req.Spec)
	if fault != nil {
		return refuse(fault)
	}
	s.hub.saveState()
	return &methods.CreateNasDatastoreBody{Res: &types.CreateNasDatastoreResponse{Returnval: ref}}
}

// RemoveDatastore unmounts it from one host; with the last host the datastore is gone.
func (s *storage) RemoveDatastore(ctx *simulator.Context, req *types.RemoveDatastore) (res soap.HasFault) {
	defer s.hub.guard(&res)
	host := s.hostOf(req.This)
	if host == nil {
		return refuse(notFoundObject(req.This))
	}
	ds, ok := s.hub.reg.Get(req.Datastore).(*simulator.Datastore)
	if !ok {
		return refuse(notFoundObject(req.Datastore))
	}
	if fault := s.unmount(detached(ctx), host, ds); fault != nil {
		return refuse(fault)
	}
	s.hub.saveState()
	return &methods.RemoveDatastoreBody{Res: &types.RemoveDatastoreResponse{}}
}

// DestroyTask unmounts a datastore from all its hosts.
func (s *storage) DestroyTask(ctx *simulator.Context, req *types.Destroy_Task) (res soap.HasFault) {
	defer s.hub.guard(&res)
	ds, ok := s.hub.reg.Get(req.This).(*simulator.Datastore)
	if !ok {
		return refuse(notFoundObject(req.This))
	}
	task := s.hub.startTask(ctx, ds, s.hub.call(ctx, "Destroy_Task", req.This, req), func(ctx *simulator.Context) (types.AnyType, types.BaseMethodFault) {
		return nil, s.destroy(ctx, ds)
	})
	return &methods.Destroy_TaskBody{Res: &types.Destroy_TaskResponse{Returnval: task}}
}

// DestroyDatastore is the older form of the same.
func (s *storage) DestroyDatastore(ctx *simulator.Context, req *types.DestroyDatastore) (res soap.HasFault) {
	defer s.hub.guard(&res)
	ds, ok := s.hub.reg.Get(req.This).(*simulator.Datastore)
	if !ok {
		return refuse(notFoundObject(req.This))
	}
	if fault := s.destroy(detached(ctx), ds); fault != nil {
		return refuse(fault)
	}
	return &methods.DestroyDatastoreBody{Res: &types.DestroyDatastoreResponse{}}
}

// RefreshDatastore looks at the export at once instead of waiting for the watcher.
func (s *storage) RefreshDatastore(ctx *simulator.Context, req *types.RefreshDatastore) (res soap.HasFault) {
	defer s.hub.guard(&res)
	if fault := s.refresh(detached(ctx), req.This); fault != nil {
		return refuse(fault)
	}
	return &methods.RefreshDatastoreBody{Res: &types.RefreshDatastoreResponse{}}
}

// RefreshDatastoreStorageInfo does the same.
func (s *storage) RefreshDatastoreStorageInfo(ctx *simulator.Context, req *types.RefreshDatastoreStorageInfo) (res soap.HasFault) {
	defer s.hub.guard(&res)
	if fault := s.refresh(detached(ctx), req.This); fault != nil {
		return refuse(fault)
	}
	return &methods.RefreshDatastoreStorageInfoBody{Res: &types.RefreshDatastoreStorageInfoResponse{}}
}

// RenameTask renames a datastore; the paths of the VMs on it follow.
func (s *storage) RenameTask(ctx *simulator.Context, req *types.Rename_Task) (res soap.HasFault) {
	defer s.hub.guard(&res)
	ds, ok := s.hub.reg.Get(req.This).(*simulator.Datastore)
	if !ok {
		return refuse(notFoundObject(req.This))
	}
	task := s.hub.startTask(ctx, ds, s.hub.call(ctx, "Rename_Task", req.This, req), func(ctx *simulator.Context) (types.AnyType, types.BaseMethodFault) {
		return nil, s.rename(ctx, ds, req.NewName)
	})
	return &methods.Rename_TaskBody{Res: &types.Rename_TaskResponse{Returnval: task}}
}

func (s *storage) rename(ctx *simulator.Context, ds *simulator.Datastore, name string) types.BaseMethodFault {
	s.mu.Lock()
	defer s.mu.Unlock()
	if other := s.hub.datastoreNamed(name); other != nil && other != ds {
		return &types.DuplicateName{Name: name, Object: other.Self}
	}
	if len(s.vmsOn(ctx, ds.Self, nil)) != 0 {
		return withMessage(&types.ResourceInUse{Type: "Datastore", Name: ds.Name}, "The datastore '%s' is in use by virtual machines.", ds.Name)
	}
	info := *ds.Info.(*types.NasDatastoreInfo)
	info.Name = name
	s.hub.update(ctx, ds, set("name", name), set("summary.name", name), set("info", &info))
	return nil
}

// hostOf finds the host of a datastore system.
func (s *storage) hostOf(system types.ManagedObjectReference) *simulator.HostSystem {
	for _, e := range s.hub.reg.All("HostSystem") {
		if host, ok := e.(*simulator.HostSystem); ok && host.ConfigManager.DatastoreSystem != nil && *host.ConfigManager.DatastoreSystem == system {
			return host
		}
	}
	return nil
}

func (s *storage) mount(ctx *simulator.Context, host *simulator.HostSystem, spec types.HostNasVolumeSpec) (types.ManagedObjectReference, types.BaseMethodFault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	none := types.ManagedObjectReference{}
	for property, value := range map[string]string{"spec.remoteHost": spec.RemoteHost, "spec.remotePath": spec.RemotePath, "spec.localPath": spec.LocalPath} {
		if value == "" {
			return none, invalid(property)
		}
	}
	ds, fault := s.joins(ctx, host, spec)
	if fault != nil {
		return none, fault
	}
	export, err := s.hub.exports.lookup(spec.RemoteHost, spec.RemotePath)
	if err != nil {
		return none, withMessage(&types.PlatformConfigFault{Text: err.Error()},
			"Mounting %s:%s on %s failed: %v", spec.RemoteHost, spec.RemotePath, host.Name, err)
	}
	if ds == nil {
		ds = s.newDatastore(ctx, spec, export, none)
	}
	s.attach(ctx, host, ds, spec.AccessMode)
	return ds.Self, nil
}

// joins finds the datastore that a mount would join, nil for a new one, and refuses what contradicts a mount there is.
func (s *storage) joins(ctx *simulator.Context, host *simulator.HostSystem, spec types.HostNasVolumeSpec) (*simulator.Datastore, types.BaseMethodFault) {
	named := s.hub.datastoreNamed(spec.LocalPath)
	if named != nil {
		if server, path := s.hub.exportOf(named); server != spec.RemoteHost || path != spec.RemotePath {
			return nil, withMessage(&types.DuplicateName{Name: spec.LocalPath, Object: named.Self},
				"The name '%s' already exists: it is the mount of %s:%s.", spec.LocalPath, server, path)
		}
	}
	for _, e := range s.hub.reg.All("Datastore") {
		ds := e.(*simulator.Datastore)
		server, path := s.hub.exportOf(ds)
		if server == spec.RemoteHost && path == spec.RemotePath && (ds != named || s.mountedOn(ctx, ds, host.Self)) {
			return nil, withMessage(&types.AlreadyExists{Name: nameOf(s.hub.reg, ds.Self)},
				"%s:%s is already mounted as '%s'.", server, path, nameOf(s.hub.reg, ds.Self))
		}
	}
	return named, nil
}

func (s *storage) mountedOn(ctx *simulator.Context, ds *simulator.Datastore, host types.ManagedObjectReference) bool {
	mounted := false
	s.hub.locked(ctx, ds.Self, func() {
		mounted = slices.ContainsFunc(ds.Host, func(m types.DatastoreHostMount) bool { return m.Key == host })
	})
	return mounted
}

// newDatastore puts a datastore without hosts into the inventory; self is its reference, or empty for a new one.
func (s *storage) newDatastore(ctx *simulator.Context, spec types.HostNasVolumeSpec, e export, self types.ManagedObjectReference) *simulator.Datastore {
	ds := &simulator.Datastore{}
	ds.Name = spec.LocalPath
	ds.Self = self
	if self.Value == "" {
		s.hub.reg.NewEntity(ds)
	}
	ds.Capability = types.DatastoreCapability{
		DirectoryHierarchySupported: true, PerFileThinProvisioningSupported: true,
		StorageIORMSupported: types.NewBool(false), NativeSnapshotSupported: types.NewBool(false), TopLevelDirectoryCreateSupported: types.NewBool(true),
	}
	url := s.directory(e)
	ds.Info = &types.NasDatastoreInfo{
		DatastoreInfo: types.DatastoreInfo{Name: ds.Name, Url: url, FreeSpace: datastoreFree, MaxFileSize: datastoreCapacity, Timestamp: types.NewTime(time.Now())},
		Nas: &types.HostNasVolume{
			HostFileSystemVolume: types.HostFileSystemVolume{Type: "NFS", Name: ds.Name, Capacity: datastoreCapacity},
			RemoteHost:           spec.RemoteHost, RemotePath: spec.RemotePath, RemoteHostNames: []string{spec.RemoteHost},
		},
	}
	ds.Summary = types.DatastoreSummary{
		Datastore: &ds.Self, Name: ds.Name, Url: url, Capacity: datastoreCapacity, FreeSpace: datastoreFree,
		Accessible: e.access != accessNone, MultipleHostAccess: types.NewBool(true), Type: "NFS",
		MaintenanceMode: string(types.DatastoreSummaryMaintenanceModeStateNormal),
	}
	browser := &simulator.HostDatastoreBrowser{}
	browser.Datastore = []types.ManagedObjectReference{ds.Self}
	ds.Browser = s.hub.reg.Put(browser).Reference()
	dc := s.hub.datacenter()
	s.hub.putChild(ctx, dc.DatastoreFolder, ds)
	s.hub.editRefs(ctx, dc, "datastore", &dc.Datastore, ds.Self, true)
	return ds
}

// directory is what stock code resolves paths against; one that does not exist while the export is withdrawn.
func (s *storage) directory(e export) string {
	if e.access == accessNone {
		return filepath.Join(s.hub.lab.Root, "no-such-export")
	}
	return e.dir
}

// attach adds one host to a datastore and publishes it on all sides.
func (s *storage) attach(ctx *simulator.Context, host *simulator.HostSystem, ds *simulator.Datastore, mode string) {
	h := s.hub
	if mode == "" {
		mode = string(types.HostMountModeReadWrite)
	}
	h.locked(ctx, ds.Self, func() {
		mount := types.DatastoreHostMount{Key: host.Self, MountInfo: types.HostMountInfo{
			Path: "/vmfs/volumes/" + volumeIDOf(ds), AccessMode: mode, Mounted: types.NewBool(true), Accessible: types.NewBool(ds.Summary.Accessible),
		}}
		h.reg.Update(ctx, ds, []types.PropertyChange{set("host", append(slices.Clone(ds.Host), mount))})
	})
	h.editRefs(ctx, host, "datastore", &host.Datastore, ds.Self, true)
	if system, ok := h.reg.Get(*host.ConfigManager.DatastoreSystem).(*simulator.HostDatastoreSystem); ok {
		h.editRefs(ctx, system, "datastore", &system.Datastore, ds.Self, true)
	}
	cluster := h.cluster()
	h.editRefs(ctx, cluster, "datastore", &cluster.Datastore, ds.Self, true)
}

func volumeIDOf(ds *simulator.Datastore) string {
	nas := ds.Info.(*types.NasDatastoreInfo).Nas
	return volumeID(nas.RemoteHost, nas.RemotePath)
}

func (s *storage) unmount(ctx *simulator.Context, host *simulator.HostSystem, ds *simulator.Datastore) types.BaseMethodFault {
	s.mu.Lock()
	defer s.mu.Unlock()
	name := nameOf(s.hub.reg, ds.Self)
	if !s.mountedOn(ctx, ds, host.Self) {
		return withMessage(&types.NotFound{}, "Datastore '%s' is not mounted on %s.", name, host.Name)
	}
	if vms := s.vmsOn(ctx, ds.Self, &host.Self); len(vms) != 0 {
		return withMessage(&types.ResourceInUse{Type: "Datastore", Name: name},
			"The resource '%s' is in use: on %s by virtual machine '%s'.", name, host.Name, vms[0])
	}
	s.detach(ctx, host, ds)
	return nil
}

func (s *storage) destroy(ctx *simulator.Context, ds *simulator.Datastore) types.BaseMethodFault {
	s.mu.Lock()
	defer s.mu.Unlock()
	name := nameOf(s.hub.reg, ds.Self)
	if vms := s.vmsOn(ctx, ds.Self, nil); len(vms) != 0 {
		return withMessage(&types.ResourceInUse{Type: "Datastore", Name: name},
			"The resource '%s' is in use by virtual machine '%s'.", name, vms[0])
	}
	var hosts []types.ManagedObjectReference
	s.hub.locked(ctx, ds.Self, func() {
		for _, m := range ds.Host {
			hosts = append(hosts, m.Key)
		}
	})
	for _, ref := range hosts {
		if host, ok := s.hub.reg.Get(ref).(*simulator.HostSystem); ok {
			s.detach(ctx, host, ds)
		}
	}
	return nil
}

// detach takes a host off a datastore; a datastore without hosts leaves the inventory.
func (s *storage) detach(ctx *simulator.Context, host *simulator.HostSystem, ds *simulator.Datastore) {
	h := s.hub
	left := 0
	h.locked(ctx, ds.Self, func() {
		hosts := slices.DeleteFunc(slices.Clone(ds.Host), func(m types.DatastoreHostMount) bool { return m.Key == host.Self })
		left = len(hosts)
		h.reg.Update(ctx, ds, []types.PropertyChange{set("host", hosts)})
	})
	h.editRefs(ctx, host, "datastore", &host.Datastore, ds.Self, false)
	if system, ok := h.reg.Get(*host.ConfigManager.DatastoreSystem).(*simulator.HostDatastoreSystem); ok {
		h.editRefs(ctx, system, "datastore", &system.Datastore, ds.Self, false)
	}
	if left != 0 {
		return
	}
	cluster, dc := h.cluster(), h.datacenter()
	h.editRefs(ctx, cluster, "datastore", &cluster.Datastore, ds.Self, false)
	h.editRefs(ctx, dc, "datastore", &dc.Datastore, ds.Self, false)
	h.removeChild(ctx, dc.DatastoreFolder, ds.Self)
	h.reg.Remove(ctx, ds.Browser)
}

// vmsOn names the registered VMs that use a datastore, on one host or on any.
func (s *storage) vmsOn(ctx *simulator.Context, ds types.ManagedObjectReference, host *types.ManagedObjectReference) []string {
	var names []string
	for _, e := range s.hub.reg.All("VirtualMachine") {
		vm, ok := e.(*simulator.VirtualMachine)
		if !ok {
			continue
		}
		s.hub.locked(ctx, vm.Self, func() {
			here := host == nil || vm.Runtime.Host != nil && *vm.Runtime.Host == *host
			if here && slices.Contains(vm.Datastore, ds) {
				names = append(names, vm.Name)
			}
		})
	}
	slices.Sort(names)
	return names
}
