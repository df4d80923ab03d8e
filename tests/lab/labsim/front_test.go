package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

func TestRuleFaultReachesTheClientWithItsMessageOnlyForTheNamedVM(t *testing.T) {
	s := startSite(t)
	c := s.login()
	s.rules(`[{"match":{"method":"PowerOnVM_Task","name":"*_VM0"},"effect":{"fault":{"type":"FileLocked","message":"held <elsewhere>","fields":{"file":"[ds] a.vmdk"}}}}]`)

	err := powerOn(c, s.vm(0).Self)
	if !soap.IsSoapFault(err) {
		t.Fatalf("expected a SOAP fault, got %v", err)
	}
	fault, ok := soap.ToSoapFault(err).VimFault().(types.FileLocked)
	if !ok || fault.File != "[ds] a.vmdk" || soap.ToSoapFault(err).String != "held <elsewhere>" {
		t.Fatalf("wrong fault: %#v", soap.ToSoapFault(err))
	}
	if err := powerOn(c, s.vm(1).Self); err != nil {
		t.Fatal(err)
	}
	got := s.counts()
	for key, want := range map[string]int{"PowerOnVM_Task DC0_C0_RP0_VM0": 0, "PowerOnVM_Task DC0_C0_RP0_VM1": 1} {
		if got.Mutations[key] != 1 || got.Effects[key] != want {
			t.Errorf("%s: %d mutations, %d effects", key, got.Mutations[key], got.Effects[key])
		}
	}
	if got.Faults["PowerOnVM_Task"] != 1 || got.Calls["PowerOnVM_Task"] != 2 {
		t.Errorf("faults %v calls %v", got.Faults, got.Calls)
	}
}

func TestRuleNthAndMaxCountMatchingCalls(t *testing.T) {
	rules := newRules()
	nth := Rule{Match: ruleMatch{Method: "Power*", Nth: 2}, Effect: ruleEffect{Fault: &faultSpec{Type: "Timedout"}}}
	limited := Rule{Match: ruleMatch{User: "u"}, Max: 1, Effect: ruleEffect{DelayMs: 5}}
	if err := rules.set([]Rule{nth, limited}); err != nil {
		t.Fatal(err)
	}
	type answer struct {
		delay time.Duration
		fault bool
	}
	var got []answer
	for range 3 {
		delay, fault, _ := rules.forCall(Call{Method: "PowerOnVM_Task", User: "u"})
		got = append(got, answer{delay, fault != nil})
	}
	want := []answer{{5 * time.Millisecond, false}, {0, true}, {0, false}}
	if fmt.Sprint(want) != fmt.Sprint(got) {
		t.Errorf("expected %v, got %v", want, got)
	}
}

func TestRulesThatMakeNoSenseAreRefused(t *testing.T) {
	s := startSite(t)
	for _, body := range []string{
		`[{"effect":{"fault":{"type":"NoSuchFault"}}}]`,
		`[{"effect":{"fault":{"type":"VirtualMachineConfigInfo"}}}]`,
		`[{"effect":{"fault":{"type":"SystemErrorFault"}}}]`,
		`[{"effect":{"fault":{"type":"FileLocked","fields":{"fil":"x"}}}}]`,
		`[{"effect":{"when":"later"}}]`,
		`[{"effect":{"when":"task","drop":"after"}}]`,
		`[{"match":{"methood":"x"}}]`,
		`{`,
	} {
		if status, _ := s.put("PUT", "/rules", body); status != http.StatusBadRequest {
			t.Errorf("%s: status %d", body, status)
		}
	}
}

func TestFaultsCanHaveACause(t *testing.T) {
	spec := faultSpec{Type: "Timedout", Fields: json.RawMessage(`{"faultCause":{"fault":{"_typeName":"InsufficientMemoryResourcesFault","requested":2}}}`)}
	made, err := spec.build(types.ManagedObjectReference{})
	if err != nil {
		t.Fatal(err)
	}
	cause, ok := made.Fault.GetMethodFault().FaultCause.Fault.(*types.InsufficientMemoryResourcesFault)
	if !ok || cause.Requested != 2 {
		t.Errorf("cause %#v", made.Fault.GetMethodFault().FaultCause)
	}
}

func TestGlobKnowsBracketsAndSlashes(t *testing.T) {
	for _, c := range []struct {
		pattern, text string
		want          bool
	}{
		{"[ds-1] erp/*.vmx", "[ds-1] erp/a/b.vmx", true},
		{"*", "", true},
		{"a?c", "abc", true},
		{"a?c", "ac", false},
		{"*VM*_Task", "PowerOnVM_Task", true},
		{"Power", "PowerOn", false},
	} {
		if got := glob(c.pattern, c.text); got != c.want {
			t.Errorf("glob(%q, %q) = %v", c.pattern, c.text, got)
		}
	}
}

