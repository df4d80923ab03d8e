// Devices: changes of virtual hardware, worked out on a copy and checked completely before anything becomes real.
package main

import (
	"bytes"
	"crypto/sha1"
	"fmt"
	"os"
	"path"
	"strings"

	"github.com/google/uuid"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator/esx"
	"github.com/vmware/govmomi/vim25/types"
	"github.com/vmware/govmomi/vim25/xml"
)

// deviceEdit is the hardware of a VM while it is being changed.
type deviceEdit struct {
	hub     *hub
	list    object.VirtualDeviceList // copies; becomes the VM's when all went well
	home    object.DatastorePath     // of the .vmx
	seed    string                   // for addresses of new cards
	renamed map[int32]int32          // key in the request -> key given
	files   map[string]diskInfo      // descriptors to write: new disks and grown ones
	removed []string                 // disks whose files go
}

func (h *hub) newEdit(devices []types.BaseVirtualDevice, home object.DatastorePath, seed string) *deviceEdit {
	return &deviceEdit{
		hub: h, list: cloneDevices(devices), home: home, seed: seed,
		renamed: map[int32]int32{}, files: map[string]diskInfo{},
	}
}

// standardDevices is what every VM has: the chipset's controllers, keyboard, mouse, video.
func standardDevices() object.VirtualDeviceList { return cloneDevices(esx.VirtualDevice) }

// cloneDevices copies devices so deeply that no reader of the old list sees a change of the new one.
func cloneDevices(devices []types.BaseVirtualDevice) object.VirtualDeviceList {
	var copied types.ArrayOfVirtualDevice
	deepCopy(types.ArrayOfVirtualDevice{VirtualDevice: devices}, &copied)
	return copied.VirtualDevice
}

// deepCopy goes through XML, which knows every type of the API.
func deepCopy(source, target any) {
	text, err := xml.Marshal(source)
	if err != nil {
		panic(err)
	}
	decoder := xml.NewDecoder(bytes.NewReader(text))
	decoder.TypeFunc = types.TypeFunc()
	if err := decoder.Decode(target); err != nil {
		panic(err)
	}
}

func invalidDevice(index int, property string) *types.InvalidDeviceSpec {
	return &types.InvalidDeviceSpec{
		InvalidVmConfig: types.InvalidVmConfig{Property: fmt.Sprintf("deviceChange[%d].%s", index, property)}, DeviceIndex: int32(index),
	}
}

// apply works out all changes of a request; a fault leaves the edit useless and the VM as it was.
func (e *deviceEdit) apply(changes []types.BaseVirtualDeviceConfigSpec) types.BaseMethodFault {
	for i, change := range changes {
		spec := change.GetVirtualDeviceConfigSpec()
		if spec.Device == nil {
			return invalidDevice(i, "device")
		}
		var fault types.BaseMethodFault
		switch spec.Operation {
		case types.VirtualDeviceConfigSpecOperationAdd:
			fault = e.add(i, spec)
		case types.VirtualDeviceConfigSpecOperationEdit:
			fault = e.edit(i, spec)
		case types.VirtualDeviceConfigSpecOperationRemove:
			fault = e.remove(i, spec)
		default:
			fault = invalidDevice(i, "operation")
		}
		if fault != nil {
			return fault
		}
	}
	return nil
}

func (e *deviceEdit) add(index int, spec *types.VirtualDeviceConfigSpec) types.BaseMethodFault {
	device := spec.Device
	base := device.GetVirtualDevice()
	asked := base.Key
	if given, known := e.renamed[base.ControllerKey]; known && base.ControllerKey < 0 {
		base.ControllerKey = given
	}
	var label string
	var fault types.BaseMethodFault
	switch d := device.(type) {
	case types.BaseVirtualController:
		label = e.addController(d)
	case *types.VirtualDisk:
		label = fmt.Sprintf("Hard disk %d", len(e.list.SelectByType(d))+1)
		fault = e.addDisk(index, d, spec.FileOperation)
	case types.BaseVirtualEthernetCard:
		label = fmt.Sprintf("Network adapter %d", len(e.list.SelectByType((*types.VirtualEthernetCard)(nil)))+1)
		fault = e.addCard(index, d.GetVirtualEthernetCard())
	default:
		label = e.list.Type(device)
		base.Key = e.freeKey(max(13000, base.Key))
	}
	if fault != nil {
		return fault
	}
	e.renamed[asked] = base.Key
	base.DeviceInfo = &types.Description{Label: label, Summary: e.summary(device)}
	e.list = append(e.list, device)
	return nil
}

