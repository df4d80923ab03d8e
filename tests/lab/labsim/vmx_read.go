// Reading a .vmx back into virtual hardware, when a VM is registered.
package main

import (
	"fmt"
	"log"
	"regexp"
	"strconv"
	"strings"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/types"
)

// structural keys describe what has a place of its own in the configuration; all others are extraConfig.
var structuralKeys = regexp.MustCompile(`(?i)^(config\.version|virtualhw\.version|displayname|guestos|memsize|numvcpus|cpuid\.corespersocket|` +
	`firmware|annotation|nvram|uuid\.(bios|location)|vc\.uuid|managedby\.(extensionkey|type)|` +
	`(scsi|sata|nvme)\d+\.(present|virtualdev)|(scsi|sata|nvme)\d+:\d+\.(present|devicetype|filename|mode)|` +
	`ethernet\d+\.(present|virtualdev|networkname|dvs\.switchid|dvs\.portgroupid|addresstype|address|generatedaddress|startconnected))$`)

func structural(key string) bool { return structuralKeys.MatchString(key) }

var (
	controllerKeys = regexp.MustCompile(`(?i)^(scsi|sata|nvme)(\d+)\.present$`)
	diskKeys       = regexp.MustCompile(`(?i)^((?:scsi|sata|nvme)\d+):(\d+)\.filename$`)
	cardKeys       = regexp.MustCompile(`(?i)^ethernet(\d+)\.present$`)
)

// controllerKind is the .vmx name and model of a controller; empty for one that a .vmx does not list.
func controllerKind(device types.BaseVirtualDevice) (kind, model string) {
	switch device.(type) {
	case *types.ParaVirtualSCSIController:
		return "scsi", "pvscsi"
	case *types.VirtualLsiLogicSASController:
		return "scsi", "lsisas1068"
	case *types.VirtualBusLogicController:
		return "scsi", "buslogic"
	case types.BaseVirtualSCSIController:
		return "scsi", "lsilogic"
	case types.BaseVirtualSATAController:
		return "sata", ""
	case *types.VirtualNVMEController:
		return "nvme", ""
	}
	return "", ""
}

func newController(kind, model string, bus int32) types.BaseVirtualDevice {
	base := types.VirtualController{BusNumber: bus}
	scsi := types.VirtualSCSIController{VirtualController: base, SharedBus: types.VirtualSCSISharingNoSharing, ScsiCtlrUnitNumber: 7}
	switch {
	case kind == "sata":
		return &types.VirtualAHCIController{VirtualSATAController: types.VirtualSATAController{VirtualController: base}}
	case kind == "nvme":
		return &types.VirtualNVMEController{VirtualController: base}
	case model == "pvscsi":
		return &types.ParaVirtualSCSIController{VirtualSCSIController: scsi}
	case model == "lsisas1068":
		return &types.VirtualLsiLogicSASController{VirtualSCSIController: scsi}
	case model == "buslogic":
		return &types.VirtualBusLogicController{VirtualSCSIController: scsi}
	}
	return &types.VirtualLsiLogicController{VirtualSCSIController: scsi}
}

func cardModel(device types.BaseVirtualDevice) string {
	switch device.(type) {
	case *types.VirtualE1000:
		return "e1000"
	case *types.VirtualE1000e:
		return "e1000e"
	case *types.VirtualPCNet32:
		return "vlance"
	case *types.VirtualVmxnet2:
		return "vmxnet"
	}
	return "vmxnet3"
}

func newCard(model string, card types.VirtualEthernetCard) types.BaseVirtualDevice {
	switch model {
	case "e1000":
		return &types.VirtualE1000{VirtualEthernetCard: card}
	case "e1000e":
		return &types.VirtualE1000e{VirtualEthernetCard: card}
	case "vlance":
		return &types.VirtualPCNet32{VirtualEthernetCard: card}
	case "vmxnet":
		return &types.VirtualVmxnet2{VirtualVmxnet: types.VirtualVmxnet{VirtualEthernetCard: card}}
	}
	return &types.VirtualVmxnet3{VirtualVmxnet: types.VirtualVmxnet{VirtualEthernetCard: card}}
}

