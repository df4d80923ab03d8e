// Rules: faults, delays and dropped connections on demand, for chosen calls.
package main

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/vmware/govmomi/vim25/types"
)

// Rule is one entry of PUT /rules.
type Rule struct {
	Match  ruleMatch  `json:"match"`
	Max    int        `json:"max,omitempty"` // applied at most this often; 0: always
	Effect ruleEffect `json:"effect"`
}

// ruleMatch selects calls; what is empty matches everything. Globs know * and ?, and * crosses slashes.
type ruleMatch struct {
	Method     string `json:"method,omitempty"`     // glob over the wire name
	ObjectType string `json:"objectType,omitempty"` // type of _this: VirtualMachine
	Name       string `json:"name,omitempty"`       // glob over the object's name, its counting key or its moref
	User       string `json:"user,omitempty"`       // exact
	Nth        int    `json:"nth,omitempty"`        // only the nth call that matches, from 1
}

// ruleEffect says what happens to a matching call. Delays of all matching rules add up; the first fault and drop win.
type ruleEffect struct {
	Fault    *faultSpec `json:"fault,omitempty"`
	When     string     `json:"when,omitempty"` // "call" (default): the call itself; "task": its task, before the work
	DelayMs  int        `json:"delayMs,omitempty"`
	JitterMs int        `json:"jitterMs,omitempty"` // plus a random time up to this
	Drop     dropWhen   `json:"drop,omitempty"`
}

// dropWhen says when the connection is cut: before the call runs, or after it ran (a lost reply).
type dropWhen string

const (
	dropNever  dropWhen = ""
	dropBefore dropWhen = "before"
	dropAfter  dropWhen = "after"

	whenCall = "call"
	whenTask = "task"
)

// activeRule is a rule with its history.
type activeRule struct {
	Rule
	seen    int // calls that matched
	applied int
}

// Rules is the set of rules in force; safe for use by many goroutines.
type Rules struct {
	mu   sync.Mutex
	list []*activeRule
}

func newRules() *Rules { return &Rules{} }

// set replaces all rules; an error names the first rule that makes no sense and leaves the old ones in force.
func (r *Rules) set(rules []Rule) error {
	list := make([]*activeRule, 0, len(rules))
	for i, rule := range rules {
		if err := rule.check(); err != nil {
			return fmt.Errorf("rule %d: %w", i+1, err)
		}
		list = append(list, &activeRule{Rule: rule})
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = list
	return nil
}

func (r *Rules) clear() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = nil
}

func (rule *Rule) check() error {
	e := &rule.Effect
	if e.When == "" {
		e.When = whenCall
	}
	if e.When != whenCall && e.When != whenTask {
		return fmt.Errorf("when is %q, it must be call or task", e.When)
	}
	switch e.Drop {
	case dropNever, dropBefore, dropAfter:
	default:
		return fmt.Errorf("drop is %q, it must be before or after", e.Drop)
	}
	if e.Drop != dropNever && e.When == whenTask {
		return fmt.Errorf("a task has no connection to drop")
	}
	if e.DelayMs < 0 || e.JitterMs < 0 || rule.Match.Nth < 0 || rule.Max < 0 {
		return fmt.Errorf("numbers must not be negative")
	}
	if e.Fault != nil {
		if _, err := e.Fault.build(types.ManagedObjectReference{}); err != nil {
			return err
		}
	}
	return nil
}

// forCall tells what to do with a wire call, and counts it against the rules. The caller sleeps, with no lock held.
func (r *Rules) forCall(call Call) (time.Duration, *types.LocalizedMethodFault, dropWhen) {
	return r.consult(call, whenCall)
}

// forTask tells what to do with the task of a call before its work begins.
func (r *Rules) forTask(call Call) (time.Duration, *types.LocalizedMethodFault) {
	delay, fault, _ := r.consult(call, whenTask)
	return delay, fault
}

func (r *Rules) consult(call Call, when string) (delay time.Duration, fault *types.LocalizedMethodFault, drop dropWhen) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, rule := range r.list {
		if rule.Effect.When != when || !rule.takes(call) {
			continue
		}
		e := rule.Effect
		delay += time.Duration(e.DelayMs) * time.Millisecond
		if e.JitterMs > 0 {
			delay += rand.N(time.Duration(e.JitterMs) * time.Millisecond)
		}
		if fault == nil && e.Fault != nil {
			fault, _ = e.Fault.build(call.Object) // checked when the rule was set
		}
		if drop == dropNever {
			drop = e.Drop
		}
	}
	return delay, fault, drop
}

// takes tells whether the rule applies to this very call, and notes it.
func (rule *activeRule) takes(call Call) bool {
	m := rule.Match
	if m.ObjectType != "" && m.ObjectType != call.Object.Type || m.User != "" && m.User != call.User {
		return false
	}
	if m.Method != "" && !glob(m.Method, call.Method) {
		return false
	}
	if m.Name != "" && !glob(m.Name, call.Name) && !glob(m.Name, call.Key) && m.Name != call.Object.Value {
		return false
	}
	rule.seen++
	if m.Nth != 0 && rule.seen != m.Nth || rule.Max != 0 && rule.applied >= rule.Max {
		return false
	}
	rule.applied++
	return true
}

// glob matches text against a pattern of * (any text) and ? (any one byte). Brackets and slashes are plain: VM paths have both.
func glob(pattern, text string) bool {
	p, t, star, mark := 0, 0, -1, 0
	for t < len(text) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, t
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == text[t]):
			p++
			t++
		case star >= 0:
			mark++
			p, t = star+1, mark
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}
