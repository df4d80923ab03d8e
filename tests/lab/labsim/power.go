// Power: switching VMs on and off, with what a real host checks first: storage, files, and that nobody else runs the VM.
package main

import (
	"errors"
	"io/fs"
	"log"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// power is the lab object that serves the power calls of virtual machines.
type power struct {
	mo.FileManager
	noLock

	hub     *hub
	writers *writers
}

// installPower redirects power, shutdown and customization calls. guests, locks and writers must be there.
func (h *hub) installPower(w *writers) *power {
	p := &power{hub: h, writers: w}
	p.Self = labRef("power")
	h.redirect(p, "VirtualMachine",
		"PowerOnVM_Task", "PowerOffVM_Task", "SuspendVM_Task", "ResetVM_Task", "ShutdownGuest", "RebootGuest", "CustomizeVM_Task", "CheckCustomizationSpec")
	return p
}

// vm finds the virtual machine of a request.
func (p *power) vm(ref types.ManagedObjectReference) (*simulator.VirtualMachine, types.BaseMethodFault) {
	vm, ok := p.hub.reg.Get(ref).(*simulator.VirtualMachine)
	if !ok {
		return nil, &types.ManagedObjectNotFound{Obj: ref}
	}
	return vm, nil
}

// task starts the work of a call on a VM.
func (p *power) task(ctx *simulator.Context, method string, vm *simulator.VirtualMachine, body any, do work) types.ManagedObjectReference {
	return p.hub.startTask(ctx, vm, p.hub.call(ctx, method, vm.Self, body), do)
}

// PowerOnVMTask ends in FileNotFound, CannotAccessFile, InvalidDatastore or FileLocked where a real host could not start the VM.
func (p *power) PowerOnVMTask(ctx *simulator.Context, req *types.PowerOnVM_Task) (res soap.HasFault) {
	defer p.hub.guard(&res)
	vm, fault := p.vm(req.This)
	if fault != nil {
		return refuse(fault)
	}
	template := false
	p.hub.locked(ctx, vm.Self, func() { template = vm.Config.Template })
	if template {
		return refuse(&types.InvalidState{})
	}
	task := p.task(ctx, "PowerOnVM_Task", vm, req, func(ctx *simulator.Context) (types.AnyType, types.BaseMethodFault) {
		return nil, p.on(ctx, vm)
	})
	return &methods.PowerOnVM_TaskBody{Res: &types.PowerOnVM_TaskResponse{Returnval: task}}
}

// PowerOffVMTask cuts the power, whatever the guest does.
func (p *power) PowerOffVMTask(ctx *simulator.Context, req *types.PowerOffVM_Task) (res soap.HasFault) {
	defer p.hub.guard(&res)
	vm, fault := p.vm(req.This)
	if fault != nil {
		return refuse(fault)
	}
	task := p.task(ctx, "PowerOffVM_Task", vm, req, func(ctx *simulator.Context) (types.AnyType, types.BaseMethodFault) {
		return nil, p.off(ctx, vm, types.VirtualMachinePowerStatePoweredOff)
	})
	return &methods.PowerOffVM_TaskBody{Res: &types.PowerOffVM_TaskResponse{Returnval: task}}
}

// SuspendVMTask stops the VM with its memory saved; its files are free then.
func (p *power) SuspendVMTask(ctx *simulator.Context, req *types.SuspendVM_Task) (res soap.HasFault) {
	defer p.hub.guard(&res)
	vm, fault := p.vm(req.This)
	if fault != nil {
		return refuse(fault)
	}
	task := p.task(ctx, "SuspendVM_Task", vm, req, func(ctx *simulator.Context) (types.AnyType, types.BaseMethodFault) {
		return nil, p.off(ctx, vm, types.VirtualMachinePowerStateSuspended)
	})
	return &methods.SuspendVM_TaskBody{Res: &types.SuspendVM_TaskResponse{Returnval: task}}
}

// ResetVMTask is off and on again.
func (p *power) ResetVMTask(ctx *simulator.Context, req *types.ResetVM_Task) (res soap.HasFault) {
	defer p.hub.guard(&res)
	vm, fault := p.vm(req.This)
	if fault != nil {
		return refuse(fault)
	}
	task := p.task(ctx, "ResetVM_Task", vm, req, func(ctx *simulator.Context) (types.AnyType, types.BaseMethodFault) {
		if fault := p.off(ctx, vm, types.VirtualMachinePowerStatePoweredOff); fault != nil {
			return nil, fault
		}
		return nil, p.on(ctx, vm)
	})
	return &methods.ResetVM_TaskBody{Res: &types.ResetVM_TaskResponse{Returnval: task}}
}

// ShutdownGuest asks the guest; what comes of it depends on how the guest behaves.
func (p *power) ShutdownGuest(ctx *simulator.Context, req *types.ShutdownGuest) (res soap.HasFault) {
	defer p.hub.guard(&res)
	vm, fault := p.vm(req.This)
	if fault == nil {
		fault = p.hub.guests.shutdown(ctx, vm)
	}
	if fault != nil {
		return refuse(fault)
	}
	p.hub.post(ctx, &types.VmGuestShutdownEvent{VmEvent: p.hub.vmEvent(ctx, vm)})
	return &methods.ShutdownGuestBody{Res: &types.ShutdownGuestResponse{}}
}

// RebootGuest starts the guest again without the power going.
func (p *power) RebootGuest(ctx *simulator.Context, req *types.RebootGuest) (res soap.HasFault) {
	defer p.hub.guard(&res)
	vm, fault := p.vm(req.This)
	if fault != nil {
		return refuse(fault)
	}
	running := false
	p.hub.locked(ctx, vm.Self, func() {
		running = vm.Guest.ToolsRunningStatus == string(types.VirtualMachineToolsRunningStatusGuestToolsRunning)
	})
	if !running {
		return refuse(&types.ToolsUnavailable{})
	}
	p.hub.update(p.hub.background(), vm, guestDown(vm)...)
	p.hub.guests.boot(vm)
	return &methods.RebootGuestBody{Res: &types.RebootGuestResponse{}}
}

// CustomizeVMTask notes what the next boot changes inside the guest.
func (p *power) CustomizeVMTask(ctx *simulator.Context, req *types.CustomizeVM_Task) (res soap.HasFault) {
	defer p.hub.guard(&res)
	vm, fault := p.vm(req.This)
	if fault != nil {
		return refuse(fault)
	}
	return customizationBody(p.task(ctx, "CustomizeVM_Task", vm, req, p.hub.guests.customizeWork(vm, req.Spec)))
}

// CheckCustomizationSpec tells beforehand what CustomizeVM_Task would refuse.
func (p *power) CheckCustomizationSpec(ctx *simulator.Context, req *types.CheckCustomizationSpec) (res soap.HasFault) {
	defer p.hub.guard(&res)
	vm, fault := p.vm(req.This)
	if fault == nil {
		p.hub.locked(ctx, vm.Self, func() { fault = checkCustomization(vm, req.Spec) })
	}
	if fault != nil {
		return refuse(fault)
	}
	return &methods.CheckCustomizationSpecBody{Res: &types.CheckCustomizationSpecResponse{}}
}

// on switches a VM on: checks and file locks first, then the power, then its guest.
func (p *power) on(ctx *simulator.Context, vm *simulator.VirtualMachine) types.BaseMethodFault {
	defer p.hub.turns.take(vm.Self)()
	var now types.VirtualMachinePowerState
	p.hub.locked(ctx, vm.Self, func() { now = vm.Runtime.PowerState })
	if wanted := types.VirtualMachinePowerStatePoweredOn; now == wanted {
		return &types.InvalidPowerState{RequestedState: wanted, ExistingState: now}
	}
	files, fault := p.files(ctx, vm)
	if fault != nil {
		return fault
	}
	if err := p.hub.locks.take(files.name, files.uuid, files.paths...); err != nil {
		return fileFault(err, files.vmx)
	}
	if fault := p.turn(ctx, vm, types.VirtualMachinePowerStatePoweredOn); fault != nil {
		p.hub.locks.release(files.uuid)
		return fault
	}
	dir := filepath.Dir(files.paths[0])
	if err := p.writers.powerOn(files.name, files.uuid, dir, files.test); err != nil {
		log.Printf("labsim: writers: %v", err)
	}
	p.hub.guests.boot(vm)
	return nil
}

// off takes the power away and frees the files.
func (p *power) off(ctx *simulator.Context, vm *simulator.VirtualMachine, state types.VirtualMachinePowerState) types.BaseMethodFault {
	defer p.hub.turns.take(vm.Self)()
	if fault := p.turn(ctx, vm, state); fault != nil {
		return fault
	}
	p.released(ctx, vm)
	return nil
}

// released does what follows from a VM without power.
func (p *power) released(ctx *simulator.Context, vm *simulator.VirtualMachine) {
	var uuid string
	p.hub.locked(ctx, vm.Self, func() { uuid = vm.Config.InstanceUuid })
	p.hub.guests.off(vm)
	if err := p.writers.powerOff(uuid); err != nil {
		log.Printf("labsim: writers: %v", err)
	}
	p.hub.locks.release(uuid)
}

// stopped powers a VM off from inside, at the end of a shutdown.
func (p *power) stopped(ref types.ManagedObjectReference) {
	vm, ok := p.hub.reg.Get(ref).(*simulator.VirtualMachine)
	if !ok {
		return
	}
	ctx := p.hub.background()
	if fault := p.off(ctx, vm, types.VirtualMachinePowerStatePoweredOff); fault != nil {
		log.Printf("labsim: shutdown of %s: %s", ref.Value, faultMessage(fault))
	}
}

// turn changes the power state, and with it which cards are plugged in. The stock code is not asked: it would do more than that.
func (p *power) turn(ctx *simulator.Context, vm *simulator.VirtualMachine, state types.VirtualMachinePowerState) types.BaseMethodFault {
	const on = types.VirtualMachinePowerStatePoweredOn
	var fault types.BaseMethodFault
	p.hub.locked(ctx, vm.Self, func() {
		now := vm.Runtime.PowerState
		if now == state || state == types.VirtualMachinePowerStateSuspended && now != on {
			fault = &types.InvalidPowerState{RequestedState: state, ExistingState: now}
			return
		}
		var boot *time.Time
		if state == on {
			boot = types.NewTime(time.Now())
		}
		devices := cloneDevices(vm.Config.Hardware.Device)
		connected(devices, state == on)
		runtime := vm.Runtime
		runtime.PowerState, runtime.BootTime = state, boot
		p.hub.reg.Update(ctx, vm, []types.PropertyChange{
			set("runtime", runtime), set("summary.runtime", runtime), set("config.hardware.device", []types.BaseVirtualDevice(devices)),
		})
	})
	if fault == nil {
		p.tell(ctx, vm, state)
	}
	return fault
}

// tell posts the events of a change of power.
func (p *power) tell(ctx *simulator.Context, vm *simulator.VirtualMachine, state types.VirtualMachinePowerState) {
	event := p.hub.vmEvent(ctx, vm)
	switch state {
	case types.VirtualMachinePowerStatePoweredOn:
		p.hub.post(ctx, &types.VmStartingEvent{VmEvent: event}, &types.VmPoweredOnEvent{VmEvent: event})
	case types.VirtualMachinePowerStatePoweredOff:
		p.hub.post(ctx, &types.VmStoppingEvent{VmEvent: event}, &types.VmPoweredOffEvent{VmEvent: event})
	case types.VirtualMachinePowerStateSuspended:
		p.hub.post(ctx, &types.VmSuspendingEvent{VmEvent: event}, &types.VmSuspendedEvent{VmEvent: event})
	}
}

// vmFiles is what a VM needs on disk to run.
type vmFiles struct {
	name, uuid string
	vmx        string   // datastore path
	paths      []string // on this machine; the .vmx first, then every disk
	test       bool     // it lies on an export that is not a device of the array itself
}

// files checks that the host is there, every datastore is mounted and writable and every file exists.
func (p *power) files(ctx *simulator.Context, vm *simulator.VirtualMachine) (vmFiles, types.BaseMethodFault) {
	var files vmFiles
	var wanted []string
	var host *types.ManagedObjectReference
	p.hub.locked(ctx, vm.Self, func() {
		files.name, files.uuid, files.vmx = vm.Name, vm.Config.InstanceUuid, vm.Config.Files.VmPathName
		host = vm.Runtime.Host
		wanted = append(wanted, files.vmx)
		for _, device := range vm.Config.Hardware.Device {
			if disk, ok := device.(*types.VirtualDisk); ok {
				if backing, ok := disk.Backing.(types.BaseVirtualDeviceFileBackingInfo); ok {
					wanted = append(wanted, backing.GetVirtualDeviceFileBackingInfo().FileName)
				}
			}
		}
	})
	if fault := p.host(ctx, host); fault != nil {
		return files, fault
	}
	for _, file := range wanted {
		if strings.HasPrefix(file, "/") { // a disk on a volume that was not mounted here when the VM was registered
			return files, &types.FileNotFound{FileFault: types.FileFault{File: file}}
		}
		place, fault := p.hub.locate(file)
		if fault != nil {
			return files, fault
		}
		if place.access != accessRW {
			return files, &types.CannotAccessFile{FileFault: types.FileFault{File: file}}
		}
		if _, err := os.Stat(place.path); err != nil {
			return files, fileFault(err, file)
		}
		files.paths = append(files.paths, place.path)
		files.test = files.test || place.test
	}
	return files, nil
}

func (p *power) host(ctx *simulator.Context, ref *types.ManagedObjectReference) types.BaseMethodFault {
	if ref == nil {
		return &types.NoCompatibleHost{}
	}
	host, ok := p.hub.reg.Get(*ref).(*simulator.HostSystem)
	if !ok {
		return &types.NoCompatibleHost{}
	}
	var fault types.BaseMethodFault
	p.hub.locked(ctx, host.Self, func() {
		if host.Runtime.ConnectionState != types.HostSystemConnectionStateConnected {
			fault = &types.HostNotConnected{}
		} else if host.Runtime.InMaintenanceMode {
			fault = &types.InvalidState{}
		}
	})
	return fault
}

// fileFault is the vim fault for an error with a file that clients know by its datastore path.
func fileFault(err error, file string) types.BaseMethodFault {
	var locked *lockedError
	switch {
	case errors.As(err, &locked):
		return withMessage(&types.FileLocked{FileFault: types.FileFault{File: file}}, "Unable to access file %s: %v", file, locked)
	case errors.Is(err, fs.ErrNotExist):
		return &types.FileNotFound{FileFault: types.FileFault{File: file}}
	}
	return withMessage(&types.CannotAccessFile{FileFault: types.FileFault{File: file}}, "Unable to access file %s: %v", file, err)
}

// resume switches a VM on that ran when its site was killed.
func (h *hub) resume(ctx *simulator.Context, vm *simulator.VirtualMachine) types.BaseMethodFault {
	lab, ok := h.reg.Get(labRef("power")).(*power)
	if !ok {
		return &types.SystemError{Reason: "power is not installed"}
	}
	return lab.on(ctx, vm)
}
