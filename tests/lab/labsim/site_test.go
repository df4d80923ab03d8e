package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/vmware/govmomi"
	"github.com/vmware/govmomi/object"
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// stockSite is the stock simulator behind the front, with the collector wired in as the program does it.
type stockSite struct {
	t     *testing.T
	reg   *simulator.Registry
	front *front
	admin *httptest.Server
	url   *url.URL
}

// listener passes registry news on to the collector.
type listener struct{ c *collector }

func (listener) Reference() types.ManagedObjectReference {
	return types.ManagedObjectReference{Type: "Lab", Value: "lab-test-listener"}
}
func (l listener) PutObject(_ *simulator.Context, o mo.Reference) { l.c.added(o.Reference()) }
func (l listener) UpdateObject(_ *simulator.Context, o mo.Reference, _ []types.PropertyChange) {
	l.c.changed(o.Reference())
}
func (l listener) RemoveObject(_ *simulator.Context, ref types.ManagedObjectReference) {
	l.c.removed(ref)
}

func startSite(t *testing.T) *stockSite {
	t.Helper()
	model := simulator.VPX()
	model.Machine, model.Host, model.ClusterHost, model.Autostart = 2, 0, 2, false
	t.Cleanup(model.Remove)
	if err := model.Create(); err != nil {
		t.Fatal(err)
	}
	model.Service.TLS = new(tls.Config)
	stock := model.Service.NewServer()
	t.Cleanup(stock.Close)
	reg := model.Map()

	gate, err := newGate("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &stockSite{t: t, reg: reg}
	s.front = &front{reg: reg, rules: newRules(), counters: newCounters(reg), outages: newOutages(gate), sessions: newSessions(reg)}
	collector := newCollector(reg, s.front.sessions.alive, s.front.counters.recovered)
	reg.Put(collector)
	reg.AddHandler(listener{collector})
	reg.Handler = func(_ *simulator.Context, m *simulator.Method) (mo.Reference, types.BaseMethodFault) {
		for kind, names := range map[string][]string{"PropertyCollector": collectorMethods, "PropertyFilter": filterMethods} {
			for _, name := range names {
				if m.This.Type == kind && m.Name == name {
					m.This = collector.Self
				}
			}
		}
		return nil, nil
	}
	server := &http.Server{Handler: s.front.wrap(stock.Config.Handler)}
	done := make(chan struct{})
	go func() { _ = server.Serve(gate); close(done) }()
	t.Cleanup(func() { _ = server.Close(); <-done })
	s.admin = httptest.NewServer(newAdmin(s.front))
	t.Cleanup(s.admin.Close)
	s.url = &url.URL{Scheme: "http", Host: gate.Addr().String(), Path: "/sdk", User: url.UserPassword("operator", "secret")}
	return s
}

// login returns a new client session.
func (s *stockSite) login() *govmomi.Client {
	s.t.Helper()
	client, err := govmomi.NewClient(context.Background(), s.url, true)
	if err != nil {
		s.t.Fatal(err)
	}
	return client
}

// put makes an admin request and returns its status and body.
func (s *stockSite) put(method, path, body string) (int, string) {
	s.t.Helper()
	req, err := http.NewRequest(method, s.admin.URL+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return res.StatusCode, string(text)
}

func (s *stockSite) counts() counts {
	s.t.Helper()
	_, body := s.put("GET", "/counters", "")
	var c counts
	if err := json.Unmarshal([]byte(body), &c); err != nil {
		s.t.Fatal(err)
	}
	return c
}

func (s *stockSite) rules(body string) {
	s.t.Helper()
	if status, text := s.put("PUT", "/rules", body); status != http.StatusOK {
		s.t.Fatalf("PUT /rules: %d %s", status, text)
	}
}

func (s *stockSite) outage(body string) {
	s.t.Helper()
	if status, text := s.put("PUT", "/outage", body); status != http.StatusOK {
		s.t.Fatalf("PUT /outage: %d %s", status, text)
	}
}

// vm returns a VM of the model.
func (s *stockSite) vm(n int) *simulator.VirtualMachine {
	s.t.Helper()
	want := fmt.Sprintf("DC0_C0_RP0_VM%d", n)
	for _, e := range s.reg.All("VirtualMachine") {
		if e.Entity().Name == want {
			return e.(*simulator.VirtualMachine)
		}
	}
	s.t.Fatalf("no VM %s", want)
	return nil
}

func powerOn(c *govmomi.Client, vm types.ManagedObjectReference) error {
	task, err := object.NewVirtualMachine(c.Client, vm).PowerOn(context.Background())
	if err != nil {
		return err
	}
	return task.Wait(context.Background())
}

// eventually waits for a condition, at most 10 s.
func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatal("condition not met within 10 s")
		}
		<-tick.C
	}
}
