// Seed: the first mounts and VMs of a site, made through the same calls that clients use.
package main

import (
	"context"
	"errors"
	"fmt"
	"path"
	"sync"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/types"
)

// seed mounts the lab file's exports on all hosts and makes its VMs. VMs whose files are there already are registered.
func (h *hub) seed(s *storage) error {
	for _, m := range h.lab.Mounts {
		for _, ref := range h.cluster().Host {
			host := h.reg.Get(ref).(*simulator.HostSystem)
			spec := types.HostNasVolumeSpec{RemoteHost: m.Server, RemotePath: m.Path, LocalPath: m.Name, AccessMode: string(types.HostMountModeReadWrite)}
			if _, fault := s.mount(h.background(), host, spec); fault != nil {
				return fmt.Errorf("mount %s: %s", m.Name, faultMessage(fault))
			}
		}
	}
	const parallel = 8
	var group sync.WaitGroup
	slots := make(chan struct{}, parallel)
	failed := make([]error, len(h.lab.VMs))
	for i := range h.lab.VMs {
		group.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			if err := h.seedVM(i, &h.lab.VMs[i]); err != nil {
				failed[i] = fmt.Errorf("VM %s: %w", h.lab.VMs[i].Name, err)
			}
		})
	}
	group.Wait()
	return errors.Join(failed...)
}

func (h *hub) seedVM(number int, vm *labVMSpec) error {
	if _, err := h.guests.change(vm.Name, vm.Guest); err != nil {
		return err
	}
	ctx := h.background()
	h.mu.Lock()
	folder, err := h.ensureFolder(ctx, vm.Folder)
	if err == nil {
		_, err = h.ensurePool(ctx, vm.Pool)
	}
	h.mu.Unlock()
	if err != nil {
		return err
	}
	pool, err := h.ensurePool(ctx, vm.Pool)
	if err != nil {
		return err
	}
	hosts := h.cluster().Host
	host := hosts[number%len(hosts)]
	vmx := fmt.Sprintf("[%s] %s/%s.vmx", vm.Datastore, vm.Name, vm.Name)
	var task types.ManagedObjectReference
	if at, fault := h.locate(vmx); fault == nil && onDisk(at.path) {
		res, err := methods.RegisterVM_Task(context.Background(), h.svc, &types.RegisterVM_Task{
			This: folder.Self, Path: vmx, Name: vm.Name, Pool: &pool.Self, Host: &host,
		})
		if err != nil {
			return err
		}
		task = res.Returnval
	} else {
		res, err := methods.CreateVM_Task(context.Background(), h.svc, &types.CreateVM_Task{
			This: folder.Self, Config: vm.spec(), Pool: pool.Self, Host: &host,
		})
		if err != nil {
			return err
		}
		task = res.Returnval
	}
	made, err := h.await(task)
	if err != nil || !vm.PowerOn {
		return err
	}
	res, err := methods.PowerOnVM_Task(context.Background(), h.svc, &types.PowerOnVM_Task{This: made.(types.ManagedObjectReference)})
	if err != nil {
		return err
	}
	_, err = h.await(res.Returnval)
	return err
}

// spec is what CreateVM_Task gets for a VM of the lab file.
func (vm *labVMSpec) spec() types.VirtualMachineConfigSpec {
	spec := types.VirtualMachineConfigSpec{
		Name: vm.Name, GuestId: vm.GuestID, Annotation: vm.Annotation, NumCPUs: max(1, vm.NumCPU), MemoryMB: vm.MemoryMB,
		Files: &types.VirtualMachineFileInfo{VmPathName: fmt.Sprintf("[%s] %s/%s.vmx", vm.Datastore, vm.Name, vm.Name)},
	}
	if spec.GuestId == "" {
		spec.GuestId = "otherGuest"
	}
	if spec.MemoryMB == 0 {
		spec.MemoryMB = 1024
	}
	for _, key := range sortedKeys(vm.ExtraConfig) {
		spec.ExtraConfig = append(spec.ExtraConfig, &types.OptionValue{Key: key, Value: vm.ExtraConfig[key]})
	}
	const controller = int32(-1)
	scsi := &types.ParaVirtualSCSIController{}
	scsi.Key, scsi.SharedBus = controller, types.VirtualSCSISharingNoSharing
	add := func(device types.BaseVirtualDevice, file types.VirtualDeviceConfigSpecFileOperation) {
		spec.DeviceChange = append(spec.DeviceChange, &types.VirtualDeviceConfigSpec{
			Operation: types.VirtualDeviceConfigSpecOperationAdd, FileOperation: file, Device: device,
		})
	}
	add(scsi, "")
	for i, d := range vm.Disks {
		datastore := d.Datastore
		if datastore == "" {
			datastore = vm.Datastore
		}
		name := vm.Name + ".vmdk"
		if i > 0 {
			name = fmt.Sprintf("%s_%d.vmdk", vm.Name, i)
		}
		backing := &types.VirtualDiskFlatVer2BackingInfo{DiskMode: string(types.VirtualDiskModePersistent), ThinProvisioned: types.NewBool(true)}
		backing.FileName = fmt.Sprintf("[%s] %s", datastore, path.Join(vm.Name, name))
		unit := int32(i)
		if unit >= 7 {
			unit++
		}
		disk := &types.VirtualDisk{CapacityInKB: d.MB * 1024}
		disk.Key, disk.ControllerKey, disk.UnitNumber, disk.Backing = int32(-10-i), controller, &unit, backing
		add(disk, types.VirtualDeviceConfigSpecFileOperationCreate)
	}
	for i, network := range vm.NICs {
		backing := &types.VirtualEthernetCardNetworkBackingInfo{}
		backing.DeviceName = network
		card := &types.VirtualVmxnet3{}
		card.Key, card.Backing = int32(-100-i), backing
		card.Connectable = &types.VirtualDeviceConnectInfo{StartConnected: true, AllowGuestControl: true}
		add(card, "")
	}
	return spec
}

// await waits for a task of this lab, which nothing else will do at start-up, and returns its result.
func (h *hub) await(ref types.ManagedObjectReference) (types.AnyType, error) {
	task, ok := h.reg.Get(ref).(*simulator.Task)
	if !ok {
		return nil, fmt.Errorf("task %s is gone", ref.Value)
	}
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		var info types.TaskInfo
		locked(h.reg, ref, func() { info = task.Info })
		switch info.State {
		case types.TaskInfoStateSuccess:
			return info.Result, nil
		case types.TaskInfoStateError:
			return nil, errors.New(info.Error.LocalizedMessage)
		}
		<-tick.C
	}
}
