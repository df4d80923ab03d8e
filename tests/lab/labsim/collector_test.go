package main

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/view"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/types"
)

func TestViewReportsEnterModifyAndLeave(t *testing.T) {
	s := startSite(t)
	c := s.login()
	w := newWatch(t, c)
	vm0, vm1 := s.vm(0), s.vm(1)
	w.filter(viewSpec(containerView(t, c, c.ServiceContent.RootFolder, "VirtualMachine"), "VirtualMachine", "name", "runtime.powerState"))
	first := []string{
		"enter " + vm0.Self.Value + " name=DC0_C0_RP0_VM0 runtime.powerState=poweredOff",
		"enter " + vm1.Self.Value + " name=DC0_C0_RP0_VM1 runtime.powerState=poweredOff",
	}
	slices.Sort(first)
	expect(t, first, w.next(5))
	expect(t, nil, w.next(0))

	s.set(vm0, "guest.ipAddress", "10.0.0.1") // not watched
	expect(t, nil, w.next(0))
	if err := powerOn(c, vm0.Self); err != nil {
		t.Fatal(err)
	}
	expect(t, []string{"modify " + vm0.Self.Value + " runtime.powerState=poweredOn"}, w.next(5))

	added := s.addVM("new", vm0)
	expect(t, []string{"enter " + added.Self.Value + " name=new runtime.powerState=poweredOff"}, w.next(5))

	req := types.UnregisterVM{This: vm1.Self}
	if _, err := methods.UnregisterVM(context.Background(), c.Client, &req); err != nil {
		t.Fatal(err)
	}
	expect(t, []string{"leave " + vm1.Self.Value}, w.next(5))
	expect(t, nil, w.next(0))
}

func TestPropertyThatBecomesUnsetIsRemoved(t *testing.T) {
	s := startSite(t)
	w := newWatch(t, s.login())
	vm := s.vm(0)
	w.filter(objectSpec("VirtualMachine", []string{"guest.ipAddress"}, vm.Self))
	expect(t, []string{"enter " + vm.Self.Value}, w.next(5))
	s.set(vm, "guest.ipAddress", "10.0.0.1")
	expect(t, []string{"modify " + vm.Self.Value + " guest.ipAddress=10.0.0.1"}, w.next(5))
	s.set(vm, "guest.ipAddress", "")
	expect(t, []string{"modify " + vm.Self.Value + " guest.ipAddress=<nil>"}, w.next(5))
	s.set(vm, "guest.ipAddress", "")
	expect(t, nil, w.next(0))
}

