// Virtual machines: making, registering, changing and removing them, always together with their files.
package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// machines is the lab object behind folders and virtual machines.
type machines struct {
	mo.FileManager
	noLock

	hub *hub
}

func (h *hub) installVMs() {
	m := &machines{hub: h}
	m.Self = labRef("machines")
	h.redirect(m, "Folder", "CreateVM_Task", "RegisterVM_Task")
	h.redirect(m, "VirtualMachine", "ReconfigVM_Task", "Rename_Task", "UnregisterVM", "Destroy_Task", "RefreshStorageInfo")
}

// CreateVMTask makes a VM with its files.
func (m *machines) CreateVMTask(ctx *simulator.Context, req *types.CreateVM_Task) (res soap.HasFault) {
	defer m.hub.guard(&res)
	task := m.hub.startTask(ctx, req.This, m.hub.call(ctx, "CreateVM_Task", req.This, req), func(ctx *simulator.Context) (types.AnyType, types.BaseMethodFault) {
		vm, fault := m.create(ctx, req)
		if fault != nil {
			return nil, fault
		}
		m.hub.post(ctx, &types.VmCreatedEvent{VmEvent: m.hub.vmEvent(ctx, vm)})
		return vm.Self, nil
	})
	return &methods.CreateVM_TaskBody{Res: &types.CreateVM_TaskResponse{Returnval: task}}
}

func (m *machines) create(ctx *simulator.Context, req *types.CreateVM_Task) (*simulator.VirtualMachine, types.BaseMethodFault) {
	h, spec := m.hub, &req.Config
	if spec.Name == "" {
		return nil, &types.InvalidVmConfig{Property: "configSpec.name"}
	}
	if spec.Files == nil || spec.Files.VmPathName == "" {
		return nil, &types.InvalidVmConfig{Property: "configSpec.files.vmPathName"}
	}
	vmx, at, fault := m.newVmx(spec.Files.VmPathName, spec.Name)
	if fault != nil {
		return nil, fault
	}
	place, fault := h.placement(ctx, req.This, &req.Pool, req.Host, at.datastore.Self)
	if fault != nil {
		return nil, fault
	}
	vm := h.newVM(types.ManagedObjectReference{}, vmx)
	config, fault := configured(vm.Config, spec, false)
	if fault != nil {
		return nil, fault
	}
	var home object.DatastorePath
	home.FromString(vmx)
	edit := h.newEdit(config.Hardware.Device, home, config.InstanceUuid)
	if fault := edit.apply(spec.DeviceChange); fault != nil {
		return nil, fault
	}
	if other := h.childNamed(place.folder.ChildEntity, spec.Name); other != nil {
		return nil, &types.DuplicateName{Name: spec.Name, Object: other.Reference()}
	}
	config.Hardware.Device = edit.list
	vm.Name, vm.Config = spec.Name, config
	if err := os.MkdirAll(path.Dir(at.path), 0o700); err != nil {
		return nil, fileFault(err, vmx)
	}
	if fault := edit.write(); fault != nil {
		return nil, fault
	}
	if fault := m.save(vm, at); fault != nil {
		return nil, fault
	}
	applyTo(vm, h.derived(vm, config))
	if fault := h.insert(ctx, vm, place); fault != nil {
		_ = os.Remove(at.path)
		return nil, fault
	}
	return vm, nil
}

