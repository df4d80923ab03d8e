// Tasks: work in the background that clients watch, named after its call, delayed and failed by rules, cancelled by CancelTask.
package main

import (
	"context"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// taskLifetime is how long a finished task can still be read, as on a real vCenter.
const taskLifetime = 10 * time.Minute

// work is what a task does. It takes the locks it needs itself; none is held when it is called.
type work func(ctx *simulator.Context) (types.AnyType, types.BaseMethodFault)

// detached gives a task its own context: the locks held by the call that started it are not the task's.
func detached(ctx *simulator.Context) *simulator.Context {
	clone := *ctx
	clone.Context = context.Background()
	return &clone
}

// startTask puts a task named after the wire method into the inventory and runs it in the background. While it is
// delayed by a rule no lock is held, its progress moves and CancelTask ends it; a rule may make it fail instead of work.
func (h *hub) startTask(ctx *simulator.Context, entity mo.Reference, call Call, do work) types.ManagedObjectReference {
	own := detached(ctx)
	task := simulator.CreateTask(entity, taskName(call.Method), func(*simulator.Task) (types.AnyType, types.BaseMethodFault) {
		return do(own)
	})
	task.Self = h.newTaskRef()
	task.Info.Key = task.Self.Value
	task.Info.Task = task.Self
	task.Info.EntityName = call.Name
	task.Info.Reason = &types.TaskReasonUser{UserName: call.User}
	cancelled := h.watchCancel(task.Self)
	// The stock task manager writes recentTask of the entity while the task is put.
	h.locked(own, entity.Reference(), func() { h.reg.Put(task) })
	h.reg.AtomicUpdate(own, task, []types.PropertyChange{
		{Name: "info.startTime", Val: time.Now()},
		{Name: "info.state", Val: types.TaskInfoStateRunning},
	})
	go func() {
		h.runTask(own, task, call, cancelled)
		h.forgetCancel(task.Self)
		time.AfterFunc(taskLifetime, func() { h.reg.Remove(own, task.Self) })
	}()
	return task.Self
}

// taskName turns PowerOnVM_Task into PowerOnVMTask, which CreateTask publishes as the wire name.
func taskName(method string) string {
	const wire = "_Task"
	if n := len(method) - len(wire); n > 0 && method[n:] == wire {
		return method[:n] + "Task"
	}
	return method
}

func (h *hub) runTask(ctx *simulator.Context, task *simulator.Task, call Call, cancelled <-chan struct{}) {
	delay, fault := h.rules.forTask(call)
	if !h.taskDelay(ctx, task, delay, cancelled) {
		return
	}
	if fault != nil {
		h.endTask(ctx, task, nil, fault)
		return
	}
	result, failure := task.Execute(task)
	if failure != nil {
		h.endTask(ctx, task, nil, localized(failure))
		return
	}
	h.saveState() // before anybody can see that the work is done
	h.endTask(ctx, task, result, nil)
}

// taskDelay waits, moving the progress in tenths; false means the task was cancelled meanwhile.
func (h *hub) taskDelay(ctx *simulator.Context, task *simulator.Task, delay time.Duration, cancelled <-chan struct{}) bool {
	const steps = 10
	if delay <= 0 {
		return true
	}
	for i := int32(0); i < steps; i++ {
		select {
		case <-cancelled:
			return false
		case <-time.After(delay / steps):
		}
		if delay > time.Second {
			h.updateRunning(ctx, task, []types.PropertyChange{{Name: "info.progress", Val: (i + 1) * (100 / steps)}})
		}
	}
	select {
	case <-cancelled:
		return false
	default:
		return true
	}
}

func (h *hub) endTask(ctx *simulator.Context, task *simulator.Task, result types.AnyType, fault *types.LocalizedMethodFault) {
	changes := []types.PropertyChange{{Name: "info.completeTime", Val: time.Now()}}
	if fault != nil {
		changes = append(changes,
			types.PropertyChange{Name: "info.error", Val: *fault},
			types.PropertyChange{Name: "info.state", Val: types.TaskInfoStateError})
	} else {
		changes = append(changes,
			types.PropertyChange{Name: "info.result", Val: result},
			types.PropertyChange{Name: "info.state", Val: types.TaskInfoStateSuccess})
	}
	h.updateRunning(ctx, task, changes)
}

// updateRunning publishes changes of a task unless it has ended already, by CancelTask for instance.
func (h *hub) updateRunning(ctx *simulator.Context, task *simulator.Task, changes []types.PropertyChange) {
	h.locked(ctx, task, func() {
		if task.Info.State == types.TaskInfoStateRunning || task.Info.State == types.TaskInfoStateQueued {
			h.reg.Update(ctx, task, changes)
		}
	})
}

func (h *hub) watchCancel(task types.ManagedObjectReference) <-chan struct{} {
	c := make(chan struct{})
	h.mu.Lock()
	h.cancels[task] = c
	h.mu.Unlock()
	return c
}

func (h *hub) forgetCancel(task types.ManagedObjectReference) {
	h.mu.Lock()
	delete(h.cancels, task)
	h.mu.Unlock()
}

// cancelTask is called when the stock CancelTask has published its change.
func (h *hub) cancelTask(task types.ManagedObjectReference) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if c, waiting := h.cancels[task]; waiting {
		close(c)
		delete(h.cancels, task)
	}
}
