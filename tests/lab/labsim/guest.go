// Guests: what runs inside a powered-on VM. Tools, heartbeat and addresses come after the boot, and a shutdown takes its time.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

// guestBehaviour says how a guest behaves. In JSON every field is optional: what is left out stays as it was.
type guestBehaviour struct {
	BootSeconds     float64            `json:"bootSeconds"`
	ShutdownSeconds float64            `json:"shutdownSeconds"`
	Tools           bool               `json:"tools"`         // whether VMware Tools are installed and start
	Heartbeat       string             `json:"heartbeat"`     // green, yellow, red, gray: once Tools run
	Shutdown        guestShutdown      `json:"shutdown"`      // what ShutdownGuest does
	Customization   guestCustomization `json:"customization"` // what a pending customization does at boot
	IPs             []string           `json:"ips"`           // static "10.1.2.3/24" per NIC, in the guest's own disk; else DHCP
}

type guestShutdown string

const (
	shutdownNormal      guestShutdown = "normal"
	shutdownSlow        guestShutdown = "slow"             // ten times as long
	shutdownRefuse      guestShutdown = "refuse"           // the call succeeds, the guest goes on
	shutdownHang        guestShutdown = "hang"             // Tools and heartbeat go, power stays
	shutdownUnavailable guestShutdown = "toolsUnavailable" // the call is a ToolsUnavailable fault
)

type guestCustomization string

const (
	customizeOK    guestCustomization = "ok"
	customizeFail  guestCustomization = "fail"
	customizeNever guestCustomization = "never"
)

func defaultBehaviour() guestBehaviour {
	return guestBehaviour{
		BootSeconds: 0.3, ShutdownSeconds: 0.3, Tools: true, Heartbeat: "green",
		Shutdown: shutdownNormal, Customization: customizeOK,
	}
}

// with returns the behaviour changed by a JSON object; unknown fields and values are errors.
func (b guestBehaviour) with(change json.RawMessage) (guestBehaviour, error) {
	if len(change) == 0 {
		return b, nil
	}
	dec := json.NewDecoder(bytes.NewReader(change))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&b); err != nil {
		return b, fmt.Errorf("guest: %w", err)
	}
	switch b.Shutdown {
	case shutdownNormal, shutdownSlow, shutdownRefuse, shutdownHang, shutdownUnavailable:
	default:
		return b, fmt.Errorf("guest: shutdown cannot be %q", b.Shutdown)
	}
	switch b.Customization {
	case customizeOK, customizeFail, customizeNever:
	default:
		return b, fmt.Errorf("guest: customization cannot be %q", b.Customization)
	}
	return b, nil
}

// guests runs the guests of one site. Behaviour belongs to a VM name, so it is there before the VM is registered.
type guests struct {
	hub  *hub
	save func(*simulator.Context, *simulator.VirtualMachine) error // writes the .vmx
	stop func(types.ManagedObjectReference)                        // powers a VM off from inside

	mu      sync.Mutex
	special map[string]guestBehaviour
	running map[types.ManagedObjectReference]chan struct{} // closed when the power goes
}

func newGuests(
	h *hub, save func(*simulator.Context, *simulator.VirtualMachine) error, stop func(types.ManagedObjectReference),
) *guests {
	return &guests{
		hub: h, save: save, stop: stop,
		special: map[string]guestBehaviour{},
		running: map[types.ManagedObjectReference]chan struct{}{},
	}
}

// route offers PUT /guests/{vm} on the admin port; its answer is the whole behaviour.
func (g *guests) route(a *admin) {
	a.handle("PUT /guests/{vm}", func(r *http.Request) (any, error) {
		var change json.RawMessage
		if err := json.NewDecoder(r.Body).Decode(&change); err != nil {
			return nil, badRequest{err}
		}
		return g.change(r.PathValue("vm"), change)
	})
}

// change sets how the guest of a VM name behaves from now on; a boot or shutdown under way is not affected.
func (g *guests) change(name string, change json.RawMessage) (guestBehaviour, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now, known := g.special[name]
	if !known {
		now = g.hub.lab.Guest
	}
	next, err := now.with(change)
	if err != nil {
		return now, badRequest{err}
	}
	g.special[name] = next
	return next, nil
}

func (g *guests) behaviour(name string) guestBehaviour {
	g.mu.Lock()
	defer g.mu.Unlock()
	if b, known := g.special[name]; known {
		return b
	}
	return g.hub.lab.Guest
}

// boot starts the guest of a VM that has just been powered on.
func (g *guests) boot(vm *simulator.VirtualMachine) {
	gone := make(chan struct{})
	g.mu.Lock()
	if before := g.running[vm.Self]; before != nil {
		close(before)
	}
	g.running[vm.Self] = gone
	g.mu.Unlock()
	go g.run(vm, g.behaviour(nameOf(g.hub.reg, vm.Self)), gone)
}

// off ends the guest of a VM that has lost its power, and clears what only a running guest tells. Safe to repeat.
func (g *guests) off(vm *simulator.VirtualMachine) {
	g.mu.Lock()
	gone := g.running[vm.Self]
	delete(g.running, vm.Self)
	g.mu.Unlock()
	if gone != nil {
		close(gone)
	}
	ctx := g.hub.background()
	g.hub.locked(ctx, vm.Self, func() {
		if vm.Runtime.PowerState != types.VirtualMachinePowerStatePoweredOn {
			g.hub.reg.Update(ctx, vm, append(guestDown(vm), addresses(vm, nil)...))
		}
	})
}