func TestLostReplyRunsTheCallExactlyOnce(t *testing.T) {
	s := startSite(t)
	c := s.login()
	s.outage(`{"mode":"lostReply","match":"PowerOnVM*","count":1}`)
	vm := s.vm(0)

	if err := powerOn(c, vm.Self); err == nil || soap.IsSoapFault(err) {
		t.Fatalf("expected a broken connection, got %v", err)
	}
	eventually(t, func() bool { return s.counts().Effects["PowerOnVM_Task DC0_C0_RP0_VM0"] == 1 })
	if got := s.counts().Calls["PowerOnVM_Task"]; got != 1 {
		t.Errorf("expected 1 call, got %d", got)
	}
	if err := powerOn(c, s.vm(1).Self); err != nil {
		t.Errorf("after the lost reply: %v", err)
	}
}

func TestDropBeforeDoesNotRunTheCall(t *testing.T) {
	s := startSite(t)
	c := s.login()
	s.rules(`[{"match":{"method":"PowerOnVM_Task"},"max":1,"effect":{"drop":"before"}}]`)
	if err := powerOn(c, s.vm(0).Self); err == nil || soap.IsSoapFault(err) {
		t.Fatalf("expected a broken connection, got %v", err)
	}
	if got := s.counts().Mutations; len(got) != 0 {
		t.Errorf("expected no mutation, got %v", got)
	}
	if err := powerOn(c, s.vm(0).Self); err != nil {
		t.Error(err)
	}
}

func TestOutagesLookLikeOutagesAndEnd(t *testing.T) {
	s := startSite(t)
	c := s.login()
	now := func(limit time.Duration) error {
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()
		_, err := methods.GetCurrentTime(ctx, c.Client)
		return err
	}
	for _, mode := range []struct {
		name  string
		match func(error) bool
	}{
		{"refuse", func(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }},
		{"drop", func(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) }},
		{"hang", func(err error) bool { return errors.Is(err, context.DeadlineExceeded) }},
		{"503", func(err error) bool { return strings.Contains(err.Error(), "503") }},
	} {
		s.outage(`{"mode":"` + mode.name + `"}`)
		err := now(300 * time.Millisecond)
		if mode.name == "refuse" || mode.name == "drop" { // the first error may be the connection that was cut
			err = now(300 * time.Millisecond)
		}
		if err == nil || !mode.match(err) {
			t.Errorf("%s: unexpected %v", mode.name, err)
		}
		s.outage(`{"mode":"none"}`)
		if err := now(5 * time.Second); err != nil {
			t.Errorf("after %s: %v", mode.name, err)
		}
	}
}

func TestHangServesTheWaitingCallWhenItEnds(t *testing.T) {
	s := startSite(t)
	c := s.login()
	s.outage(`{"mode":"hang","match":"CurrentTime"}`)
	answered := make(chan error, 1)
	go func() {
		_, err := methods.GetCurrentTime(context.Background(), c.Client)
		answered <- err
	}()
	select {
	case err := <-answered:
		t.Fatalf("answered while hanging: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	s.outage(`{"mode":"none"}`)
	if err := <-answered; err != nil {
		t.Error(err)
	}
}

func TestExpiredSessionsGetNotAuthenticated(t *testing.T) {
	s := startSite(t)
	c := s.login()
	if status, body := s.put("PUT", "/sessions/expire", `{"user":"somebody"}`); status != 200 || !strings.Contains(body, `"expired":0`) {
		t.Errorf("expire of nobody: %d %s", status, body)
	}
	if _, body := s.put("PUT", "/sessions/expire", ""); !strings.Contains(body, `"expired":1`) {
		t.Errorf("expire: %s", body)
	}
	_, err := methods.GetCurrentTime(context.Background(), c.Client)
	if !soap.IsSoapFault(err) {
		t.Fatalf("expected a fault, got %v", err)
	}
	if _, ok := soap.ToSoapFault(err).VimFault().(types.NotAuthenticated); !ok {
		t.Errorf("expected NotAuthenticated, got %v", err)
	}
}

func TestPeakCountsCallsInFlight(t *testing.T) {
	s := startSite(t)
	c := s.login()
	s.rules(`[{"match":{"method":"PowerOnVM_Task"},"effect":{"delayMs":1}}]`)
	counters := s.front.counters
	ends := []func(){counters.call(Call{Method: "M"}), counters.call(Call{Method: "M"})}
	for _, end := range ends {
		end()
	}
	counters.call(Call{Method: "M"})()
	if err := powerOn(c, s.vm(0).Self); err != nil {
		t.Fatal(err)
	}
	got := s.counts()
	if got.Peak["M"] != 2 || got.Calls["M"] != 3 || got.PeakTasks["PowerOnVM_Task"] != 1 {
		t.Errorf("counts %+v", got)
	}
	s.put("POST", "/counters/reset", "")
	if got := s.counts(); len(got.Calls) != 0 {
		t.Errorf("after reset: %+v", got)
	}
}
