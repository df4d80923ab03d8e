// The configuration of a VM: what a request may change, and everything that is derived from it and published with it.
package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

const hardwareVersion = "vmx-21"

// newVM is a VM that has a reference and a configuration but is in no inventory yet. self may be empty.
func (h *hub) newVM(self types.ManagedObjectReference, vmx string) *simulator.VirtualMachine {
	vm := &simulator.VirtualMachine{DataSets: map[string]*simulator.DataSet{}}
	vm.Self = self
	if self.Value == "" {
		h.reg.NewEntity(vm)
	}
	resources := types.DefaultResourceConfigSpec()
	var at object.DatastorePath
	at.FromString(vmx)
	dir := object.DatastorePath{Datastore: at.Datastore, Path: at.Path[:max(0, strings.LastIndex(at.Path, "/"))]}
	now := time.Now()
	vm.Config = &types.VirtualMachineConfigInfo{
		Version: hardwareVersion, Firmware: string(types.GuestOsDescriptorFirmwareTypeBios),
		Uuid: uuid.NewString(), InstanceUuid: uuid.NewString(),
		Tools: &types.ToolsConfigInfo{}, BootOptions: &types.VirtualMachineBootOptions{},
		MemoryAllocation: &resources.MemoryAllocation, CpuAllocation: &resources.CpuAllocation,
		LatencySensitivity: &types.LatencySensitivity{Level: types.LatencySensitivitySensitivityLevelNormal},
		ExtraConfig:        []types.BaseOptionValue{}, CreateDate: &now, Modified: now, ChangeVersion: now.Format(time.RFC3339Nano),
		Files: types.VirtualMachineFileInfo{
			VmPathName: vmx, SnapshotDirectory: dir.String(), SuspendDirectory: dir.String(), LogDirectory: dir.String(),
		},
		Hardware: types.VirtualHardware{NumCPU: 1, NumCoresPerSocket: 1, MemoryMB: 32, Device: standardDevices()},
	}
	vm.Guest = &types.GuestInfo{GuestState: string(types.VirtualMachineGuestStateNotRunning)}
	vm.Layout, vm.LayoutEx = &types.VirtualMachineFileLayout{}, &types.VirtualMachineFileLayoutEx{Timestamp: now}
	vm.Storage = &types.VirtualMachineStorageInfo{Timestamp: now}
	vm.Runtime.PowerState = types.VirtualMachinePowerStatePoweredOff
	vm.Runtime.ConnectionState = types.VirtualMachineConnectionStateConnected
	vm.GuestHeartbeatStatus = types.ManagedEntityStatusGray
	vm.Summary.Vm = &vm.Self
	vm.Summary.Guest = &types.VirtualMachineGuestSummary{}
	vm.Summary.OverallStatus = types.ManagedEntityStatusGreen
	vm.Summary.QuickStats.GuestHeartbeatStatus = types.ManagedEntityStatusGray
	applyTo(vm, guestDown(vm))
	return vm
}