// newVmx completes the path of a new .vmx: "[ds]" alone leaves the directory to the server.
func (m *machines) newVmx(asked, name string) (string, place, types.BaseMethodFault) {
	var p object.DatastorePath
	if !p.FromString(asked) || p.Datastore == "" {
		return "", place{}, &types.InvalidDatastorePath{InvalidDatastore: types.InvalidDatastore{Name: asked}, DatastorePath: asked}
	}
	safe := strings.NewReplacer("/", "_", "\\", "_").Replace(name)
	if path.Ext(p.Path) != ".vmx" {
		dir := p.Path
		if dir == "" {
			dir = safe
		}
		p.Path = path.Join(dir, safe+".vmx")
		for n := 1; ; n++ {
			at, fault := m.hub.locate(p.String())
			if fault != nil || !onDisk(at.path) {
				break
			}
			p.Path = path.Join(fmt.Sprintf("%s_%d", dir, n), safe+".vmx")
		}
	}
	at, fault := m.hub.writable(p.String())
	if fault != nil {
		return "", at, fault
	}
	if onDisk(at.path) {
		return "", at, &types.FileAlreadyExists{FileFault: types.FileFault{File: p.String()}}
	}
	return p.String(), at, nil
}

// save writes the .vmx and what belongs beside it.
func (m *machines) save(vm *simulator.VirtualMachine, at place) types.BaseMethodFault {
	if err := m.hub.vmxOf(vm).save(at.path); err != nil {
		return fileFault(err, vm.Config.Files.VmPathName)
	}
	return m.companions(at, vm.Config.Files.VmPathName)
}

// companions makes nvram and log where they are missing.
func (m *machines) companions(at place, vmx string) types.BaseMethodFault {
	for _, file := range []string{strings.TrimSuffix(at.path, ".vmx") + ".nvram", path.Join(path.Dir(at.path), "vmware.log")} {
		f, err := os.OpenFile(file, os.O_CREATE|os.O_WRONLY, 0o600)
		if err == nil {
			err = f.Close()
		}
		if err != nil {
			return fileFault(err, vmx)
		}
	}
	return nil
}

// applyTo sets properties of a VM that nobody can see yet.
func applyTo(vm *simulator.VirtualMachine, changes []types.PropertyChange) {
	mo.ApplyPropertyChange(&vm.VirtualMachine, changes)
}

// RegisterVMTask takes a VM over from its files.
func (m *machines) RegisterVMTask(ctx *simulator.Context, req *types.RegisterVM_Task) (res soap.HasFault) {
	defer m.hub.guard(&res)
	task := m.hub.startTask(ctx, req.This, m.hub.call(ctx, "RegisterVM_Task", req.This, req), func(ctx *simulator.Context) (types.AnyType, types.BaseMethodFault) {
		vm, fault := m.register(ctx, req)
		if fault != nil {
			return nil, fault
		}
		m.hub.post(ctx, &types.VmRegisteredEvent{VmEvent: m.hub.vmEvent(ctx, vm)})
		return vm.Self, nil
	})
	return &methods.RegisterVM_TaskBody{Res: &types.RegisterVM_TaskResponse{Returnval: task}}
}

func (m *machines) register(ctx *simulator.Context, req *types.RegisterVM_Task) (*simulator.VirtualMachine, types.BaseMethodFault) {
	h := m.hub
	if req.AsTemplate && req.Host == nil {
		return nil, invalid("host")
	}
	if !req.AsTemplate && req.Pool == nil {
		return nil, invalid("pool")
	}
	at, fault := h.locate(req.Path)
	if fault != nil {
		return nil, fault
	}
	if other := h.vmAt(ctx, req.Path); other != nil {
		return nil, &types.AlreadyExists{Name: other.Self.Value}
	}
	if at.access == accessNone {
		return nil, withMessage(&types.InvalidDatastore{Datastore: &at.datastore.Self, Name: nameOf(h.reg, at.datastore.Self)},
			"Datastore '%s' is not accessible.", nameOf(h.reg, at.datastore.Self))
	}
	v, err := readVmx(at.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, withMessage(&types.NotFound{}, "The file %s could not be found.", req.Path)
	}
	if err != nil {
		return nil, fileFault(err, req.Path)
	}
	place, fault := h.placement(ctx, req.This, req.Pool, req.Host, at.datastore.Self)
	if fault != nil {
		return nil, fault
	}
	vm := m.fromVmx(types.ManagedObjectReference{}, v, req.Path, req.Name)
	vm.Config.Template = req.AsTemplate
	if m.known(ctx, vm.Config.InstanceUuid) { // as vCenter does: no two VMs of one inventory share it
		vm.Config.InstanceUuid = uuid.NewString()
	}
	applyTo(vm, h.derived(vm, vm.Config))
	if fault := h.insert(ctx, vm, place); fault != nil {
		return nil, fault
	}
	if at.access == accessRW {
		if fault := m.save(vm, at); fault != nil {
			return nil, fault
		}
	}
	return vm, nil
}

