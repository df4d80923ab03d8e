package main

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/types"
)

func TestFilterAddedDuringAWaitIsSeenByIt(t *testing.T) {
	s := startSite(t)
	w := newWatch(t, s.login())
	w.filter(objectSpec("VirtualMachine", []string{"name"}, s.vm(0).Self))
	w.next(5)
	lines := make(chan []string)
	go func() { lines <- w.next(10) }()
	select {
	case l := <-lines:
		t.Fatalf("unexpected %v", l)
	case <-time.After(100 * time.Millisecond):
	}
	ref := w.filter(objectSpec("VirtualMachine", []string{"name"}, s.vm(1).Self))
	expect(t, []string{"enter " + s.vm(1).Self.Value + " name=DC0_C0_RP0_VM1"}, <-lines)

	req := types.DestroyPropertyFilter{This: ref}
	if _, err := methods.DestroyPropertyFilter(context.Background(), w.c.Client, &req); err != nil {
		t.Fatal(err)
	}
	s.set(s.vm(1), "name", "renamed")
	expect(t, nil, w.next(0))
}

func TestVersions(t *testing.T) {
	s := startSite(t)
	w := newWatch(t, s.login())
	vm := s.vm(0)
	w.filter(objectSpec("VirtualMachine", []string{"name"}, vm.Self))
	first := w.next(5)
	before := w.version
	s.set(vm, "name", "renamed")
	want := w.next(5)

	again, err := w.wait(before, 5, 0) // as if the reply had been lost
	if err != nil {
		t.Fatal(err)
	}
	expect(t, want, render(again))
	for _, version := range []string{"-", "999", "77.1", w.version + "0"} {
		_, err := w.wait(version, 0, 0)
		fault(t, err, types.InvalidCollectorVersion{})
	}
	w.version = ""
	if got := w.next(5); len(got) != len(first) || !strings.HasSuffix(got[0], "name=renamed") {
		t.Errorf("start all over: %v", got)
	}
}

func TestWaitEndsWithItsTimeOrWhenCancelled(t *testing.T) {
	s := startSite(t)
	w := newWatch(t, s.login())
	w.filter(objectSpec("VirtualMachine", []string{"name"}, s.vm(0).Self))
	w.next(5)
	start := time.Now()
	expect(t, nil, w.next(1))
	if took := time.Since(start); took < 900*time.Millisecond || took > 3*time.Second {
		t.Errorf("a wait of one second took %v", took)
	}
	done := make(chan error)
	go func() { _, err := w.wait(w.version, -1, 0); done <- err }()
	cancel := types.CancelWaitForUpdates{This: w.ref}
	eventually(t, func() bool {
		if _, err := methods.CancelWaitForUpdates(context.Background(), w.c.Client, &cancel); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-done:
			fault(t, err, types.RequestCanceled{})
			return true
		default:
			return false
		}
	})
}

func TestSessionThatEndsEndsItsWaitAndItsCollector(t *testing.T) {
	s := startSite(t)
	w := newWatch(t, s.login())
	w.filter(objectSpec("VirtualMachine", []string{"name"}, s.vm(0).Self))
	w.next(5)
	done := make(chan error)
	go func() { _, err := w.wait(w.version, 60, 0); done <- err }()
	select {
	case err := <-done:
		t.Fatal(err)
	case <-time.After(50 * time.Millisecond):
	}
	s.front.sessions.expire("")
	fault(t, <-done, types.NotAuthenticated{})

	other := &watch{t: t, c: s.login(), ref: w.ref, version: w.version}
	_, err := other.wait(w.version, 0, 0)
	if err == nil {
		t.Error("the collector of an ended session still answers")
	}
}

func TestDestroyedCollectorIsGone(t *testing.T) {
	s := startSite(t)
	w := newWatch(t, s.login())
	w.filter(objectSpec("VirtualMachine", []string{"name"}, s.vm(0).Self))
	w.next(5)
	done := make(chan error)
	go func() { _, err := w.wait(w.version, 60, 0); done <- err }()
	select {
	case err := <-done:
		t.Fatal(err)
	case <-time.After(50 * time.Millisecond):
	}
	req := types.DestroyPropertyCollector{This: w.ref}
	if _, err := methods.DestroyPropertyCollector(context.Background(), w.c.Client, &req); err != nil {
		t.Fatal(err)
	}
	fault(t, <-done, types.RequestCanceled{})
	_, err := w.wait("", 0, 0)
	fault(t, err, types.ManagedObjectNotFound{})
}
