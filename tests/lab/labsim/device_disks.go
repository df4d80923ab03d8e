// Disks of a VM while its hardware is being changed.
package main

import (
	"fmt"
	"os"
	"path"
	"strings"

	"github.com/google/uuid"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/vim25/types"
)

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