// fromVmx builds a VM from the text of its .vmx. An empty name leaves it to the file, then to its directory.
func (m *machines) fromVmx(self types.ManagedObjectReference, v *vmxFile, vmx, name string) *simulator.VirtualMachine {
	vm := m.hub.newVM(self, vmx)
	c := vm.Config
	var home object.DatastorePath
	home.FromString(vmx)
	if name == "" {
		name = v.get("displayName")
	}
	if name == "" {
		name = path.Base(path.Dir(home.Path))
	}
	vm.Name, c.Name = name, name
	c.GuestId = guestOfVmx(v.get("guestOS"))
	c.GuestFullName = c.GuestId
	c.Annotation = v.get("annotation")
	c.Hardware.NumCPU, c.Hardware.MemoryMB = int32(v.number("numvcpus", 1)), int32(v.number("memSize", 32))
	c.Hardware.NumCoresPerSocket = int32(v.number("cpuid.coresPerSocket", 1))
	for _, field := range []struct {
		to    *string
		value string
	}{
		{&c.Firmware, v.get("firmware")}, {&c.Uuid, plainUUID(v.get("uuid.bios"))}, {&c.InstanceUuid, plainUUID(v.get("vc.uuid"))},
		{&c.LocationId, plainUUID(v.get("uuid.location"))},
	} {
		if field.value != "" {
			*field.to = field.value
		}
	}
	if version := v.get("virtualHW.version"); version != "" {
		c.Version = "vmx-" + version
	}
	if key := v.get("managedBy.extensionKey"); key != "" {
		c.ManagedBy = &types.ManagedByInfo{ExtensionKey: key, Type: v.get("managedBy.type")}
	}
	for _, key := range v.keys {
		if !structural(key) {
			c.ExtraConfig = append(c.ExtraConfig, &types.OptionValue{Key: key, Value: v.get(key)})
		}
	}
	if v.get(customizationKey) != "" {
		c.Tools.PendingCustomization = uuid.NewString()
	}
	c.Hardware.Device = m.hub.devicesOf(v, home, c.Hardware.Device)
	return vm
}

func (m *machines) known(ctx *simulator.Context, instanceUUID string) bool {
	return slices.ContainsFunc(m.hub.reg.All("VirtualMachine"), func(e mo.Entity) bool {
		vm, ok := e.(*simulator.VirtualMachine)
		same := false
		if ok {
			m.hub.locked(ctx, vm.Self, func() { same = vm.Config != nil && vm.Config.InstanceUuid == instanceUUID })
		}
		return same
	})
}

// ReconfigVMTask changes a VM and its .vmx, all of it or nothing.
func (m *machines) ReconfigVMTask(ctx *simulator.Context, req *types.ReconfigVM_Task) (res soap.HasFault) {
	defer m.hub.guard(&res)
	vm, fault := m.hub.vmOf(req.This)
	if fault != nil {
		return refuse(fault)
	}
	task := m.hub.startTask(ctx, vm, m.hub.call(ctx, "ReconfigVM_Task", vm.Self, req), func(ctx *simulator.Context) (types.AnyType, types.BaseMethodFault) {
		if fault := m.reconfigure(ctx, vm, &req.Spec); fault != nil {
			return nil, fault
		}
		m.hub.post(ctx, &types.VmReconfiguredEvent{VmEvent: m.hub.vmEvent(ctx, vm), ConfigSpec: req.Spec})
		return nil, nil
	})
	return &methods.ReconfigVM_TaskBody{Res: &types.ReconfigVM_TaskResponse{Returnval: task}}
}

