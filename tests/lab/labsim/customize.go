// Customization: CustomizeVM_Task notes what the next boot of the guest changes; the note lies in the .vmx and survives.
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"maps"
	"math/bits"
	"net/netip"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/types"
)

const customizationKey = "lab.guest.customization"

// customization is the note: addresses per NIC, empty for DHCP.
type customization struct {
	HostName string             `json:"hostName,omitempty"`
	NICs     []customizationNIC `json:"nics"`
}

type customizationNIC struct {
	IP      string   `json:"ip,omitempty"` // 10.1.2.3/24
	Gateway []string `json:"gateway,omitempty"`
	DNS     []string `json:"dns,omitempty"`
	MAC     string   `json:"mac,omitempty"`
}

// check refuses what vCenter refuses before anything is changed; the VM is locked.
func checkCustomization(vm *simulator.VirtualMachine, spec types.CustomizationSpec) types.BaseMethodFault {
	if vm.Runtime.PowerState != types.VirtualMachinePowerStatePoweredOff {
		return &types.InvalidPowerState{
			RequestedState: types.VirtualMachinePowerStatePoweredOff, ExistingState: vm.Runtime.PowerState,
		}
	}
	if vm.Config.Tools != nil && vm.Config.Tools.PendingCustomization != "" {
		return &types.CustomizationPending{}
	}
	if have := len(nics(vm)); have != len(spec.NicSettingMap) {
		return &types.NicSettingMismatch{NumberOfNicsInSpec: int32(len(spec.NicSettingMap)), NumberOfNicsInVM: int32(have)}
	}
	_, fault := noteOf(vm.Name, spec)
	return fault
}

// noteOf translates a specification; addresses that are none are InvalidArgument.
func noteOf(vmName string, spec types.CustomizationSpec) (*customization, types.BaseMethodFault) {
	note := &customization{}
	switch id := spec.Identity.(type) {
	case *types.CustomizationLinuxPrep:
		note.HostName = guestName(vmName, id.HostName)
	case *types.CustomizationSysprep:
		note.HostName = guestName(vmName, id.UserData.ComputerName)
	case nil:
		return nil, &types.InvalidArgument{InvalidProperty: "spec.identity"}
	}
	for i, setting := range spec.NicSettingMap {
		nic := customizationNIC{Gateway: setting.Adapter.Gateway, DNS: setting.Adapter.DnsServerList, MAC: setting.MacAddress}
		if len(nic.DNS) == 0 {
			nic.DNS = spec.GlobalIPSettings.DnsServerList
		}
		if fixed, ok := setting.Adapter.Ip.(*types.CustomizationFixedIp); ok {
			prefix, err := prefixOf(fixed.IpAddress, setting.Adapter.SubnetMask)
			if err != nil {
				return nil, withMessage(&types.InvalidArgument{InvalidProperty: fmt.Sprintf("spec.nicSettingMap[%d].adapter", i)}, "%v", err)
			}
			nic.IP = prefix.String()
		}
		note.NICs = append(note.NICs, nic)
	}
	return note, nil
}

func guestName(vmName string, generator types.BaseCustomizationName) string {
	switch name := generator.(type) {
	case *types.CustomizationFixedName:
		return name.Name
	case *types.CustomizationPrefixName:
		return name.Base
	}
	return vmName
}

func prefixOf(ip, mask string) (netip.Prefix, error) {
	address, err := netip.ParseAddr(ip)
	if err != nil {
		return netip.Prefix{}, err
	}
	netmask, err := netip.ParseAddr(mask)
	if err != nil || !netmask.Is4() || !address.Is4() {
		return netip.Prefix{}, fmt.Errorf("subnet mask %q does not fit address %s", mask, ip)
	}
	b := netmask.As4()
	word := uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
	ones := bits.LeadingZeros32(^word)
	if word != ^uint32(0)<<(32-ones) {
		return netip.Prefix{}, fmt.Errorf("subnet mask %q has holes", mask)
	}
	return netip.PrefixFrom(address, ones), nil
}