func (g *guests) run(vm *simulator.VirtualMachine, b guestBehaviour, gone <-chan struct{}) {
	ctx := g.hub.background()
	defer func() {
		if caught := recover(); caught != nil {
			g.hub.panicked(caught)
		}
	}()
	if !lasts(b.BootSeconds, gone) {
		return
	}
	if pendingCustomization(vm, g.hub, ctx) != nil && b.Tools && b.Customization != customizeNever {
		if !lasts(b.BootSeconds, gone) { // the extra boot
			return
		}
		g.customize(ctx, vm, b)
	}
	g.hub.locked(ctx, vm.Self, func() {
		select {
		case <-gone:
		default:
			if b.Tools {
				g.hub.reg.Update(ctx, vm, append(guestUp(vm, b), addresses(vm, g.plan(vm, b))...))
			}
		}
	})
}

// refresh reports the addresses again after the hardware of a running VM has changed.
func (g *guests) refresh(ctx *simulator.Context, vm *simulator.VirtualMachine) {
	b := g.behaviour(nameOf(g.hub.reg, vm.Self))
	g.hub.locked(ctx, vm.Self, func() {
		if vm.Guest.ToolsRunningStatus == string(types.VirtualMachineToolsRunningStatusGuestToolsRunning) {
			g.hub.reg.Update(ctx, vm, addresses(vm, g.plan(vm, b)))
			return
		}
		g.hub.reg.Update(ctx, vm, addresses(vm, nil))
	})
}

// lasts waits, and tells whether the power stayed on.
func lasts(seconds float64, gone <-chan struct{}) bool {
	timer := time.NewTimer(time.Duration(seconds * float64(time.Second)))
	defer timer.Stop()
	select {
	case <-gone:
		return false
	case <-timer.C:
		return true
	}
}

// shutdown asks the guest to power itself off, as ShutdownGuest does; a fault means that it was not asked.
func (g *guests) shutdown(ctx *simulator.Context, vm *simulator.VirtualMachine) types.BaseMethodFault {
	b := g.behaviour(nameOf(g.hub.reg, vm.Self))
	var state types.VirtualMachinePowerState
	var tools string
	g.hub.locked(ctx, vm.Self, func() { state, tools = vm.Runtime.PowerState, vm.Guest.ToolsRunningStatus })
	if state != types.VirtualMachinePowerStatePoweredOn {
		return &types.InvalidPowerState{RequestedState: types.VirtualMachinePowerStatePoweredOn, ExistingState: state}
	}
	if b.Shutdown == shutdownUnavailable || tools != string(types.VirtualMachineToolsRunningStatusGuestToolsRunning) {
		return &types.ToolsUnavailable{}
	}
	if b.Shutdown == shutdownRefuse {
		return nil
	}
	if b.Shutdown == shutdownSlow {
		b.ShutdownSeconds *= 10
	}
	g.mu.Lock()
	gone := g.running[vm.Self]
	g.mu.Unlock()
	own := g.hub.background()
	g.hub.update(own, vm, types.PropertyChange{Name: "guest.guestState", Val: string(types.VirtualMachineGuestStateShuttingDown)})
	go func() {
		if !lasts(b.ShutdownSeconds, gone) {
			return
		}
		if b.Shutdown == shutdownHang {
			g.hub.update(own, vm, guestDown(vm)...)
			return
		}
		g.stop(vm.Self)
	}()
	return nil
}

// guestUp is what VMware Tools report once they run; the VM is locked.
func guestUp(vm *simulator.VirtualMachine, b guestBehaviour) []types.PropertyChange {
	name := vm.Guest.HostName
	if host := extraConfig(vm, hostNameKey); host != "" {
		name = host
	}
	if name == "" {
		name = vm.Name
	}
	status := types.ManagedEntityStatus(b.Heartbeat)
	return []types.PropertyChange{
		set("guest.toolsStatus", types.VirtualMachineToolsStatusToolsOk),
		set("guest.toolsVersionStatus2", string(types.VirtualMachineToolsVersionStatusGuestToolsCurrent)),
		set("guest.toolsRunningStatus", string(types.VirtualMachineToolsRunningStatusGuestToolsRunning)),
		set("guest.guestState", string(types.VirtualMachineGuestStateRunning)),
		set("guest.guestOperationsReady", true),
		set("guest.hostName", name),
		set("guestHeartbeatStatus", status),
		set("summary.quickStats.guestHeartbeatStatus", status),
		set("summary.guest.toolsStatus", types.VirtualMachineToolsStatusToolsOk),
		set("summary.guest.toolsRunningStatus", string(types.VirtualMachineToolsRunningStatusGuestToolsRunning)),
		set("summary.guest.hostName", name),
	}
}

// guestDown is what vCenter shows when Tools do not run.
func guestDown(*simulator.VirtualMachine) []types.PropertyChange {
	return []types.PropertyChange{
		set("guest.toolsStatus", types.VirtualMachineToolsStatusToolsNotRunning),
		set("guest.toolsRunningStatus", string(types.VirtualMachineToolsRunningStatusGuestToolsNotRunning)),
		set("guest.guestState", string(types.VirtualMachineGuestStateNotRunning)),
		set("guest.guestOperationsReady", false),
		set("guest.hostName", ""),
		set("guestHeartbeatStatus", types.ManagedEntityStatusGray),
		set("summary.quickStats.guestHeartbeatStatus", types.ManagedEntityStatusGray),
		set("summary.guest.toolsStatus", types.VirtualMachineToolsStatusToolsNotRunning),
		set("summary.guest.toolsRunningStatus", string(types.VirtualMachineToolsRunningStatusGuestToolsNotRunning)),
		set("summary.guest.hostName", ""),
	}
}