// configured returns a copy of a configuration with the fields of a request applied, devices aside.
func configured(before *types.VirtualMachineConfigInfo, spec *types.VirtualMachineConfigSpec, on bool) (*types.VirtualMachineConfigInfo, types.BaseMethodFault) {
	c := *before
	if fault := resized(&c, spec, on); fault != nil {
		return nil, fault
	}
	if spec.GuestId != "" {
		if !slices.Contains(simulator.GuestID, types.VirtualMachineGuestOsIdentifier(spec.GuestId)) {
			return nil, invalid("configSpec.guestId")
		}
		c.GuestId, c.GuestFullName = spec.GuestId, spec.GuestId
	}
	for _, field := range []struct {
		to    *string
		value string
	}{
		{&c.Name, spec.Name}, {&c.Annotation, spec.Annotation}, {&c.Firmware, spec.Firmware}, {&c.Version, spec.Version},
		{&c.Uuid, strings.ToLower(spec.Uuid)}, {&c.InstanceUuid, strings.ToLower(spec.InstanceUuid)}, {&c.AlternateGuestName, spec.AlternateGuestName},
	} {
		if field.value != "" {
			*field.to = field.value
		}
	}
	for property, id := range map[string]string{"configSpec.uuid": spec.Uuid, "configSpec.instanceUuid": spec.InstanceUuid} {
		if id != "" && plainUUID(id) == "" {
			return nil, invalid(property)
		}
	}
	if spec.ManagedBy != nil {
		c.ManagedBy = nil
		if spec.ManagedBy.ExtensionKey != "" {
			managed := *spec.ManagedBy
			c.ManagedBy = &managed
		}
	}
	if spec.Tools != nil {
		tools := *spec.Tools
		tools.PendingCustomization = before.Tools.PendingCustomization
		c.Tools = &tools
	}
	if spec.BootOptions != nil {
		c.BootOptions = spec.BootOptions
	}
	if spec.Flags != nil {
		c.Flags = *spec.Flags
	}
	if spec.CpuAllocation != nil {
		c.CpuAllocation = spec.CpuAllocation
	}
	if spec.MemoryAllocation != nil {
		c.MemoryAllocation = spec.MemoryAllocation
	}
	options, fault := withOptions(before.ExtraConfig, spec.ExtraConfig)
	c.ExtraConfig = options
	return &c, fault
}

// resized applies CPUs and memory, which a VM must be off for.
func resized(c *types.VirtualMachineConfigInfo, spec *types.VirtualMachineConfigSpec, on bool) types.BaseMethodFault {
	if spec.NumCPUs < 0 || spec.MemoryMB < 0 || spec.NumCoresPerSocket < 0 {
		return invalid("configSpec.hardware")
	}
	wanted := c.Hardware
	if spec.NumCPUs != 0 {
		wanted.NumCPU = spec.NumCPUs
	}
	if spec.MemoryMB != 0 {
		wanted.MemoryMB = int32(spec.MemoryMB)
	}
	if spec.NumCoresPerSocket != 0 {
		wanted.NumCoresPerSocket = spec.NumCoresPerSocket
	}
	if on && (wanted.NumCPU != c.Hardware.NumCPU || wanted.MemoryMB != c.Hardware.MemoryMB) {
		return &types.InvalidPowerState{
			RequestedState: types.VirtualMachinePowerStatePoweredOff, ExistingState: types.VirtualMachinePowerStatePoweredOn,
		}
	}
	c.Hardware = wanted
	return nil
}

// withOptions merges extraConfig: an empty value removes a key. Keys that would make the stock simulator act are refused.
func withOptions(before, changes []types.BaseOptionValue) ([]types.BaseOptionValue, types.BaseMethodFault) {
	after := slices.Clone(before)
	for _, change := range changes {
		o := change.GetOptionValue()
		if o.Key == "" || strings.HasPrefix(o.Key, "SET.") || strings.HasPrefix(o.Key, "RUN.") || structural(o.Key) {
			return nil, invalid("configSpec.extraConfig[\"" + o.Key + "\"]")
		}
		after = slices.DeleteFunc(after, func(b types.BaseOptionValue) bool { return strings.EqualFold(b.GetOptionValue().Key, o.Key) })
		if o.Value != nil && fmt.Sprint(o.Value) != "" {
			after = append(after, &types.OptionValue{Key: o.Key, Value: fmt.Sprint(o.Value)})
		}
	}
	return after, nil
}