func (m *machines) reconfigure(ctx *simulator.Context, vm *simulator.VirtualMachine, spec *types.VirtualMachineConfigSpec) types.BaseMethodFault {
	h := m.hub
	if other := h.sibling(vm, spec.Name); spec.Name != "" && other != nil {
		return &types.DuplicateName{Name: spec.Name, Object: other.Reference()}
	}
	var edit *deviceEdit
	var before, after []types.ManagedObjectReference
	var fault types.BaseMethodFault
	h.locked(ctx, vm.Self, func() {
		if f := spec.Files; f != nil && f.VmPathName != "" && f.VmPathName != vm.Config.Files.VmPathName {
			fault = invalid("configSpec.files.vmPathName")
			return
		}
		on := vm.Runtime.PowerState == types.VirtualMachinePowerStatePoweredOn
		var config *types.VirtualMachineConfigInfo
		if config, fault = configured(vm.Config, spec, on); fault != nil {
			return
		}
		var home object.DatastorePath
		home.FromString(vm.Config.Files.VmPathName)
		edit = h.newEdit(vm.Config.Hardware.Device, home, config.InstanceUuid)
		if fault = edit.apply(spec.DeviceChange); fault != nil {
			return
		}
		config.Hardware.Device = edit.list
		connected(edit.list, on)
		if fault = m.commit(vm, config, edit); fault != nil {
			return
		}
		before = usedBy(vm)
		h.reg.Update(ctx, vm, h.derived(vm, config))
		after = usedBy(vm)
	})
	if fault != nil {
		return fault
	}
	h.relist(ctx, vm.Self, before, after)
	edit.discard()
	h.guests.readdress(vm)
	return nil
}

// commit writes disks and the .vmx of the configuration that is about to be published; the VM is locked.
func (m *machines) commit(vm *simulator.VirtualMachine, config *types.VirtualMachineConfigInfo, edit *deviceEdit) types.BaseMethodFault {
	at, fault := m.hub.writable(config.Files.VmPathName)
	if fault != nil {
		return fault
	}
	if fault := edit.write(); fault != nil {
		return fault
	}
	draft := &simulator.VirtualMachine{}
	draft.Name, draft.Config = config.Name, config
	if err := m.hub.vmxOf(draft).save(at.path); err != nil {
		return fileFault(err, config.Files.VmPathName)
	}
	return nil
}

// connected sets which cards are connected right now: those of a running VM that start so and have a network.
func connected(devices object.VirtualDeviceList, on bool) {
	for _, device := range devices {
		if card, ok := device.(types.BaseVirtualEthernetCard); ok {
			c := card.GetVirtualEthernetCard()
			if c.Connectable != nil {
				c.Connectable.Connected = on && c.Connectable.StartConnected && !dangling(c)
			}
		}
	}
}

// RenameTask renames a VM in the inventory and in its .vmx.
func (m *machines) RenameTask(ctx *simulator.Context, req *types.Rename_Task) (res soap.HasFault) {
	defer m.hub.guard(&res)
	vm, fault := m.hub.vmOf(req.This)
	if fault != nil {
		return refuse(fault)
	}
	if req.NewName == "" {
		return refuse(invalid("newName"))
	}
	task := m.hub.startTask(ctx, vm, m.hub.call(ctx, "Rename_Task", vm.Self, req), func(ctx *simulator.Context) (types.AnyType, types.BaseMethodFault) {
		return nil, m.reconfigure(ctx, vm, &types.VirtualMachineConfigSpec{Name: req.NewName})
	})
	return &methods.Rename_TaskBody{Res: &types.Rename_TaskResponse{Returnval: task}}
}

