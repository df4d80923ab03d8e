// Guest networks: the addresses inside a guest. Static ones travel with the VM's files, others come from the site's DHCP.
package main

import (
	"fmt"
	"hash/fnv"
	"net/netip"
	"strconv"
	"strings"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

const hostNameKey = "lab.guest.hostName"

// Keys of extraConfig, hence of the .vmx, that stand for what is written in the guest's own disk.
func addressKey(nic int) string { return fmt.Sprintf("lab.guest.ethernet%d.ip", nic) }      // "10.1.2.3/24"
func gatewayKey(nic int) string { return fmt.Sprintf("lab.guest.ethernet%d.gateway", nic) } // comma separated
func dnsKey(nic int) string     { return fmt.Sprintf("lab.guest.ethernet%d.dns", nic) }     // comma separated

// nicAddress is what one NIC of a running guest has.
type nicAddress struct {
	prefix   netip.Prefix
	gateways []string
	dns      []string
	dhcp     bool
}

// nics returns the network cards of a VM in the order of their devices.
func nics(vm *simulator.VirtualMachine) []*types.VirtualEthernetCard {
	var cards []*types.VirtualEthernetCard
	for _, device := range vm.Config.Hardware.Device {
		if card, ok := device.(types.BaseVirtualEthernetCard); ok {
			cards = append(cards, card.GetVirtualEthernetCard())
		}
	}
	return cards
}

// plan works out the address of every NIC; the VM is locked. NICs that are not connected have none.
func (g *guests) plan(vm *simulator.VirtualMachine, b guestBehaviour) []*nicAddress {
	var all []*nicAddress
	for i, card := range nics(vm) {
		if card.Connectable != nil && !card.Connectable.Connected {
			all = append(all, nil)
			continue
		}
		text := extraConfig(vm, addressKey(i))
		if text == "" && i < len(b.IPs) {
			text = b.IPs[i]
		}
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			all = append(all, &nicAddress{prefix: lease(g.hub.lab.Site, card.MacAddress), dhcp: true})
			continue
		}
		all = append(all, &nicAddress{
			prefix: prefix, gateways: words(extraConfig(vm, gatewayKey(i))), dns: words(extraConfig(vm, dnsKey(i))),
		})
	}
	return all
}

// lease is the address that a site's DHCP gives to a MAC: always the same one, another at every site.
func lease(site, mac string) netip.Prefix {
	sum := fnv.New32a()
	_, _ = sum.Write([]byte(site))
	network := byte(sum.Sum32()%200) + 20
	_, _ = sum.Write([]byte(strings.ToLower(mac)))
	host := sum.Sum32()
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, network, byte(host >> 8), byte(host%250) + 2}), 16)
}

func words(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' })
}

// addresses publishes guest.net, guest.ipStack and the main address; nil clears them but keeps the cards. The VM is locked.
func addresses(vm *simulator.VirtualMachine, all []*nicAddress) []types.PropertyChange {
	var net []types.GuestNicInfo
	var stack []types.GuestStackInfo
	main := ""
	for i, card := range nics(vm) {
		info := types.GuestNicInfo{
			Network: networkName(vm, card), MacAddress: strings.ToLower(card.MacAddress), DeviceConfigId: card.Key,
		}
		if i < len(all) && all[i] != nil {
			describeNIC(&info, all[i])
			if main == "" {
				main = all[i].prefix.Addr().String()
			}
			if len(all[i].gateways) != 0 || len(all[i].dns) != 0 {
				stack = append(stack, guestStack(i, all[i]))
			}
		}
		net = append(net, info)
	}
	return []types.PropertyChange{
		set("guest.net", net), set("guest.ipStack", stack),
		set("guest.ipAddress", main), set("summary.guest.ipAddress", main),
	}
}

func describeNIC(info *types.GuestNicInfo, address *nicAddress) {
	ip, bits := address.prefix.Addr().String(), int32(address.prefix.Bits())
	origin := "manual"
	if address.dhcp {
		origin = "dhcp"
	}
	info.Connected = true
	info.IpAddress = []string{ip}
	info.IpConfig = &types.NetIpConfigInfo{
		IpAddress: []types.NetIpConfigInfoIpAddress{{IpAddress: ip, PrefixLength: bits, Origin: origin, State: "preferred"}},
	}
	if len(address.dns) != 0 {
		info.DnsConfig = &types.NetDnsConfigInfo{IpAddress: address.dns}
	}
}

func guestStack(nic int, address *nicAddress) types.GuestStackInfo {
	var routes []types.NetIpRouteConfigInfoIpRoute
	for _, gateway := range address.gateways {
		routes = append(routes, types.NetIpRouteConfigInfoIpRoute{
			Network: "0.0.0.0", PrefixLength: 0,
			Gateway: types.NetIpRouteConfigInfoGateway{IpAddress: gateway, Device: strconv.Itoa(nic)},
		})
	}
	stack := types.GuestStackInfo{IpRouteConfig: &types.NetIpRouteConfigInfo{IpRoute: routes}}
	if len(address.dns) != 0 {
		stack.DnsConfig = &types.NetDnsConfigInfo{IpAddress: address.dns}
	}
	return stack
}

// networkName is the name of the network a card is backed by, as the guest report shows it.
func networkName(vm *simulator.VirtualMachine, card *types.VirtualEthernetCard) string {
	if backing, ok := card.Backing.(*types.VirtualEthernetCardNetworkBackingInfo); ok {
		return backing.DeviceName
	}
	for _, before := range vm.Guest.Net {
		if before.DeviceConfigId == card.Key {
			return before.Network
		}
	}
	return ""
}

// extraConfig reads one key of a VM; the VM is locked.
func extraConfig(vm *simulator.VirtualMachine, key string) string {
	for _, option := range vm.Config.ExtraConfig {
		if o := option.GetOptionValue(); strings.EqualFold(o.Key, key) {
			return fmt.Sprint(o.Value)
		}
	}
	return ""
}

// withExtraConfig returns the options of a VM with some keys set, or removed where the value is empty. The VM is locked.
func withExtraConfig(vm *simulator.VirtualMachine, values map[string]string) []types.BaseOptionValue {
	var options []types.BaseOptionValue
	for _, option := range vm.Config.ExtraConfig {
		if _, replaced := values[option.GetOptionValue().Key]; !replaced {
			options = append(options, option)
		}
	}
	for _, key := range sortedKeys(values) {
		if values[key] != "" {
			options = append(options, &types.OptionValue{Key: key, Value: values[key]})
		}
	}
	return options
}
