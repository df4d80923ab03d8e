// Outages: how the whole site misbehaves towards its clients, and for how many calls.
package main

import (
	"context"
	"fmt"
	"net/http"
	"sync"
)

// Outage is the body of PUT /outage.
type Outage struct {
	Mode  outageMode `json:"mode"`
	Match string     `json:"match,omitempty"` // glob over method names (RegisterVM*); empty: all calls, /folder and REST included
	Count int        `json:"count,omitempty"` // over after this many calls; 0: until changed
}

type outageMode string

const (
	outageNone   outageMode = "none"
	outageRefuse outageMode = "refuse"    // connections are refused, present ones cut; match and count do not apply
	outageDrop   outageMode = "drop"      // the connection is cut, the call does not run
	outageHang   outageMode = "hang"      // no answer; when the outage ends, calls whose clients still wait are served, others never ran
	outage503    outageMode = "503"       // HTTP 503 without SOAP
	outageLost   outageMode = "lostReply" // the call runs, then the connection is cut
)

// outages holds the outage in force.
type outages struct {
	gate *gate

	mu      sync.Mutex
	now     Outage
	changed chan struct{} // closed when the outage changes
}

// newOutages starts without an outage; gate is the site's listening socket.
func newOutages(gate *gate) *outages {
	return &outages{gate: gate, now: Outage{Mode: outageNone}, changed: make(chan struct{})}
}

// set puts an outage in force, or ends it with mode none. Drop without a match also cuts the connections there are.
func (o *outages) set(next Outage) error {
	switch next.Mode {
	case outageNone, outageRefuse, outageDrop, outageHang, outage503, outageLost:
	case "":
		next.Mode = outageNone
	default:
		return fmt.Errorf("mode is %q, it must be none, refuse, drop, hang, 503 or lostReply", next.Mode)
	}
	if next.Count < 0 {
		return fmt.Errorf("count must not be negative")
	}
	o.mu.Lock()
	o.now = next
	close(o.changed)
	o.changed = make(chan struct{})
	o.mu.Unlock()

	switch {
	case next.Mode == outageRefuse:
		o.gate.refuse()
		return nil
	case next.Mode == outageDrop && next.Match == "" && next.Count == 0:
		o.gate.cut()
	}
	return o.gate.allow()
}

func (o *outages) get() Outage {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.now
}

// hits tells which outage meets a request of this method (empty: not SOAP), and uses up one of its count.
func (o *outages) hits(method string, of ...outageMode) (outageMode, chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	mode := o.now.Mode
	wanted := false
	for _, m := range of {
		wanted = wanted || m == mode
	}
	if !wanted || o.now.Match != "" && !glob(o.now.Match, method) {
		return outageNone, nil
	}
	changed := o.changed
	if o.now.Count > 0 {
		if o.now.Count--; o.now.Count == 0 {
			o.now = Outage{Mode: outageNone} // one that hangs stays hung until the next set
		}
	}
	return mode, changed
}

// before meets a request that arrives. It returns false when the request has been answered here; it may not return at
// all (the connection is cut by http.ErrAbortHandler) and waits while the site hangs.
func (o *outages) before(ctx context.Context, w http.ResponseWriter, method string) bool {
	switch mode, changed := o.hits(method, outageDrop, outageHang, outage503); mode {
	case outageDrop:
		panic(http.ErrAbortHandler)
	case outage503:
		http.Error(w, "no healthy upstream", http.StatusServiceUnavailable)
		return false
	case outageHang:
		wait(ctx, changed)
	}
	return true
}

// after meets a reply that is ready; it does not return when the reply is lost.
func (o *outages) after(ctx context.Context, method string) {
	if mode, _ := o.hits(method, outageLost); mode == outageLost {
		panic(http.ErrAbortHandler)
	}
	o.mu.Lock()
	mode, whole, changed := o.now.Mode, o.now.Match == "" && o.now.Count == 0, o.changed
	o.mu.Unlock()
	switch {
	case whole && mode == outageDrop:
		panic(http.ErrAbortHandler)
	case whole && mode == outageHang:
		wait(ctx, changed)
	}
}

// wait blocks until the outage changes. A client that gave up meanwhile is gone for good: its call does not run.
func wait(ctx context.Context, changed <-chan struct{}) {
	select {
	case <-changed:
	case <-ctx.Done():
		panic(http.ErrAbortHandler)
	}
}
