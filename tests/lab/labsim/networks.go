// Networks: what the backing of a network card names at this site.
package main

import (
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// network finds a standard network by name; nil when the site has none.
func (h *hub) network(name string) *types.ManagedObjectReference {
	for _, entity := range h.reg.All("Network") {
		if network, ok := entity.(*mo.Network); ok && nameOf(h.reg, network.Self) == name {
			return &network.Self
		}
	}
	return nil
}

// portgroup finds a distributed port group by key; nil when the site has none.
func (h *hub) portgroup(key string) *types.ManagedObjectReference {
	ref := types.ManagedObjectReference{Type: "DistributedVirtualPortgroup", Value: key}
	if _, ok := h.reg.Get(ref).(*simulator.DistributedVirtualPortgroup); ok {
		return &ref
	}
	return nil
}

// resolveNetwork completes the backing of a card from a client; an unknown network is InvalidDeviceSpec.
func (h *hub) resolveNetwork(index int, card *types.VirtualEthernetCard) types.BaseMethodFault {
	switch backing := card.Backing.(type) {
	case *types.VirtualEthernetCardNetworkBackingInfo:
		if backing.DeviceName == "" && backing.Network != nil {
			backing.DeviceName = nameOf(h.reg, *backing.Network)
		}
		backing.Network = h.network(backing.DeviceName)
		if backing.Network != nil {
			return nil
		}
		return withMessage(invalidDevice(index, "device.backing.deviceName"), "there is no network %q here", backing.DeviceName)
	case *types.VirtualEthernetCardDistributedVirtualPortBackingInfo:
		if h.portgroup(backing.Port.PortgroupKey) != nil {
			return nil
		}
		return withMessage(invalidDevice(index, "device.backing.port"), "there is no port group %q here", backing.Port.PortgroupKey)
	}
	return invalidDevice(index, "device.backing")
}

// networkOf is the network a card is connected to; nil for one that does not exist here.
func (h *hub) networkOf(card *types.VirtualEthernetCard) *types.ManagedObjectReference {
	switch backing := card.Backing.(type) {
	case *types.VirtualEthernetCardNetworkBackingInfo:
		return backing.Network
	case *types.VirtualEthernetCardDistributedVirtualPortBackingInfo:
		return h.portgroup(backing.Port.PortgroupKey)
	}
	return nil
}

// dangling tells whether a card names a standard network that does not exist here.
func dangling(card *types.VirtualEthernetCard) bool {
	backing, ok := card.Backing.(*types.VirtualEthernetCardNetworkBackingInfo)
	return ok && backing.Network == nil
}