func (e *deviceEdit) edit(index int, spec *types.VirtualDeviceConfigSpec) types.BaseMethodFault {
	base := spec.Device.GetVirtualDevice()
	at := -1
	for i, d := range e.list {
		if d.GetVirtualDevice().Key == base.Key {
			at = i
		}
	}
	if at < 0 {
		return invalidDevice(index, "device.key")
	}
	old := e.list[at].GetVirtualDevice()
	if base.ControllerKey == 0 {
		base.ControllerKey, base.UnitNumber = old.ControllerKey, old.UnitNumber
	}
	if base.Backing == nil {
		base.Backing = old.Backing
	}
	if base.Connectable == nil {
		base.Connectable = old.Connectable
	}
	var fault types.BaseMethodFault
	switch d := spec.Device.(type) {
	case *types.VirtualDisk:
		fault = e.editDisk(index, e.list[at], d)
	case types.BaseVirtualEthernetCard:
		before, ok := e.list[at].(types.BaseVirtualEthernetCard)
		if !ok {
			return invalidDevice(index, "device")
		}
		fault = e.editCard(index, before.GetVirtualEthernetCard(), d.GetVirtualEthernetCard())
	}
	if fault != nil {
		return fault
	}
	label := ""
	if old.DeviceInfo != nil {
		label = old.DeviceInfo.GetDescription().Label
	}
	base.DeviceInfo = &types.Description{Label: label, Summary: e.summary(spec.Device)}
	e.list[at] = spec.Device
	return nil
}

func (e *deviceEdit) remove(index int, spec *types.VirtualDeviceConfigSpec) types.BaseMethodFault {
	key := spec.Device.GetVirtualDevice().Key
	for i, d := range e.list {
		if d.GetVirtualDevice().Key != key {
			continue
		}
		if disk, ok := d.(*types.VirtualDisk); ok && spec.FileOperation == types.VirtualDeviceConfigSpecFileOperationDestroy {
			e.removed = append(e.removed, diskName(disk))
		}
		e.list = append(e.list[:i:i], e.list[i+1:]...)
		return nil
	}
	return invalidDevice(index, "device.key")
}

// addController gives a controller its key and a bus number nobody has, and returns its label.
func (e *deviceEdit) addController(c types.BaseVirtualController) string {
	controller := c.GetVirtualController()
	kind, _ := controllerKind(c.(types.BaseVirtualDevice))
	first := map[string]int32{"scsi": 1000, "sata": 15000, "nvme": 31000}[kind]
	if first == 0 {
		controller.Key = e.freeKey(max(13000, controller.Key))
		return fmt.Sprintf("Controller %d", controller.BusNumber)
	}
	for e.busTaken(kind, controller.BusNumber) {
		controller.BusNumber++
	}
	controller.Key = e.freeKey(first + controller.BusNumber)
	controller.ControllerKey = 100
	controller.Device = nil
	if scsi, ok := c.(types.BaseVirtualSCSIController); ok {
		scsi.GetVirtualSCSIController().ScsiCtlrUnitNumber = 7
	}
	return fmt.Sprintf("%s controller %d", strings.ToUpper(kind), controller.BusNumber)
}

func (e *deviceEdit) busTaken(kind string, bus int32) bool {
	for _, d := range e.list {
		if c, ok := d.(types.BaseVirtualController); ok {
			if k, _ := controllerKind(d); k == kind && c.GetVirtualController().BusNumber == bus {
				return true
			}
		}
	}
	return false
}

func (e *deviceEdit) freeKey(from int32) int32 {
	for e.list.FindByKey(from) != nil {
		from++
	}
	return from
}