// devicesOf adds the hardware of a .vmx to a list. Disks whose files are missing and cards whose networks do not exist
// are added all the same: the VM is registered with them, as on a real vCenter.
func (h *hub) devicesOf(v *vmxFile, home object.DatastorePath, list object.VirtualDeviceList) object.VirtualDeviceList {
	e := h.newEdit(list, home, "")
	controllers := map[string]int32{}
	for _, key := range v.keys {
		if m := controllerKeys.FindStringSubmatch(key); m != nil && v.flag(key) {
			kind := strings.ToLower(m[1])
			device := newController(kind, strings.ToLower(v.get(m[1]+m[2]+".virtualDev")), number(m[2]))
			label := e.addController(device.(types.BaseVirtualController))
			device.GetVirtualDevice().DeviceInfo = &types.Description{Label: label, Summary: label}
			controllers[kind+m[2]] = device.GetVirtualDevice().Key
			e.list = append(e.list, device)
		}
	}
	for _, key := range v.keys {
		if m := diskKeys.FindStringSubmatch(key); m != nil {
			name := m[1] + ":" + m[2]
			controller, known := controllers[strings.ToLower(m[1])]
			if known && v.flag(name+".present") && !strings.Contains(strings.ToLower(v.get(name+".deviceType")), "cdrom") {
				e.readDisk(controller, number(m[2]), h.fileOfVmx(v.get(key), home), v.get(name+".mode"))
			}
		}
		if m := cardKeys.FindStringSubmatch(key); m != nil && v.flag(key) {
			e.readCard(v, "ethernet"+m[1])
		}
	}
	return e.list
}

func number(text string) int32 {
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil {
		return 0
	}
	return int32(n)
}

func (e *deviceEdit) readDisk(controllerKey, unit int32, file, mode string) {
	if mode == "" {
		mode = string(types.VirtualDiskModePersistent)
	}
	controller, _ := e.list.FindByKey(controllerKey).(types.BaseVirtualController)
	backing := &types.VirtualDiskFlatVer2BackingInfo{DiskMode: mode, ThinProvisioned: types.NewBool(true)}
	backing.FileName = file
	disk := &types.VirtualDisk{}
	disk.ControllerKey, disk.UnitNumber, disk.Backing = controllerKey, &unit, backing
	disk.Key = e.freeKey(2000 + controller.GetVirtualController().BusNumber*16 + unit)
	if at, fault := e.hub.locate(file); fault == nil {
		backing.Datastore = &at.datastore.Self
		info, err := readDisk(at.path)
		if err != nil {
			log.Printf("labsim: register: disk %s: %v", file, err)
		}
		disk.CapacityInBytes, disk.CapacityInKB, backing.Uuid = info.capacity, info.capacity/1024, info.uuid
	}
	label := fmt.Sprintf("Hard disk %d", len(e.list.SelectByType(disk))+1)
	disk.DeviceInfo = &types.Description{Label: label, Summary: e.summary(disk)}
	e.list = append(e.list, disk)
}

func (e *deviceEdit) readCard(v *vmxFile, name string) {
	card := types.VirtualEthernetCard{AddressType: string(types.VirtualEthernetCardMacTypeAssigned), MacAddress: v.get(name + ".generatedAddress")}
	if address := v.get(name + ".address"); address != "" {
		card.AddressType, card.MacAddress = string(types.VirtualEthernetCardMacTypeManual), address
	}
	if key := v.get(name + ".dvs.portgroupId"); key != "" {
		card.Backing = &types.VirtualEthernetCardDistributedVirtualPortBackingInfo{
			Port: types.DistributedVirtualSwitchPortConnection{SwitchUuid: v.get(name + ".dvs.switchId"), PortgroupKey: key},
		}
	} else {
		network := v.get(name + ".networkName")
		backing := &types.VirtualEthernetCardNetworkBackingInfo{Network: e.hub.network(network)}
		backing.DeviceName = network
		card.Backing = backing
	}
	cards := e.list.SelectByType((*types.VirtualEthernetCard)(nil))
	unit := int32(7 + len(cards))
	card.Key, card.ControllerKey, card.UnitNumber = e.freeKey(4000), 100, &unit
	start := !strings.EqualFold(v.get(name+".startConnected"), "FALSE")
	card.Connectable = &types.VirtualDeviceConnectInfo{StartConnected: start, AllowGuestControl: true}
	device := newCard(strings.ToLower(v.get(name+".virtualDev")), card)
	device.GetVirtualDevice().DeviceInfo = &types.Description{
		Label: fmt.Sprintf("Network adapter %d", len(cards)+1), Summary: e.summary(device),
	}
	e.list = append(e.list, device)
}
