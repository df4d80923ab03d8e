// Making virtual machines with their files.
package main

import (
	"fmt"
	"os"
	"path"
	"strings"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

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
	if other := h.childNamed(h.children(ctx, place.folder), spec.Name); other != nil {
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
