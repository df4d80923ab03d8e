// Registering virtual machines from their files.
package main

import (
	"errors"
	"io/fs"
	"path"
	"slices"

	"github.com/google/uuid"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

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
	if other := h.childNamed(h.children(ctx, place.folder), vm.Name); other != nil {
		return nil, &types.DuplicateName{Name: vm.Name, Object: other.Reference()}
	}
	if at.access == accessRW {
		if fault := m.save(vm, at); fault != nil {
			return nil, fault
		}
	}
	if fault := h.insert(ctx, vm, place); fault != nil {
		return nil, fault
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
