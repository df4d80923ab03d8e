package main

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/vmware/govmomi"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/view"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// watch is one property collector as a client uses it.
type watch struct {
	t       *testing.T
	c       *govmomi.Client
	ref     types.ManagedObjectReference
	version string
	trips   int
}

func newWatch(t *testing.T, c *govmomi.Client) *watch {
	t.Helper()
	req := types.CreatePropertyCollector{This: c.ServiceContent.PropertyCollector}
	res, err := methods.CreatePropertyCollector(context.Background(), c.Client, &req)
	if err != nil {
		t.Fatal(err)
	}
	return &watch{t: t, c: c, ref: res.Returnval}
}

func (w *watch) filter(spec types.PropertyFilterSpec) types.ManagedObjectReference {
	w.t.Helper()
	ref, err := w.tryFilter(spec)
	if err != nil {
		w.t.Fatal(err)
	}
	return ref
}

func (w *watch) tryFilter(spec types.PropertyFilterSpec) (types.ManagedObjectReference, error) {
	res, err := methods.CreateFilter(context.Background(), w.c.Client, &types.CreateFilter{This: w.ref, Spec: spec})
	if err != nil {
		return types.ManagedObjectReference{}, err
	}
	return res.Returnval, nil
}

// wait makes one WaitForUpdatesEx call from a version.
func (w *watch) wait(version string, seconds int32, max int32) (*types.UpdateSet, error) {
	req := types.WaitForUpdatesEx{This: w.ref, Version: version, Options: &types.WaitOptions{MaxObjectUpdates: max}}
	if seconds >= 0 {
		req.Options.MaxWaitSeconds = types.NewInt32(seconds)
	}
	res, err := methods.WaitForUpdatesEx(context.Background(), w.c.Client, &req)
	if err != nil {
		return nil, err
	}
	return res.Returnval, nil
}

// next returns the next changes as lines "kind name path=value ...", all pages of them; none when nothing comes in time.
func (w *watch) next(seconds int32) []string {
	w.t.Helper()
	var lines []string
	for {
		set, err := w.wait(w.version, seconds, 0)
		if err != nil {
			w.t.Fatal(err)
		}
		w.trips++
		if set == nil {
			return lines
		}
		w.version = set.Version
		lines = append(lines, render(set)...)
		if set.Truncated == nil || !*set.Truncated {
			return lines
		}
	}
}

func render(set *types.UpdateSet) []string {
	var lines []string
	for _, f := range set.FilterSet {
		for _, o := range f.ObjectSet {
			line := fmt.Sprintf("%s %s", o.Kind, o.Obj.Value)
			for _, p := range o.ChangeSet {
				line += fmt.Sprintf(" %s=%v", p.Name, p.Val)
			}
			lines = append(lines, line)
		}
		for _, m := range f.MissingSet {
			lines = append(lines, "missing "+m.Obj.Value)
		}
	}
	slices.Sort(lines)
	return lines
}

// until collects lines until one has the prefix.
func (w *watch) until(prefix string) []string {
	w.t.Helper()
	var all []string
	for range 50 {
		lines := w.next(2)
		all = append(all, lines...)
		if slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, prefix) }) {
			return all
		}
	}
	w.t.Fatalf("no line %q in %v", prefix, all)
	return nil
}

func expect(t *testing.T, want, got []string) {
	t.Helper()
	if !reflect.DeepEqual(want, got) {
		t.Fatalf("expected %q\ngot      %q", want, got)
	}
}

func viewSpec(view types.ManagedObjectReference, kind string, paths ...string) types.PropertyFilterSpec {
	return types.PropertyFilterSpec{
		PropSet: []types.PropertySpec{{Type: kind, PathSet: paths}},
		ObjectSet: []types.ObjectSpec{{
			Obj: view, Skip: types.NewBool(true),
			SelectSet: []types.BaseSelectionSpec{&types.TraversalSpec{Type: view.Type, Path: "view"}},
		}},
	}
}

func objectSpec(kind string, paths []string, refs ...types.ManagedObjectReference) types.PropertyFilterSpec {
	spec := types.PropertyFilterSpec{PropSet: []types.PropertySpec{{Type: kind, PathSet: paths}}}
	for _, ref := range refs {
		spec.ObjectSet = append(spec.ObjectSet, types.ObjectSpec{Obj: ref})
	}
	return spec
}

func containerView(t *testing.T, c *govmomi.Client, root types.ManagedObjectReference, kinds ...string) types.ManagedObjectReference {
	t.Helper()
	v, err := view.NewManager(c.Client).CreateContainerView(context.Background(), root, kinds, true)
	if err != nil {
		t.Fatal(err)
	}
	return v.Reference()
}

// addVM puts a VM into the inventory below the folder and pool of another, without files.
func (s *stockSite) addVM(name string, like *simulator.VirtualMachine) *simulator.VirtualMachine {
	vm := &simulator.VirtualMachine{}
	vm.Name = name
	vm.ResourcePool = like.ResourcePool
	vm.Runtime.Host = like.Runtime.Host
	vm.Runtime.PowerState = types.VirtualMachinePowerStatePoweredOff
	folder := s.reg.Get(*like.Parent).(*simulator.Folder)
	s.reg.NewEntity(vm)
	s.reg.PutEntity(folder, vm)
	return vm
}

func (s *stockSite) set(vm *simulator.VirtualMachine, path string, value any) {
	s.reg.AtomicUpdate(&simulator.Context{Map: s.reg, Context: context.Background()}, vm, []types.PropertyChange{{Name: path, Val: value}})
}

// touch tells the collector that an object changed, without changing it.
func (s *stockSite) touch(ref types.ManagedObjectReference) {
	s.reg.AtomicUpdate(&simulator.Context{Map: s.reg, Context: context.Background()}, s.reg.Get(ref), nil)
}

// fault checks that an error is a SOAP fault of the type of want.
func fault(t *testing.T, err error, want any) {
	t.Helper()
	if !soap.IsSoapFault(err) {
		t.Fatalf("expected a %T fault, got %v", want, err)
	}
	if got := soap.ToSoapFault(err).VimFault(); reflect.TypeOf(got) != reflect.TypeOf(want) {
		t.Fatalf("expected a %T fault, got %#v", want, got)
	}
}
