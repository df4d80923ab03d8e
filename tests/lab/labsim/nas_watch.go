// Watching exports: what an array withdraws or changes shows on the datastores and on their VMs by itself.
package main

import (
	"slices"
	"time"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

const exportCheck = 100 * time.Millisecond

// watch looks at all exports until stop is closed.
func (s *storage) watch(stop <-chan struct{}) {
	tick := time.NewTicker(exportCheck)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
			s.check()
		}
	}
}

// check compares every datastore with its export.
func (s *storage) check() {
	defer func() {
		if panicked := recover(); panicked != nil {
			s.hub.panicked(panicked)
		}
	}()
	ctx := s.hub.background()
	for _, e := range s.hub.reg.All("Datastore") {
		if ds, ok := e.(*simulator.Datastore); ok {
			s.compare(ctx, ds)
		}
	}
}

func (s *storage) refresh(ctx *simulator.Context, ref types.ManagedObjectReference) types.BaseMethodFault {
	ds, ok := s.hub.reg.Get(ref).(*simulator.Datastore)
	if !ok {
		return notFoundObject(ref)
	}
	s.compare(ctx, ds)
	server, path := s.hub.exportOf(ds)
	if _, err := s.hub.exports.lookup(server, path); err != nil {
		return withMessage(&types.HostConfigFault{}, "%v", err)
	}
	return nil
}

// compare publishes what has changed about a datastore, on it and on the VMs whose .vmx lies there.
func (s *storage) compare(ctx *simulator.Context, ds *simulator.Datastore) {
	h := s.hub
	server, path := h.exportOf(ds)
	now, err := h.exports.lookup(server, path)
	if err != nil {
		now.access = accessNone
	}
	url, accessible := s.directory(now), now.access != accessNone
	var name string
	changed := false
	h.locked(ctx, ds.Self, func() {
		name = ds.Name
		if ds.Summary.Url == url && ds.Summary.Accessible == accessible {
			return
		}
		changed = true
		reason := ""
		if !accessible {
			reason = string(types.HostMountInfoInaccessibleReasonAllPathsDown_Start)
		}
		hosts := slices.Clone(ds.Host)
		for i := range hosts {
			hosts[i].MountInfo.Accessible = types.NewBool(accessible)
			hosts[i].MountInfo.InaccessibleReason = reason
		}
		info := *ds.Info.(*types.NasDatastoreInfo)
		info.Url = url
		h.reg.Update(ctx, ds, []types.PropertyChange{
			set("summary.accessible", accessible), set("summary.url", url), set("info", &info), set("host", hosts),
		})
	})
	if changed {
		s.spread(ctx, name, accessible)
	}
}

// spread tells the VMs of a datastore whether their files can be reached.
func (s *storage) spread(ctx *simulator.Context, datastore string, accessible bool) {
	state := types.VirtualMachineConnectionStateConnected
	if !accessible {
		state = types.VirtualMachineConnectionStateInaccessible
	}
	for _, e := range s.hub.reg.All("VirtualMachine") {
		vm, ok := e.(*simulator.VirtualMachine)
		if !ok {
			continue
		}
		s.hub.locked(ctx, vm.Self, func() {
			var p object.DatastorePath
			if vm.Config == nil || !p.FromString(vm.Config.Files.VmPathName) || p.Datastore != datastore || vm.Runtime.ConnectionState == state {
				return
			}
			s.hub.reg.Update(ctx, vm, []types.PropertyChange{
				set("runtime.connectionState", state), set("summary.runtime.connectionState", state),
			})
		})
	}
}
