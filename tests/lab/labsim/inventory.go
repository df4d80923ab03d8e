// Inventory: datacenter, cluster, hosts, networks, folders and pools of a site.
package main

import (
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/simulator/vpx"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// newSite makes an empty vCenter that knows who it is.
func newSite(lab *labFile) (*hub, error) {
	content := vpx.ServiceContent
	model := &simulator.Model{ServiceContent: content, RootFolder: vpx.RootFolder}
	if err := model.Create(); err != nil {
		return nil, err
	}
	model.Remove() // the temporary directory it makes for datastores, which this site keeps elsewhere
	svc := model.Service
	svc.Listen = &url.URL{Host: "127.0.0.1:0", User: url.User("lab")} // any user but the simulator's default switches logins on
	svc.RegisterEndpoints = true
	h := newHub(lab, svc, svc.Context)
	instance := h.reg.Get(types.ManagedObjectReference{Type: "ServiceInstance", Value: "ServiceInstance"}).(*simulator.ServiceInstance)
	about := &instance.Content.About
	about.InstanceUuid = uuid.NewSHA1(uuid.NameSpaceOID, []byte("labsim site "+lab.Site)).String()
	about.ApiVersion = "8.0.3.0"
	about.Version = "8.0.3"
	about.Name = "VMware vCenter Server (lab site " + lab.Site + ")"
	about.FullName = "VMware vCenter Server 8.0.3 (lab site " + lab.Site + ")"
	h.reg.SessionManager().ValidLogin = h.validLogin
	return h, nil
}

// buildInventory makes datacenter, cluster, hosts, networks, folders and pools of the lab file.
func (h *hub) buildInventory() error {
	ctx := h.background()
	root := h.reg.Get(h.content().RootFolder).(*simulator.Folder)
	created := root.CreateDatacenter(ctx, &types.CreateDatacenter{Name: h.lab.Datacenter})
	if f := created.Fault(); f != nil {
		return fmt.Errorf("datacenter %s: %s", h.lab.Datacenter, f.String)
	}
	dc := h.reg.Get(created.(*methods.CreateDatacenterBody).Res.Returnval).(*simulator.Datacenter)
	networks := h.buildNetworks(ctx, dc)
	hosts := h.reg.Get(dc.HostFolder).(*simulator.Folder)
	cluster, fault := simulator.CreateClusterComputeResource(ctx, hosts, h.lab.Cluster, types.ClusterConfigSpecEx{})
	if fault != nil {
		return fmt.Errorf("cluster %s: %s", h.lab.Cluster, faultMessage(fault))
	}
	cluster.Network = networks
	for i, name := range h.lab.Hosts {
		if err := h.addHost(ctx, cluster, name, i, networks); err != nil {
			return err
		}
	}
	for _, name := range h.lab.ResourcePools {
		if _, err := h.ensurePool(ctx, name); err != nil {
			return err
		}
	}
	for _, name := range h.lab.Folders {
		if _, err := h.ensureFolder(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// buildNetworks replaces the stock network by those of the lab file.
func (h *hub) buildNetworks(ctx *simulator.Context, dc *simulator.Datacenter) []types.ManagedObjectReference {
	folder := h.reg.Get(dc.NetworkFolder).(*simulator.Folder)
	for _, ref := range folder.ChildEntity {
		h.reg.Remove(ctx, ref)
	}
	folder.ChildEntity, dc.Network = nil, nil
	for _, name := range h.lab.Networks {
		network := &mo.Network{Name: name}
		network.Self = types.ManagedObjectReference{Type: "Network"}
		network.Entity().Name = name
		h.reg.NewEntity(network)
		network.Summary = &types.NetworkSummary{Network: &network.Self, Name: name, Accessible: true}
		folder.ChildEntity = append(folder.ChildEntity, network.Self)
		dc.Network = append(dc.Network, network.Self)
		h.reg.PutEntity(folder, network)
	}
	return append([]types.ManagedObjectReference(nil), dc.Network...)
}

func (h *hub) addHost(ctx *simulator.Context, cluster *simulator.ClusterComputeResource, name string, number int, networks []types.ManagedObjectReference) error {
	task := cluster.AddHostTask(ctx, &types.AddHost_Task{
		Spec: types.HostConnectSpec{HostName: name}, AsConnected: true,
	}).(*methods.AddHost_TaskBody).Res.Returnval
	running := h.reg.Get(task).(*simulator.Task)
	running.Wait()
	if running.Info.Error != nil {
		return fmt.Errorf("host %s: %s", name, running.Info.Error.LocalizedMessage)
	}
	host := h.reg.Get(running.Info.Result.(types.ManagedObjectReference)).(*simulator.HostSystem)
	memory := h.lab.MemoryGB << 30
	hardware := *host.Summary.Hardware
	hardware.MemorySize = memory
	hardware.NumCpuCores, hardware.NumCpuThreads = h.lab.CPUs, 2*h.lab.CPUs
	host.Summary.Hardware = &hardware
	info := *host.Hardware
	info.MemorySize = memory
	info.CpuInfo.NumCpuCores, info.CpuInfo.NumCpuThreads = h.lab.CPUs, 2*h.lab.CPUs
	host.Hardware = &info
	host.Summary.QuickStats = types.HostListSummaryQuickStats{
		OverallCpuUsage: 120, OverallMemoryUsage: int32(memory >> 20 / 16), Uptime: 86400,
	}
	host.Network = append([]types.ManagedObjectReference(nil), networks...)
	host.Vm, host.Datastore = nil, nil
	host.Runtime.ConnectionState = types.HostSystemConnectionStateConnected
	if ip := host.Config.Network; ip != nil && len(ip.Vnic) > 0 {
		ip.Vnic[0].Spec.Ip.IpAddress = fmt.Sprintf("127.0.1.%d", 10+number)
	}
	summary := cluster.Summary.GetComputeResourceSummary()
	summary.TotalMemory = memory * int64(len(cluster.Host))
	summary.EffectiveMemory = summary.TotalMemory >> 20
	summary.NumCpuCores = h.lab.CPUs * int16(len(cluster.Host))
	summary.NumCpuThreads = 2 * summary.NumCpuCores
	summary.NumHosts, summary.NumEffectiveHosts = int32(len(cluster.Host)), int32(len(cluster.Host))
	summary.OverallStatus = types.ManagedEntityStatusGreen
	return nil
}

func (h *hub) datacenter() *simulator.Datacenter {
	return h.reg.Any("Datacenter").(*simulator.Datacenter)
}

func (h *hub) cluster() *simulator.ClusterComputeResource {
	return h.reg.Any("ClusterComputeResource").(*simulator.ClusterComputeResource)
}

// rootPool is the resource pool of the cluster.
func (h *hub) rootPool() *simulator.ResourcePool {
	return h.reg.Get(*h.cluster().ResourcePool).(*simulator.ResourcePool)
}

// ensurePool returns the pool at a path like "prod/web" under the cluster's own, making what is missing; "" is the cluster's own.
func (h *hub) ensurePool(ctx *simulator.Context, name string) (*simulator.ResourcePool, error) {
	pool := h.rootPool()
	for _, part := range strings.FieldsFunc(name, isSlash) {
		if child, ok := h.childNamed(pool.ResourcePool.ResourcePool, part).(*simulator.ResourcePool); ok {
			pool = child
			continue
		}
		spec := types.DefaultResourceConfigSpec()
		made := pool.CreateResourcePool(ctx, &types.CreateResourcePool{Name: part, Spec: spec})
		if f := made.Fault(); f != nil {
			return nil, fmt.Errorf("resource pool %s: %s", name, soapText(f))
		}
		pool = h.reg.Get(made.(*methods.CreateResourcePoolBody).Res.Returnval).(*simulator.ResourcePool)
	}
	return pool, nil
}

// ensureFolder returns the VM folder at a path like "web/front", making what is missing; "" is the datacenter's own.
func (h *hub) ensureFolder(ctx *simulator.Context, name string) (*simulator.Folder, error) {
	folder := h.reg.Get(h.datacenter().VmFolder).(*simulator.Folder)
	for _, part := range strings.FieldsFunc(name, isSlash) {
		if child, ok := h.childNamed(folder.ChildEntity, part).(*simulator.Folder); ok {
			folder = child
			continue
		}
		made := folder.CreateFolder(ctx, &types.CreateFolder{Name: part})
		if f := made.Fault(); f != nil {
			return nil, fmt.Errorf("folder %s: %s", name, soapText(f))
		}
		folder = h.reg.Get(made.(*methods.CreateFolderBody).Res.Returnval).(*simulator.Folder)
	}
	return folder, nil
}

func isSlash(r rune) bool { return r == '/' }

func soapText(f *soap.Fault) string {
	if fault, ok := f.VimFault().(types.BaseMethodFault); ok {
		return faultMessage(fault)
	}
	return f.String
}

// childNamed finds an entity by name among refs, or answers nil. No lock of any of them may be held.
func (h *hub) childNamed(refs []types.ManagedObjectReference, name string) mo.Entity {
	for _, ref := range refs {
		if e, ok := h.reg.Get(ref).(mo.Entity); ok && nameOf(h.reg, ref) == name {
			return e
		}
	}
	return nil
}

// children lists what is in a folder.
func (h *hub) children(ctx *simulator.Context, folder *simulator.Folder) (refs []types.ManagedObjectReference) {
	h.locked(ctx, folder.Self, func() { refs = slices.Clone(folder.ChildEntity) })
	return refs
}

// pathOf is the inventory path from the root, "/berlin/vm/erp/db1".
func (h *hub) pathOf(ref types.ManagedObjectReference) string {
	where := ""
	for {
		e, ok := h.reg.Get(ref).(mo.Entity)
		if !ok {
			return where
		}
		var parent *types.ManagedObjectReference
		locked(h.reg, ref, func() { parent = e.Entity().Parent })
		if parent == nil {
			return where
		}
		where = "/" + nameOf(h.reg, ref) + where
		ref = *parent
	}
}
