// Feeds: one property collector of one session, its versions and its waits.
package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

const (
	maxObjectUpdates = 100                    // objects per reply, vCenter's default and cap
	gatherTime       = 10 * time.Millisecond  // changes that come together are reported together
	sessionCheck     = 250 * time.Millisecond // how often a wait looks whether its session still exists
)

// waitLimits bound one wait: without timed it lasts until something changes.
type waitLimits struct {
	timed   bool
	wait    time.Duration
	objects int
}

// feed is the state of one property collector. Waits take turns; the filters' own state belongs to the wait whose turn it is.
type feed struct {
	owner   *collector
	ref     types.ManagedObjectReference
	session *simulator.Session
	id      int

	wake chan struct{} // something was noted
	turn chan struct{} // holds one token

	mu      sync.Mutex
	dirty   map[types.ManagedObjectReference]struct{}
	filters []*filter
	cancel  chan struct{} // closed to end the waits there are

	version int // of the last reply; the rest belongs to the wait whose turn it is
	last    *types.UpdateSet
}

func newFeed(owner *collector, ref types.ManagedObjectReference, session *simulator.Session, id int) *feed {
	f := &feed{
		owner: owner, ref: ref, session: session, id: id,
		wake:   make(chan struct{}, 1),
		turn:   make(chan struct{}, 1),
		dirty:  map[types.ManagedObjectReference]struct{}{},
		cancel: make(chan struct{}),
	}
	f.turn <- struct{}{}
	return f
}

// note remembers that an object was added, changed or removed.
func (f *feed) note(ref types.ManagedObjectReference) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.filters) == 0 {
		return
	}
	f.dirty[ref] = struct{}{}
	f.ring()
}

// ring wakes the wait in progress.
func (f *feed) ring() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

func (f *feed) add(filter *filter) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.filters = append(slices.Clone(f.filters), filter)
	f.ring()
}

func (f *feed) remove(ref types.ManagedObjectReference) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.filters = slices.DeleteFunc(slices.Clone(f.filters), func(filter *filter) bool { return filter.self == ref })
}

// list returns the filters; the slice is never changed in place.
func (f *feed) list() []*filter {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.filters
}

func (f *feed) take() map[types.ManagedObjectReference]struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	dirty := f.dirty
	f.dirty = map[types.ManagedObjectReference]struct{}{}
	return dirty
}

func (f *feed) cancelWaits() {
	f.mu.Lock()
	defer f.mu.Unlock()
	close(f.cancel)
	f.cancel = make(chan struct{})
}

func (f *feed) cancelled() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.cancel
}

// wait returns what changed since version; nil when the time is over.
func (f *feed) wait(ctx *simulator.Context, version string, limits waitLimits) (*types.UpdateSet, types.BaseMethodFault) {
	cancel := f.cancelled()
	var over <-chan time.Time
	if limits.timed {
		timer := time.NewTimer(limits.wait)
		defer timer.Stop()
		over = timer.C
	}
	check := time.NewTicker(sessionCheck)
	defer check.Stop()
	pause := func(ready <-chan struct{}) (bool, types.BaseMethodFault) {
		return f.pause(ready, cancel, over, check.C)
	}
	// Without time to wait the turn of a wait in progress would never come: take it only when it is free.
	if got, fault := pause(f.turn); !got {
		return nil, fault
	}
	defer func() { f.turn <- struct{}{} }()
	if resent, fault := f.resume(version); resent != nil || fault != nil {
		return resent, fault
	}
	ctx = reader(ctx)
	for {
		if set := f.next(ctx, limits.objects); set != nil {
			return set, nil
		}
		if limits.timed && limits.wait == 0 {
			return nil, nil
		}
		if got, fault := pause(f.wake); !got {
			return nil, fault
		}
		gather := time.NewTimer(gatherTime)
		<-gather.C
	}
}

// pause waits until ready; otherwise it tells why the wait is over: no fault means the time is.
func (f *feed) pause(ready, cancel <-chan struct{}, over, check <-chan time.Time) (bool, types.BaseMethodFault) {
	select {
	case <-ready: // even if the time is over as well
		return true, nil
	default:
	}
	for {
		select {
		case <-ready:
			return true, nil
		case <-cancel:
			return false, &types.RequestCanceled{}
		case <-over:
			return false, nil
		case <-check:
			if !f.owner.alive(f.session.Key) {
				f.owner.sweep()
				return false, &types.NotAuthenticated{NoPermission: types.NoPermission{Object: &f.ref, PrivilegeId: "System.View"}}
			}
		}
	}
}

// resume checks the version the client has. The empty one starts all over; the one before the last reply gets that
// reply once more (it may have been lost); one that this collector never gave out is refused.
func (f *feed) resume(version string) (*types.UpdateSet, types.BaseMethodFault) {
	if version == "" {
		for _, filter := range f.list() {
			filter.restart()
		}
		f.last = nil
		return nil, nil
	}
	feed, number, _ := strings.Cut(version, ".")
	n, err := strconv.Atoi(number)
	if err != nil || feed != strconv.Itoa(f.id) || n < 1 || n > f.version {
		return nil, &types.InvalidCollectorVersion{}
	}
	if n == f.version-1 && f.last != nil {
		return f.last, nil
	}
	return nil, nil
}

// next collects up to max objects that changed; nil when nothing did.
func (f *feed) next(ctx *simulator.Context, max int) *types.UpdateSet {
	dirty := f.take()
	f.owner.spread(ctx, dirty)
	set := &types.UpdateSet{}
	filters := f.list()
	for _, filter := range filters {
		filter.absorb(ctx, dirty)
	}
	f.owner.forget()
	left := false
	for _, filter := range filters {
		update := filter.report(ctx, max)
		max -= len(update.ObjectSet)
		left = left || filter.pending()
		if len(update.ObjectSet)+len(update.MissingSet) != 0 && slices.Contains(f.list(), filter) {
			set.FilterSet = append(set.FilterSet, update)
		}
	}
	if left {
		set.Truncated = types.NewBool(true)
	}
	if len(set.FilterSet) == 0 && !left {
		return nil
	}
	f.version++
	set.Version = fmt.Sprintf("%d.%d", f.id, f.version)
	f.last = set
	return set
}
