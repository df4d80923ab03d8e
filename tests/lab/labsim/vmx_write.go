// Writing a VM as .vmx: everything that makes its identity and its hardware, so that another site can register it.
package main

import (
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"path"
	"strings"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

// saveVM rewrites the .vmx of a VM, which is locked, in one step.
func (h *hub) saveVM(_ *simulator.Context, vm *simulator.VirtualMachine) error {
	at, fault := h.writable(vm.Config.Files.VmPathName)
	if fault != nil {
		return fmt.Errorf("%s", faultMessage(fault))
	}
	return h.vmxOf(vm).save(at.path)
}

// vmxOf describes a VM, which is locked. Options nobody here knows are extraConfig and come last.
func (h *hub) vmxOf(vm *simulator.VirtualMachine) *vmxFile {
	v, c := newVmx(), vm.Config
	v.set("config.version", "8")
	v.set("virtualHW.version", strings.TrimPrefix(c.Version, "vmx-"))
	v.set("displayName", vm.Name)
	v.setIf("guestOS", vmxGuest(c.GuestId))
	v.set("memSize", fmt.Sprint(c.Hardware.MemoryMB))
	v.set("numvcpus", fmt.Sprint(c.Hardware.NumCPU))
	v.set("cpuid.coresPerSocket", fmt.Sprint(max(1, c.Hardware.NumCoresPerSocket)))
	v.setIf("firmware", c.Firmware)
	v.setIf("annotation", c.Annotation)
	var home object.DatastorePath
	home.FromString(c.Files.VmPathName)
	v.set("nvram", strings.TrimSuffix(path.Base(home.Path), ".vmx")+".nvram")
	v.set("uuid.bios", vmxUUID(c.Uuid))
	v.set("uuid.location", vmxUUID(c.Uuid))
	v.set("vc.uuid", vmxUUID(c.InstanceUuid))
	if c.ManagedBy != nil {
		v.set("managedBy.extensionKey", c.ManagedBy.ExtensionKey)
		v.set("managedBy.type", c.ManagedBy.Type)
	}
	h.writeDevices(v, c.Hardware.Device, home)
	for _, option := range c.ExtraConfig {
		if o := option.GetOptionValue(); o.Key != "govcsim" && !structural(o.Key) {
			v.set(o.Key, fmt.Sprint(o.Value))
		}
	}
	return v
}

func (h *hub) writeDevices(v *vmxFile, devices []types.BaseVirtualDevice, home object.DatastorePath) {
	controllers := map[int32]string{} // key -> "scsi0"
	for _, device := range devices {
		if controller, ok := device.(types.BaseVirtualController); ok {
			kind, model := controllerKind(device)
			if kind == "" {
				continue
			}
			name := fmt.Sprintf("%s%d", kind, controller.GetVirtualController().BusNumber)
			controllers[device.GetVirtualDevice().Key] = name
			v.set(name+".present", "TRUE")
			v.setIf(name+".virtualDev", model)
		}
	}
	card := 0
	for _, device := range devices {
		switch d := device.(type) {
		case *types.VirtualDisk:
			h.writeDisk(v, controllers[d.ControllerKey], d, home)
		case types.BaseVirtualEthernetCard:
			writeCard(v, fmt.Sprintf("ethernet%d", card), device, d.GetVirtualEthernetCard())
			card++
		}
	}
}

func (h *hub) writeDisk(v *vmxFile, controller string, disk *types.VirtualDisk, home object.DatastorePath) {
	backing, ok := disk.Backing.(*types.VirtualDiskFlatVer2BackingInfo)
	if !ok || controller == "" || disk.UnitNumber == nil {
		return
	}
	name := fmt.Sprintf("%s:%d", controller, *disk.UnitNumber)
	kind := "disk"
	if strings.HasPrefix(controller, "scsi") {
		kind = "scsi-hardDisk"
	}
	v.set(name+".present", "TRUE")
	v.set(name+".deviceType", kind)
	v.set(name+".fileName", h.vmxFileName(backing.FileName, home))
	v.setIf(name+".mode", backing.DiskMode)
}

func writeCard(v *vmxFile, name string, device types.BaseVirtualDevice, card *types.VirtualEthernetCard) {
	v.set(name+".present", "TRUE")
	v.set(name+".virtualDev", cardModel(device))
	switch backing := card.Backing.(type) {
	case *types.VirtualEthernetCardNetworkBackingInfo:
		v.set(name+".networkName", backing.DeviceName)
	case *types.VirtualEthernetCardDistributedVirtualPortBackingInfo:
		v.set(name+".dvs.switchId", backing.Port.SwitchUuid)
		v.set(name+".dvs.portgroupId", backing.Port.PortgroupKey)
	}
	if card.AddressType == string(types.VirtualEthernetCardMacTypeManual) {
		v.set(name+".addressType", "static")
		v.set(name+".address", card.MacAddress)
	} else {
		v.set(name+".addressType", "vpx")
		v.set(name+".generatedAddress", card.MacAddress)
	}
	if card.Connectable != nil && !card.Connectable.StartConnected {
		v.set(name+".startConnected", "FALSE")
	}
}

// vmxFileName is how a .vmx names a disk: relative in the VM's own directory, else by the volume it lies on.
func (h *hub) vmxFileName(file string, home object.DatastorePath) string {
	var at object.DatastorePath
	if !at.FromString(file) {
		return file // one that could not be resolved when it was registered stays as it was
	}
	if at.Datastore == home.Datastore && path.Dir(at.Path) == path.Dir(home.Path) {
		return path.Base(at.Path)
	}
	datastore := h.datastoreNamed(at.Datastore)
	if datastore == nil {
		return file
	}
	return path.Join("/vmfs/volumes", volumeID(h.exportOf(datastore)), at.Path)
}

// fileOfVmx is the datastore path for a name in a .vmx; the name itself if its volume is not mounted here.
func (h *hub) fileOfVmx(name string, home object.DatastorePath) string {
	if !strings.HasPrefix(name, "/") {
		at := object.DatastorePath{Datastore: home.Datastore, Path: path.Join(path.Dir(home.Path), name)}
		return at.String()
	}
	volume, rest, _ := strings.Cut(strings.TrimPrefix(name, "/vmfs/volumes/"), "/")
	for _, entity := range h.reg.All("Datastore") {
		datastore, ok := entity.(*simulator.Datastore)
		if ok && volumeID(h.exportOf(datastore)) == volume {
			at := object.DatastorePath{Datastore: nameOf(h.reg, datastore.Self), Path: rest}
			return at.String()
		}
	}
	return name
}

// volumeID is the name of an NFS volume below /vmfs/volumes: it depends on server and path, so it differs between sites.
func volumeID(server, export string) string {
	sum := sha1.Sum([]byte(server + ":" + export))
	text := hex.EncodeToString(sum[:8])
	return text[:8] + "-" + text[8:]
}

// vmxGuest turns debian12_64Guest into debian12-64.
func vmxGuest(id string) string {
	return strings.ReplaceAll(strings.TrimSuffix(id, "Guest"), "_", "-")
}

// guestOfVmx is the inverse of vmxGuest.
func guestOfVmx(os string) string {
	if os == "" {
		return "otherGuest"
	}
	return strings.ReplaceAll(os, "-", "_") + "Guest"
}