// UnregisterVM forgets a VM that is not on; its files stay.
func (m *machines) UnregisterVM(ctx *simulator.Context, req *types.UnregisterVM) (res soap.HasFault) {
	defer m.hub.guard(&res)
	vm, fault := m.hub.vmOf(req.This)
	if fault == nil {
		fault = m.unregister(detached(ctx), vm)
	}
	if fault != nil {
		return refuse(fault)
	}
	m.hub.saveState()
	return &methods.UnregisterVMBody{Res: &types.UnregisterVMResponse{}}
}

func (m *machines) unregister(ctx *simulator.Context, vm *simulator.VirtualMachine) types.BaseMethodFault {
	if fault := m.off(ctx, vm); fault != nil {
		return fault
	}
	event := m.hub.vmEvent(ctx, vm)
	m.hub.withdraw(ctx, vm)
	m.hub.post(ctx, &types.VmRemovedEvent{VmEvent: event})
	return nil
}

func (m *machines) off(ctx *simulator.Context, vm *simulator.VirtualMachine) (fault types.BaseMethodFault) {
	m.hub.locked(ctx, vm.Self, func() {
		if vm.Runtime.PowerState == types.VirtualMachinePowerStatePoweredOn {
			fault = &types.InvalidPowerState{RequestedState: types.VirtualMachinePowerStatePoweredOff, ExistingState: vm.Runtime.PowerState}
		}
	})
	return fault
}

// DestroyTask forgets a VM and deletes its files.
func (m *machines) DestroyTask(ctx *simulator.Context, req *types.Destroy_Task) (res soap.HasFault) {
	defer m.hub.guard(&res)
	vm, fault := m.hub.vmOf(req.This)
	if fault != nil {
		return refuse(fault)
	}
	task := m.hub.startTask(ctx, vm, m.hub.call(ctx, "Destroy_Task", vm.Self, req), func(ctx *simulator.Context) (types.AnyType, types.BaseMethodFault) {
		return nil, m.destroy(ctx, vm)
	})
	return &methods.Destroy_TaskBody{Res: &types.Destroy_TaskResponse{Returnval: task}}
}

func (m *machines) destroy(ctx *simulator.Context, vm *simulator.VirtualMachine) types.BaseMethodFault {
	var vmx string
	var disks []string
	m.hub.locked(ctx, vm.Self, func() {
		vmx = vm.Config.Files.VmPathName
		for _, device := range vm.Config.Hardware.Device {
			if disk, ok := device.(*types.VirtualDisk); ok {
				disks = append(disks, diskName(disk))
			}
		}
	})
	at, fault := m.hub.writable(vmx)
	if fault != nil {
		return fault
	}
	if fault := m.unregister(ctx, vm); fault != nil {
		return fault
	}
	for _, file := range disks {
		if disk, fault := m.hub.writable(file); fault == nil {
			_ = removeDisk(disk.path)
		}
	}
	var p object.DatastorePath
	p.FromString(vmx)
	if path.Dir(p.Path) == "." { // never the whole datastore
		_ = os.Remove(at.path)
		return nil
	}
	if err := os.RemoveAll(path.Dir(at.path)); err != nil {
		return fileFault(err, vmx)
	}
	return nil
}

// RefreshStorageInfo looks at the files again.
func (m *machines) RefreshStorageInfo(ctx *simulator.Context, req *types.RefreshStorageInfo) (res soap.HasFault) {
	defer m.hub.guard(&res)
	vm, fault := m.hub.vmOf(req.This)
	if fault != nil {
		return refuse(fault)
	}
	m.hub.locked(ctx, vm.Self, func() {
		config := *vm.Config
		m.hub.reg.Update(ctx, vm, m.hub.derived(vm, &config))
	})
	return &methods.RefreshStorageInfoBody{Res: &types.RefreshStorageInfoResponse{}}
}
