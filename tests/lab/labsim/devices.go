// Devices: changes of virtual hardware, worked out on a copy and checked completely before anything becomes real.
package main

import (
	"bytes"
	"fmt"
	"strings"

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

func (e *deviceEdit) summary(device types.BaseVirtualDevice) string {
	switch d := device.(type) {
	case *types.VirtualDisk:
		return fmt.Sprintf("%d KB", d.CapacityInKB)
	case types.BaseVirtualEthernetCard:
		return backingName(d.GetVirtualEthernetCard())
	}
	return e.list.Type(device)
}
