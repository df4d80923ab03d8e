// State: what the site holds, for tests and people who look from outside the API.
package main

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

// siteState is the JSON of GET /state.
type siteState struct {
	VMs        []vmState        `json:"vms"`
	Datastores []datastoreState `json:"datastores"`
	Sessions   []sessionState   `json:"sessions"`
}

type vmState struct {
	Name            string            `json:"name"`
	Moref           string            `json:"moref"`
	Path            string            `json:"path"` // inventory path
	PowerState      string            `json:"powerState"`
	ConnectionState string            `json:"connectionState"`
	Vmx             string            `json:"vmx"`
	UUID            string            `json:"uuid"`
	InstanceUUID    string            `json:"instanceUuid"`
	NumCPU          int32             `json:"numCPU"`
	MemoryMB        int32             `json:"memoryMB"`
	Networks        []string          `json:"networks"` // as the cards name them, also where no such network exists
	IP              string            `json:"ip"`
	Tools           string            `json:"tools"`
	Host            string            `json:"host"`
	Folder          string            `json:"folder"` // inventory path
	Pool            string            `json:"pool"`
	Annotation      string            `json:"annotation"`
	Disks           []string          `json:"disks"`
	ManagedBy       string            `json:"managedBy"`
	ExtraConfig     map[string]string `json:"extraConfig"`
}

type datastoreState struct {
	Name       string   `json:"name"`
	Moref      string   `json:"moref"`
	Server     string   `json:"server"`
	Path       string   `json:"path"`
	Hosts      []string `json:"hosts"`
	Accessible bool     `json:"accessible"`
	VMs        int      `json:"vms"`
}

type sessionState struct {
	User  string `json:"user"`
	Calls int64  `json:"calls"`
}

func (h *hub) routeState(a *admin, s *sessions) {
	a.handle("GET /state", func(*http.Request) (any, error) { return h.state(s), nil })
	a.handle("GET /writers", func(*http.Request) (any, error) { return readWriters(h.lab.Root) })
}

func (h *hub) state(s *sessions) siteState {
	state := siteState{VMs: []vmState{}, Datastores: []datastoreState{}, Sessions: []sessionState{}}
	for _, e := range h.reg.All("VirtualMachine") {
		if vm, ok := e.(*simulator.VirtualMachine); ok {
			state.VMs = append(state.VMs, h.vmState(vm))
		}
	}
	for _, e := range h.reg.All("Datastore") {
		if ds, ok := e.(*simulator.Datastore); ok {
			state.Datastores = append(state.Datastores, h.datastoreState(ds))
		}
	}
	for _, session := range s.list() {
		state.Sessions = append(state.Sessions, sessionState{session.UserName, session.CallCount})
	}
	slices.SortFunc(state.VMs, func(a, b vmState) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Moref, b.Moref)) })
	slices.SortFunc(state.Datastores, func(a, b datastoreState) int { return cmp.Compare(a.Name, b.Name) })
	return state
}

func (h *hub) vmState(vm *simulator.VirtualMachine) vmState {
	var state vmState
	var host, pool, parent *types.ManagedObjectReference
	locked(h.reg, vm.Self, func() {
		c := vm.Config
		state = vmState{
			Name: vm.Name, Moref: vm.Self.Value, Vmx: c.Files.VmPathName, UUID: c.Uuid, InstanceUUID: c.InstanceUuid,
			PowerState: string(vm.Runtime.PowerState), ConnectionState: string(vm.Runtime.ConnectionState),
			NumCPU: c.Hardware.NumCPU, MemoryMB: c.Hardware.MemoryMB, Annotation: c.Annotation,
			Networks: []string{}, Disks: []string{}, ExtraConfig: map[string]string{},
		}
		host, pool, parent = vm.Runtime.Host, vm.ResourcePool, vm.Parent
		if vm.Guest != nil {
			state.IP, state.Tools = vm.Guest.IpAddress, vm.Guest.ToolsRunningStatus
		}
		if c.ManagedBy != nil {
			state.ManagedBy = c.ManagedBy.ExtensionKey
		}
		for _, option := range c.ExtraConfig {
			o := option.GetOptionValue()
			state.ExtraConfig[o.Key] = fmt.Sprint(o.Value)
		}
		for _, device := range c.Hardware.Device {
			switch d := device.(type) {
			case *types.VirtualDisk:
				if b, ok := d.Backing.(types.BaseVirtualDeviceFileBackingInfo); ok {
					state.Disks = append(state.Disks, b.GetVirtualDeviceFileBackingInfo().FileName)
				}
			case types.BaseVirtualEthernetCard:
				state.Networks = append(state.Networks, backingName(d.GetVirtualEthernetCard()))
			}
		}
	})
	if host != nil {
		state.Host = nameOf(h.reg, *host)
	}
	if pool != nil {
		state.Pool = h.pathOf(*pool)
	}
	if parent != nil {
		state.Folder = h.pathOf(*parent)
		state.Path = state.Folder + "/" + state.Name
	}
	return state
}

func backingName(card *types.VirtualEthernetCard) string {
	switch b := card.Backing.(type) {
	case *types.VirtualEthernetCardNetworkBackingInfo:
		return b.DeviceName
	case *types.VirtualEthernetCardDistributedVirtualPortBackingInfo:
		return b.Port.PortgroupKey
	}
	return ""
}

func (h *hub) datastoreState(ds *simulator.Datastore) datastoreState {
	var state datastoreState
	var hosts []types.ManagedObjectReference
	locked(h.reg, ds.Self, func() {
		state = datastoreState{Name: ds.Name, Moref: ds.Self.Value, Accessible: ds.Summary.Accessible, Hosts: []string{}, VMs: len(ds.Vm)}
		for _, mount := range ds.Host {
			hosts = append(hosts, mount.Key)
		}
	})
	state.Server, state.Path = h.exportOf(ds)
	for _, host := range hosts {
		state.Hosts = append(state.Hosts, nameOf(h.reg, host))
	}
	slices.Sort(state.Hosts)
	return state
}
