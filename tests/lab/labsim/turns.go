// Turns: operations on one object that must not mix, without holding its lock for their whole time.
package main

import (
	"sync"

	"github.com/vmware/govmomi/vim25/types"
)

// turns hands out one turn at a time per object; the zero value is ready.
type turns struct {
	mu    sync.Mutex
	queue map[types.ManagedObjectReference]*turn
}

type turn struct {
	mu      sync.Mutex
	waiting int
}

// take waits for the turn and returns how to give it back.
func (t *turns) take(ref types.ManagedObjectReference) (done func()) {
	t.mu.Lock()
	if t.queue == nil {
		t.queue = map[types.ManagedObjectReference]*turn{}
	}
	mine := t.queue[ref]
	if mine == nil {
		mine = &turn{}
		t.queue[ref] = mine
	}
	mine.waiting++
	t.mu.Unlock()
	mine.mu.Lock()
	return func() {
		mine.mu.Unlock()
		t.mu.Lock()
		defer t.mu.Unlock()
		if mine.waiting--; mine.waiting == 0 {
			delete(t.queue, ref)
		}
	}
}