// customizeWork is the work of CustomizeVM_Task: it leaves the note for the next boot.
func (g *guests) customizeWork(vm *simulator.VirtualMachine, spec types.CustomizationSpec) work {
	return func(ctx *simulator.Context) (types.AnyType, types.BaseMethodFault) {
		var fault types.BaseMethodFault
		g.hub.locked(ctx, vm.Self, func() {
			if fault = checkCustomization(vm, spec); fault != nil {
				return
			}
			note, _ := noteOf(vm.Name, spec)
			text, err := json.Marshal(note)
			if err != nil {
				fault = &types.SystemError{Reason: err.Error()}
				return
			}
			g.hub.reg.Update(ctx, vm, []types.PropertyChange{
				set("config.extraConfig", withExtraConfig(vm, map[string]string{customizationKey: string(text)})),
				set("config.tools.pendingCustomization", uuid.NewString()),
			})
			if err := g.save(ctx, vm); err != nil {
				fault = &types.CannotAccessFile{FileFault: types.FileFault{File: vm.Config.Files.VmPathName}}
			}
		})
		return nil, fault
	}
}

// pendingCustomization reads the note that waits for a boot; nil when there is none.
func pendingCustomization(vm *simulator.VirtualMachine, h *hub, ctx *simulator.Context) *customization {
	var text string
	h.locked(ctx, vm.Self, func() { text = extraConfig(vm, customizationKey) })
	var note customization
	if text == "" || json.Unmarshal([]byte(text), &note) != nil {
		return nil
	}
	return &note
}

// customize carries the note out, or fails to, as the guest behaves; either way it waits no longer.
func (g *guests) customize(ctx *simulator.Context, vm *simulator.VirtualMachine, b guestBehaviour) {
	note := pendingCustomization(vm, g.hub, ctx)
	if note == nil {
		return
	}
	event := types.CustomizationEvent{VmEvent: g.hub.vmEvent(ctx, vm)}
	g.hub.post(ctx, &types.CustomizationStartedEvent{CustomizationEvent: event})
	values := map[string]string{customizationKey: ""}
	var failure string
	switch {
	case b.Customization == customizeFail:
		failure = "the guest could not be customized"
	default:
		var count int
		g.hub.locked(ctx, vm.Self, func() { count = len(nics(vm)) })
		if count != len(note.NICs) {
			failure = "NicSettingMismatch"
		} else {
			maps.Copy(values, note.values())
		}
	}
	g.hub.locked(ctx, vm.Self, func() {
		g.hub.reg.Update(ctx, vm, []types.PropertyChange{
			set("config.extraConfig", withExtraConfig(vm, values)),
			set("config.tools.pendingCustomization", ""),
		})
		if err := g.save(ctx, vm); err != nil {
			log.Printf("labsim: customization of %s: %v", vm.Name, err)
		}
	})
	if failure != "" {
		g.hub.post(ctx, &types.CustomizationFailed{CustomizationEvent: event, Reason: failure})
		return
	}
	g.hub.post(ctx, &types.CustomizationSucceeded{CustomizationEvent: event})
}

// values is what the note writes into the guest.
func (note *customization) values() map[string]string {
	values := map[string]string{hostNameKey: note.HostName}
	for i, nic := range note.NICs {
		values[addressKey(i)] = nic.IP
		values[gatewayKey(i)] = strings.Join(nic.Gateway, ",")
		values[dnsKey(i)] = strings.Join(nic.DNS, ",")
	}
	return values
}

// customizationBody is the reply that carries the task.
func customizationBody(task types.ManagedObjectReference) *methods.CustomizeVM_TaskBody {
	return &methods.CustomizeVM_TaskBody{Res: &types.CustomizeVM_TaskResponse{Returnval: task}}
}

func sortedKeys(values map[string]string) []string {
	return slices.Sorted(maps.Keys(values))
}