func TestTasksThroughAGrowingListView(t *testing.T) {
	s := startSite(t)
	c := s.login()
	w := newWatch(t, c)
	list, err := view.NewManager(c.Client).CreateListView(context.Background(), nil)
	if err != nil {
		t.Fatal(err)
	}
	w.filter(viewSpec(list.Reference(), "Task", "info.state"))
	expect(t, nil, w.next(0))
	for _, vm := range []*simulator.VirtualMachine{s.vm(0), s.vm(1)} {
		task, err := object.NewVirtualMachine(c.Client, vm.Self).PowerOn(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := list.Add(context.Background(), []types.ManagedObjectReference{task.Reference()}); err != nil {
			t.Fatal(err)
		}
		var lines []string
		for !slices.ContainsFunc(lines, func(l string) bool { return strings.HasSuffix(l, "info.state=success") }) {
			lines = w.next(5)
			for _, line := range lines { // the other task is not sent again
				if !strings.Contains(line, task.Reference().Value+" ") {
					t.Errorf("unexpected %s", line)
				}
			}
		}
	}
}

func TestInventoryTraversalFollowsNewFoldersAndMoves(t *testing.T) {
	s := startSite(t)
	c := s.login()
	w := newWatch(t, c)
	vm := s.vm(0)
	folder := object.NewFolder(c.Client, *vm.Parent)
	recurse := &types.SelectionSpec{Name: "down"}
	w.filter(types.PropertyFilterSpec{
		PropSet: []types.PropertySpec{{Type: "Folder", PathSet: []string{"name"}}, {Type: "VirtualMachine", PathSet: []string{"name"}}},
		ObjectSet: []types.ObjectSpec{{Obj: folder.Reference(), SelectSet: []types.BaseSelectionSpec{
			&types.TraversalSpec{SelectionSpec: types.SelectionSpec{Name: "down"}, Type: "Folder", Path: "childEntity", SelectSet: []types.BaseSelectionSpec{recurse}},
		}}},
	})
	if got := w.next(5); len(got) != 3 {
		t.Fatalf("expected the folder and two VMs, got %v", got)
	}
	child, err := folder.CreateFolder(context.Background(), "erp")
	if err != nil {
		t.Fatal(err)
	}
	s.touch(folder.Reference()) // the simulator does not publish childEntity; the lab does
	expect(t, []string{"enter " + child.Reference().Value + " name=erp"}, w.next(5))

	task, err := child.MoveInto(context.Background(), []types.ManagedObjectReference{vm.Self})
	if err != nil {
		t.Fatal(err)
	}
	if err := task.Wait(context.Background()); err != nil {
		t.Fatal(err)
	}
	s.touch(folder.Reference())
	expect(t, nil, w.next(0)) // still selected, now by way of the new folder
	s.set(vm, "name", "moved")
	expect(t, []string{"modify " + vm.Self.Value + " name=moved"}, w.next(5))
}

func TestFolderViewSeesVMsMoveInAndOut(t *testing.T) {
	s := startSite(t)
	c := s.login()
	w := newWatch(t, c)
	vm := s.vm(0)
	child, err := object.NewFolder(c.Client, *vm.Parent).CreateFolder(context.Background(), "erp")
	if err != nil {
		t.Fatal(err)
	}
	w.filter(viewSpec(containerView(t, c, child.Reference(), "VirtualMachine"), "VirtualMachine", "name"))
	expect(t, nil, w.next(0))
	parent := *vm.Parent
	s.set(vm, "parent", child.Reference())
	expect(t, []string{"enter " + vm.Self.Value + " name=DC0_C0_RP0_VM0"}, w.next(5))
	s.set(vm, "parent", parent)
	expect(t, []string{"leave " + vm.Self.Value}, w.next(5))
}

func TestPoolViewHoldsItsVMs(t *testing.T) {
	s := startSite(t)
	c := s.login()
	w := newWatch(t, c)
	w.filter(viewSpec(containerView(t, c, *s.vm(0).ResourcePool, "VirtualMachine"), "VirtualMachine", "name"))
	if got := w.next(5); len(got) != 2 {
		t.Errorf("expected two VMs, got %v", got)
	}
}

func TestUnknownObjects(t *testing.T) {
	s := startSite(t)
	w := newWatch(t, s.login())
	spec := objectSpec("Task", []string{"info.state"}, types.ManagedObjectReference{Type: "Task", Value: "task-none"})
	_, err := w.tryFilter(spec)
	fault(t, err, types.ManagedObjectNotFound{})
	spec.ReportMissingObjectsInResults = types.NewBool(true)
	w.filter(spec)
	expect(t, []string{"missing task-none"}, w.next(5))
	expect(t, nil, w.next(0))
	bad := viewSpec(s.vm(0).Self, "VirtualMachine", "name")
	bad.ObjectSet[0].SelectSet = []types.BaseSelectionSpec{&types.SelectionSpec{Name: "nowhere"}}
	_, err = w.tryFilter(bad)
	fault(t, err, types.InvalidArgument{})
}

func TestUnknownPropertyIsMissing(t *testing.T) {
	s := startSite(t)
	w := newWatch(t, s.login())
	w.filter(objectSpec("VirtualMachine", []string{"name", "nonsense.path"}, s.vm(0).Self))
	set, err := w.wait("", 5, 0)
	if err != nil {
		t.Fatal(err)
	}
	missing := set.FilterSet[0].ObjectSet[0].MissingSet
	if len(missing) != 1 || missing[0].Path != "nonsense.path" {
		t.Errorf("missingSet %v", missing)
	}
}