func (e *deviceEdit) addDisk(index int, disk *types.VirtualDisk, operation types.VirtualDeviceConfigSpecFileOperation) types.BaseMethodFault {
	controller, ok := e.list.FindByKey(disk.ControllerKey).(types.BaseVirtualController)
	if !ok {
		return invalidDevice(index, "device.controllerKey")
	}
	if fault := e.place(index, disk, controller); fault != nil {
		return fault
	}
	backing, ok := disk.Backing.(*types.VirtualDiskFlatVer2BackingInfo)
	if !ok {
		return invalidDevice(index, "device.backing")
	}
	if backing.DiskMode == "" {
		backing.DiskMode = string(types.VirtualDiskModePersistent)
	}
	if backing.ThinProvisioned == nil {
		backing.ThinProvisioned = types.NewBool(true)
	}
	e.nameDisk(backing)
	at, fault := e.hub.writable(backing.FileName)
	if fault != nil {
		return fault
	}
	backing.Datastore = &at.datastore.Self
	if operation == "" {
		info, err := readDisk(at.path)
		if err != nil {
			return fileFault(err, backing.FileName)
		}
		disk.CapacityInBytes, disk.CapacityInKB, backing.Uuid = info.capacity, info.capacity/1024, info.uuid
		return nil
	}
	if _, err := os.Stat(at.path); err == nil && operation != types.VirtualDeviceConfigSpecFileOperationReplace {
		return &types.FileAlreadyExists{FileFault: types.FileFault{File: backing.FileName}}
	}
	capacity := max(disk.CapacityInBytes, disk.CapacityInKB*1024)
	if capacity <= 0 {
		return invalidDevice(index, "device.capacityInKB")
	}
	backing.Uuid = uuid.NewString()
	disk.CapacityInBytes, disk.CapacityInKB = capacity, capacity/1024
	e.files[backing.FileName] = diskInfo{capacity: capacity, uuid: backing.Uuid}
	return nil
}

// place gives a disk a unit of its controller and a key.
func (e *deviceEdit) place(index int, disk *types.VirtualDisk, controller types.BaseVirtualController) types.BaseMethodFault {
	kind, _ := controllerKind(controller.(types.BaseVirtualDevice))
	if disk.UnitNumber == nil || *disk.UnitNumber < 0 {
		unit := int32(0)
		for e.unitTaken(disk.ControllerKey, unit) || kind == "scsi" && unit == 7 {
			unit++
		}
		disk.UnitNumber = &unit
	} else if e.unitTaken(disk.ControllerKey, *disk.UnitNumber) {
		return invalidDevice(index, "device.unitNumber")
	}
	disk.Key = e.freeKey(2000 + controller.GetVirtualController().BusNumber*16 + *disk.UnitNumber)
	return nil
}

func (e *deviceEdit) unitTaken(controller, unit int32) bool {
	for _, d := range e.list {
		if v := d.GetVirtualDevice(); v.ControllerKey == controller && v.UnitNumber != nil && *v.UnitNumber == unit {
			return true
		}
	}
	return false
}

// nameDisk completes a file name: "", "[ds]" and "[ds] dir/" leave the choice to the server.
func (e *deviceEdit) nameDisk(backing *types.VirtualDiskFlatVer2BackingInfo) {
	var p object.DatastorePath
	p.FromString(backing.FileName)
	if strings.HasSuffix(p.Path, ".vmdk") {
		backing.FileName = p.String()
		return
	}
	if p.Datastore == "" {
		p.Datastore = e.home.Datastore
	}
	if p.Path == "" {
		p.Path = path.Dir(e.home.Path)
	}
	dir, name := p.Path, strings.TrimSuffix(path.Base(e.home.Path), ".vmx")
	for n := 0; ; n++ {
		file := name + ".vmdk"
		if n > 0 {
			file = fmt.Sprintf("%s_%d.vmdk", name, n)
		}
		p.Path = path.Join(dir, file)
		at, fault := e.hub.locate(p.String())
		_, planned := e.files[p.String()]
		if fault != nil || !planned && !onDisk(at.path) {
			backing.FileName = p.String()
			return
		}
	}
}

