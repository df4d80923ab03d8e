// Counters: how often each method was called, how it went, and which mutations really took effect.
package main

import (
	"maps"
	"strings"
	"sync"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// counters counts wire calls. All methods may be called from any goroutine and under any lock.
//
// The front counts every wire call here, and follows the tasks that calls start: a task runner need not report.
// A mutation is counted when the call is let in, an effect when it succeeded: at once for plain calls, at the end of
// the task for *_Task calls. A test that lost a reply compares the two.
type counters struct {
	reg *simulator.Registry

	mu      sync.Mutex
	counts  counts
	flying  map[string]int
	running map[string]int
	tasks   map[types.ManagedObjectReference]Call // running tasks that wire calls started
	seen    map[types.ManagedObjectReference]bool // all tasks ever started
}

// counts is the JSON shape of GET /counters.
type counts struct {
	Calls     map[string]int `json:"calls"`     // per method
	Faults    map[string]int `json:"faults"`    // per method: synchronous faults and tasks that ended in error
	Peak      map[string]int `json:"peak"`      // per method: most calls in flight at one time
	PeakTasks map[string]int `json:"peakTasks"` // per method: most tasks running at one time
	Mutations map[string]int `json:"mutations"` // per "method key"
	Effects   map[string]int `json:"effects"`   // per "method key", only those that succeeded
	Panics    int            `json:"panics"`    // recovered panics of simulator code
}

func newCounts() counts {
	return counts{
		Calls: map[string]int{}, Faults: map[string]int{}, Peak: map[string]int{}, PeakTasks: map[string]int{},
		Mutations: map[string]int{}, Effects: map[string]int{},
	}
}

// newCounters also listens on the registry for the end of tasks.
func newCounters(reg *simulator.Registry) *counters {
	c := &counters{
		reg:     reg,
		counts:  newCounts(),
		flying:  map[string]int{},
		running: map[string]int{},
		seen:    map[types.ManagedObjectReference]bool{},
		tasks:   map[types.ManagedObjectReference]Call{},
	}
	reg.AddHandler(taskEnds{c})
	return c
}

// call counts a call that begins; run the returned function when it is over.
func (c *counters) call(call Call) (end func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts.Calls[call.Method]++
	c.flying[call.Method]++
	c.counts.Peak[call.Method] = max(c.counts.Peak[call.Method], c.flying[call.Method])
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.flying[call.Method]--
	}
}

// mutated counts a mutation that is let in; other calls are not mutations.
func (c *counters) mutated(call Call) {
	if !mutates(call.Method) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts.Mutations[call.mutation()]++
}

// failed counts a call that was answered with a fault, or whose task ended in error.
func (c *counters) failed(call Call) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts.Faults[call.Method]++
}

// succeeded counts the effect of a call that returned without a task.
func (c *counters) succeeded(call Call) {
	if !mutates(call.Method) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts.Effects[call.mutation()]++
}

// taskStarted remembers that task belongs to call; its end is then counted by itself. Safe to repeat: the front calls it
// for every task that a wire call returns, a task runner may call it earlier.
func (c *counters) taskStarted(task types.ManagedObjectReference, call Call) {
	c.mu.Lock()
	if c.seen[task] {
		c.mu.Unlock()
		return
	}
	c.seen[task] = true
	c.tasks[task] = call
	c.running[call.Method]++
	c.counts.PeakTasks[call.Method] = max(c.counts.PeakTasks[call.Method], c.running[call.Method])
	c.mu.Unlock()

	t, ok := c.reg.Get(task).(*simulator.Task)
	if !ok {
		return
	}
	var state types.TaskInfoState
	locked(c.reg, task, func() { state = t.Info.State })
	c.taskState(task, state) // it may have ended before we knew of it
}

// taskState takes note of a task's state; only the end of a known task is counted, and only once.
func (c *counters) taskState(task types.ManagedObjectReference, state types.TaskInfoState) {
	if state != types.TaskInfoStateSuccess && state != types.TaskInfoStateError {
		return
	}
	c.mu.Lock()
	call, known := c.tasks[task]
	if known {
		delete(c.tasks, task)
		c.running[call.Method]--
	}
	c.mu.Unlock()
	switch {
	case !known:
	case state == types.TaskInfoStateSuccess:
		c.succeeded(call)
	default:
		c.failed(call)
	}
}

// recovered counts a panic of simulator code that was caught.
func (c *counters) recovered(any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts.Panics++
}

// snapshot returns a copy of all counts, ready for JSON.
func (c *counters) snapshot() counts {
	c.mu.Lock()
	defer c.mu.Unlock()
	return counts{
		Calls: maps.Clone(c.counts.Calls), Faults: maps.Clone(c.counts.Faults), Peak: maps.Clone(c.counts.Peak), PeakTasks: maps.Clone(c.counts.PeakTasks),
		Mutations: maps.Clone(c.counts.Mutations), Effects: maps.Clone(c.counts.Effects), Panics: c.counts.Panics,
	}
}

// reset sets all counts to zero; calls and tasks in flight stay known.
func (c *counters) reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts = newCounts()
}

// taskEnds hears of every published change of a task.
type taskEnds struct{ c *counters }

func (taskEnds) Reference() types.ManagedObjectReference {
	return types.ManagedObjectReference{Type: "LabListener", Value: "lab-counters"}
}

func (taskEnds) PutObject(*simulator.Context, mo.Reference) {}

func (taskEnds) RemoveObject(*simulator.Context, types.ManagedObjectReference) {}

// UpdateObject reads the state from the change itself: the caller may or may not hold the task's lock.
func (e taskEnds) UpdateObject(_ *simulator.Context, obj mo.Reference, changes []types.PropertyChange) {
	for _, change := range changes {
		if !strings.HasPrefix(change.Name, "info") {
			continue
		}
		switch val := change.Val.(type) {
		case types.TaskInfoState:
			e.c.taskState(obj.Reference(), val)
		case types.TaskInfo:
			e.c.taskState(obj.Reference(), val.State)
		}
	}
}
