package main

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/types"
)

func TestManyObjectsComeInPagesAndNothingTwice(t *testing.T) {
	s := startSite(t)
	c := s.login()
	vm := s.vm(0)
	for i := range 250 {
		s.addVM(fmt.Sprintf("extra-%d", i), vm)
	}
	w := newWatch(t, c)
	w.filter(viewSpec(containerView(t, c, c.ServiceContent.RootFolder, "VirtualMachine"), "VirtualMachine", "name"))
	var sizes []int
	seen := map[string]int{}
	for {
		set, err := w.wait(w.version, 5, 0)
		if err != nil {
			t.Fatal(err)
		}
		w.version = set.Version
		lines := render(set)
		sizes = append(sizes, len(lines))
		for _, l := range lines {
			seen[l]++
		}
		if set.Truncated == nil || !*set.Truncated {
			break
		}
	}
	if want := []int{100, 100, 52}; !slices.Equal(want, sizes) || len(seen) != 252 {
		t.Errorf("pages of %v objects, %d different ones", sizes, len(seen))
	}
	if set, err := w.wait("", 0, 7); err != nil || len(render(set)) != 7 {
		t.Errorf("maxObjectUpdates is not honoured: %v", err)
	}
}

// TestCostFollowsWhatChanged watches 2,000 VMs by 10 paths and changes 200 of them.
func TestCostFollowsWhatChanged(t *testing.T) {
	s := startSite(t)
	c := s.login()
	like := s.vm(0)
	vms := make([]*simulator.VirtualMachine, 2000)
	for i := range vms {
		vms[i] = s.addVM(fmt.Sprintf("vm-%d", i), like)
	}
	w := newWatch(t, c)
	w.filter(viewSpec(containerView(t, c, c.ServiceContent.RootFolder, "VirtualMachine"), "VirtualMachine",
		"name", "config.uuid", "config.instanceUuid", "runtime.powerState", "runtime.connectionState", "runtime.host",
		"guest.toolsRunningStatus", "guest.ipAddress", "guestHeartbeatStatus", "summary.config.vmPathName"))
	start := time.Now()
	if got := len(w.next(5)); got != 2002 {
		t.Fatalf("first read: %d VMs", got)
	}
	first := time.Since(start)
	start = time.Now()
	for _, vm := range vms[:200] {
		s.set(vm, "runtime.powerState", types.VirtualMachinePowerStatePoweredOn)
	}
	trips := w.trips
	for seen := 0; seen < 200; {
		seen += len(w.next(5))
	}
	took := time.Since(start)
	t.Logf("first read of 2,002 VMs %v; 200 changes %v in %d round trips", first, took, w.trips-trips)
	if took > 2*time.Second {
		t.Errorf("200 changes took %v", took)
	}
}

func BenchmarkOneChangeAmong(b *testing.B) {
	for _, n := range []int{200, 2000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) { benchmarkOneChange(b, n) })
	}
}

func benchmarkOneChange(b *testing.B, n int) {
	model := simulator.VPX()
	model.Machine, model.Autostart = 1, false
	defer model.Remove()
	if err := model.Create(); err != nil {
		b.Fatal(err)
	}
	reg := model.Map()
	c := newCollector(reg, func(string) bool { return true }, func(any) {})
	reg.AddHandler(listener{c})
	session := &simulator.Session{UserSession: types.UserSession{Key: "bench"}, Registry: simulator.NewRegistry(), Map: reg}
	ctx := &simulator.Context{Map: reg, Context: context.Background(), Session: session}
	s := &stockSite{reg: reg}
	like := reg.Any("VirtualMachine").(*simulator.VirtualMachine)
	vm := like
	for i := range n {
		vm = s.addVM(fmt.Sprintf("vm-%d", i), like)
	}
	made := reg.ViewManager().CreateContainerView(ctx, &types.CreateContainerView{
		Container: simulator.Map(ctx).Get(*reg.Any("Datacenter").Entity().Parent).Reference(), Type: []string{"VirtualMachine"}, Recursive: true,
	})
	ref := made.(*methods.CreateContainerViewBody).Res.Returnval
	f, _ := newFilter(c, ctx, viewSpec(ref, "VirtualMachine", "name", "runtime.powerState"))
	feed := c.feed(ctx, types.ManagedObjectReference{Type: "PropertyCollector", Value: "pc"}, true)
	feed.add(f)
	for feed.next(reader(ctx), 1_000_000) != nil {
	}
	on := types.VirtualMachinePowerStatePoweredOff
	for b.Loop() {
		if on = types.VirtualMachinePowerStatePoweredOn; vm.Runtime.PowerState == on {
			on = types.VirtualMachinePowerStatePoweredOff
		}
		s.set(vm, "runtime.powerState", on)
		if set := feed.next(reader(ctx), 100); set == nil {
			b.Fatal("the change was not seen")
		}
	}
}