func (e *deviceEdit) editDisk(index int, before types.BaseVirtualDevice, disk *types.VirtualDisk) types.BaseMethodFault {
	old, ok := before.(*types.VirtualDisk)
	backing, flat := disk.Backing.(*types.VirtualDiskFlatVer2BackingInfo)
	if !ok || !flat {
		return invalidDevice(index, "device.backing")
	}
	at, fault := e.hub.locate(backing.FileName)
	if fault != nil {
		return fault
	}
	backing.Datastore = &at.datastore.Self
	if backing.FileName != diskName(old) { // another file behind the same disk: how a path that broke at another site is repaired
		info, err := readDisk(at.path)
		if err != nil {
			return fileFault(err, backing.FileName)
		}
		disk.CapacityInBytes, disk.CapacityInKB, backing.Uuid = info.capacity, info.capacity/1024, info.uuid
		return nil
	}
	wanted := disk.CapacityInKB * 1024
	if disk.CapacityInBytes > 0 && disk.CapacityInBytes != old.CapacityInBytes {
		wanted = disk.CapacityInBytes
	}
	if wanted == 0 {
		wanted = old.CapacityInBytes
	}
	if wanted < old.CapacityInBytes {
		return &types.InvalidDeviceOperation{InvalidDeviceSpec: *invalidDevice(index, "device.capacityInKB")}
	}
	disk.CapacityInBytes, disk.CapacityInKB = wanted, wanted/1024
	if wanted != old.CapacityInBytes {
		e.files[backing.FileName] = diskInfo{capacity: wanted, uuid: backing.Uuid}
	}
	return nil
}

func (e *deviceEdit) addCard(index int, card *types.VirtualEthernetCard) types.BaseMethodFault {
	if fault := e.hub.resolveNetwork(index, card); fault != nil {
		return fault
	}
	card.Key = e.freeKey(4000)
	unit := card.Key - 4000 + 7
	card.ControllerKey, card.UnitNumber = 100, &unit
	e.address(card, "")
	if card.Connectable == nil {
		card.Connectable = &types.VirtualDeviceConnectInfo{StartConnected: true, AllowGuestControl: true}
	}
	return nil
}

// editCard keeps the address of a card, and lets a card stay on a network that does not exist here if it was there before.
func (e *deviceEdit) editCard(index int, old, card *types.VirtualEthernetCard) types.BaseMethodFault {
	if !(dangling(old) && backingName(old) == backingName(card)) {
		if fault := e.hub.resolveNetwork(index, card); fault != nil {
			return fault
		}
	}
	e.address(card, old.MacAddress)
	if card.AddressType == "" {
		card.AddressType = old.AddressType
	}
	return nil
}

// address gives a card the address it asks for, else the one it had, else one that no other card of a lab has.
func (e *deviceEdit) address(card *types.VirtualEthernetCard, old string) {
	if card.MacAddress == "" {
		card.MacAddress = old
	}
	if card.MacAddress == "" {
		sum := sha1.Sum(fmt.Appendf(nil, "%s nic %d", e.seed, card.Key))
		card.MacAddress = fmt.Sprintf("00:50:56:%02x:%02x:%02x", 0x80|sum[0]&0x3f, sum[1], sum[2])
		card.AddressType = string(types.VirtualEthernetCardMacTypeAssigned)
	}
	if card.AddressType == "" {
		card.AddressType = string(types.VirtualEthernetCardMacTypeManual)
	}
}

func (e *deviceEdit) summary(device types.BaseVirtualDevice) string {
	switch d := device.(type) {
	case *types.VirtualDisk:
		return fmt.Sprintf("%d KB", d.CapacityInKB)
	case types.BaseVirtualEthernetCard:
		return backingName(d.GetVirtualEthernetCard())
	}
	return e.list.Type(device)
}

func diskName(disk *types.VirtualDisk) string {
	if b, ok := disk.Backing.(types.BaseVirtualDeviceFileBackingInfo); ok {
		return b.GetVirtualDeviceFileBackingInfo().FileName
	}
	return ""
}

// write makes the new and grown disks real. It is called when everything has been checked.
func (e *deviceEdit) write() types.BaseMethodFault {
	for file, info := range e.files {
		at, fault := e.hub.writable(file)
		if fault != nil {
			return fault
		}
		err := os.MkdirAll(path.Dir(at.path), 0o700)
		if err == nil {
			err = writeDisk(at.path, info)
		}
		if err != nil {
			return fileFault(err, file)
		}
	}
	return nil
}

// discard deletes the files of removed disks, after the VM has let go of them.
func (e *deviceEdit) discard() {
	for _, file := range e.removed {
		if at, fault := e.hub.writable(file); fault == nil {
			_ = removeDisk(at.path)
		}
	}
}

func onDisk(file string) bool {
	_, err := os.Stat(file)
	return err == nil
}