// derived lists every property that follows from a configuration, for one published update.
func (h *hub) derived(vm *simulator.VirtualMachine, c *types.VirtualMachineConfigInfo) []types.PropertyChange {
	devices := object.VirtualDeviceList(c.Hardware.Device)
	disks := devices.SelectByType((*types.VirtualDisk)(nil))
	cards := devices.SelectByType((*types.VirtualEthernetCard)(nil))
	networks := []types.ManagedObjectReference{}
	for _, card := range cards {
		ref := h.networkOf(card.(types.BaseVirtualEthernetCard).GetVirtualEthernetCard())
		if ref != nil && !slices.Contains(networks, *ref) {
			networks = append(networks, *ref)
		}
	}
	summary := types.VirtualMachineConfigSummary{
		Name: c.Name, Template: c.Template, VmPathName: c.Files.VmPathName, MemorySizeMB: c.Hardware.MemoryMB, NumCpu: c.Hardware.NumCPU,
		NumEthernetCards: int32(len(cards)), NumVirtualDisks: int32(len(disks)), Uuid: c.Uuid, InstanceUuid: c.InstanceUuid,
		GuestId: c.GuestId, GuestFullName: c.GuestFullName, Annotation: c.Annotation, ManagedBy: c.ManagedBy, HwVersion: c.Version,
	}
	now := time.Now()
	c.Modified, c.ChangeVersion = now, now.Format(time.RFC3339Nano)
	files, usage, total := h.layout(c, disks)
	return []types.PropertyChange{
		set("config", c), set("name", c.Name), set("summary.config", summary), set("network", networks), set("datastore", h.datastoresOf(c)),
		set("layoutEx", &types.VirtualMachineFileLayoutEx{File: files, Timestamp: now}),
		set("storage", &types.VirtualMachineStorageInfo{PerDatastoreUsage: usage, Timestamp: now}),
		set("summary.storage", &total),
	}
}

// datastoresOf lists the datastores of a VM's files, as far as they are mounted here.
func (h *hub) datastoresOf(c *types.VirtualMachineConfigInfo) []types.ManagedObjectReference {
	refs := []types.ManagedObjectReference{}
	add := func(file string) {
		var p object.DatastorePath
		if !p.FromString(file) {
			return
		}
		if ds := h.datastoreNamed(p.Datastore); ds != nil && !slices.Contains(refs, ds.Self) {
			refs = append(refs, ds.Self)
		}
	}
	add(c.Files.VmPathName)
	for _, device := range c.Hardware.Device {
		if disk, ok := device.(*types.VirtualDisk); ok {
			add(diskName(disk))
		}
	}
	return refs
}

// layout lists the files of a VM and what they take.
func (h *hub) layout(c *types.VirtualMachineConfigInfo, disks object.VirtualDeviceList) (
	files []types.VirtualMachineFileLayoutExFileInfo, usage []types.VirtualMachineUsageOnDatastore, total types.VirtualMachineStorageSummary,
) {
	total.Timestamp = time.Now()
	add := func(name string, kind types.VirtualMachineFileLayoutExFileType, capacity int64) {
		at, fault := h.locate(name)
		if fault != nil {
			return
		}
		size := int64(0)
		if info, err := os.Stat(at.path); err == nil {
			size = info.Size()
		}
		files = append(files, types.VirtualMachineFileLayoutExFileInfo{
			Key: int32(len(files)), Name: name, Type: string(kind), Size: size, UniqueSize: size, Accessible: types.NewBool(at.access != accessNone),
		})
		i := slices.IndexFunc(usage, func(u types.VirtualMachineUsageOnDatastore) bool { return u.Datastore == at.datastore.Self })
		if i < 0 {
			usage = append(usage, types.VirtualMachineUsageOnDatastore{Datastore: at.datastore.Self})
			i = len(usage) - 1
		}
		usage[i].Committed += size
		usage[i].Uncommitted += max(0, capacity-size)
		total.Committed += size
		total.Uncommitted += max(0, capacity-size)
	}
	add(c.Files.VmPathName, types.VirtualMachineFileLayoutExFileTypeConfig, 0)
	add(strings.TrimSuffix(c.Files.VmPathName, ".vmx")+".nvram", types.VirtualMachineFileLayoutExFileTypeNvram, 0)
	for _, device := range disks {
		disk := device.(*types.VirtualDisk)
		add(diskName(disk), types.VirtualMachineFileLayoutExFileTypeDiskDescriptor, 0)
		add(strings.TrimSuffix(diskName(disk), ".vmdk")+"-flat.vmdk", types.VirtualMachineFileLayoutExFileTypeDiskExtent, disk.CapacityInBytes)
	}
	return files, usage, total
}
