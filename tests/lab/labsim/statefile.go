// The state file: the inventory of a site, written before anybody can see a change, so that a killed site comes back as it was.
package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// savedState is the JSON of the file. References are kept: clients go on using them.
type savedState struct {
	Folders    []savedFolder    `json:"folders"` // VM folders, parents first
	Pools      []savedFolder    `json:"pools"`
	Datastores []savedDatastore `json:"datastores"`
	VMs        []savedVM        `json:"vms"`
}

type savedFolder struct {
	Moref  string `json:"moref"`
	Name   string `json:"name"`
	Parent string `json:"parent"` // moref
}

type savedDatastore struct {
	Moref  string   `json:"moref"`
	Name   string   `json:"name"`
	Server string   `json:"server"`
	Path   string   `json:"path"`
	Hosts  []string `json:"hosts"`
}

type savedVM struct {
	Moref  string   `json:"moref"`
	Folder string   `json:"folder"` // moref
	Pool   string   `json:"pool"`   // moref
	Host   string   `json:"host"`
	Vmx    string   `json:"vmx"`
	Config []string `json:"config"` // the lines of the .vmx as this site knows it; the file itself may be out of reach
	On     bool     `json:"on"`
}

// stateFile writes the state when something changed. Writers that come together share one write.
type stateFile struct {
	path string

	mu      sync.Mutex // one write at a time
	note    sync.Mutex
	changes int // noted so far
	saved   int // contained in the file
}

const lazySave = 50 * time.Millisecond

// openState restores the site from the file if there is one, else makes the mounts and VMs of the lab file; from then on
// the file follows the inventory. Without a path nothing is kept.
func (h *hub) openState(path string, s *storage) error {
	if path == "" {
		return h.seed(s)
	}
	text, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = h.seed(s)
	case err == nil:
		var state savedState
		if err = json.Unmarshal(text, &state); err == nil {
			err = h.restore(s, &state)
		}
	}
	if err != nil {
		return fmt.Errorf("state %s: %w", path, err)
	}
	file := &stateFile{path: path}
	h.keeper.Store(file)
	file.changed()
	h.saveState()
	go func() {
		for range time.Tick(lazySave) {
			h.saveState()
		}
	}()
	return nil
}

func (f *stateFile) changed() {
	f.note.Lock()
	f.changes++
	f.note.Unlock()
}

func (f *stateFile) pending() (changes int, dirty bool) {
	f.note.Lock()
	defer f.note.Unlock()
	return f.changes, f.changes != f.saved
}

// noteState is told of every change of the inventory, under the locks of objects.
func (h *hub) noteState(ref types.ManagedObjectReference, changes []types.PropertyChange) {
	file := h.keeper.Load()
	if file == nil {
		return
	}
	switch ref.Type {
	case "Folder", "ResourcePool", "Datastore":
		file.changed()
	case "VirtualMachine":
		passing := func(c types.PropertyChange) bool {
			return strings.HasPrefix(c.Name, "guest") || strings.HasPrefix(c.Name, "summary") || c.Name == "recentTask"
		}
		if len(changes) == 0 || slices.ContainsFunc(changes, func(c types.PropertyChange) bool { return !passing(c) }) {
			file.changed()
		}
	}
}

// saveState writes the file if something changed since; it returns when the file holds every change noted before the call.
func (h *hub) saveState() {
	file := h.keeper.Load()
	if file == nil {
		return
	}
	file.mu.Lock()
	defer file.mu.Unlock()
	changes, dirty := file.pending()
	if !dirty {
		return
	}
	text, err := json.Marshal(h.inventoryState())
	if err == nil {
		err = writeAtomically(file.path, text)
	}
	if err != nil {
		log.Printf("labsim: state: %v", err)
		return
	}
	file.note.Lock()
	file.saved = changes
	file.note.Unlock()
}

func (h *hub) inventoryState() *savedState {
	state := &savedState{Folders: []savedFolder{}, Pools: []savedFolder{}, Datastores: []savedDatastore{}, VMs: []savedVM{}}
	dc, cluster := h.datacenter(), h.cluster()
	h.saveTree(dc.VmFolder, &state.Folders, func(o mo.Reference) []types.ManagedObjectReference {
		if f, ok := o.(*simulator.Folder); ok {
			return f.ChildEntity
		}
		return nil
	})
	h.saveTree(*cluster.ResourcePool, &state.Pools, func(o mo.Reference) []types.ManagedObjectReference {
		if p, ok := o.(*simulator.ResourcePool); ok {
			return p.ResourcePool.ResourcePool
		}
		return nil
	})
	for _, e := range h.reg.All("Datastore") {
		if ds, ok := e.(*simulator.Datastore); ok {
			d := h.datastoreState(ds)
			state.Datastores = append(state.Datastores, savedDatastore{d.Moref, d.Name, d.Server, d.Path, d.Hosts})
		}
	}
	for _, e := range h.reg.All("VirtualMachine") {
		if vm, ok := e.(*simulator.VirtualMachine); ok {
			state.VMs = append(state.VMs, h.savedVM(vm))
		}
	}
	slices.SortFunc(state.VMs, func(a, b savedVM) int { return cmp.Compare(a.Moref, b.Moref) })
	return state
}

// saveTree lists what lies below root, parents before children; root itself is always there.
func (h *hub) saveTree(root types.ManagedObjectReference, list *[]savedFolder, children func(mo.Reference) []types.ManagedObjectReference) {
	var refs []types.ManagedObjectReference
	object := h.reg.Get(root)
	if object == nil {
		return
	}
	locked(h.reg, root, func() { refs = slices.Clone(children(object)) })
	for _, ref := range refs {
		if ref.Type == root.Type {
			*list = append(*list, savedFolder{ref.Value, nameOf(h.reg, ref), root.Value})
			h.saveTree(ref, list, children)
		}
	}
}

func (h *hub) savedVM(vm *simulator.VirtualMachine) savedVM {
	var saved savedVM
	var host *types.ManagedObjectReference
	var v *vmxFile
	locked(h.reg, vm.Self, func() {
		saved = savedVM{
			Moref: vm.Self.Value, Folder: vm.Parent.Value, Vmx: vm.Config.Files.VmPathName,
			On: vm.Runtime.PowerState == types.VirtualMachinePowerStatePoweredOn,
		}
		if vm.ResourcePool != nil {
			saved.Pool = vm.ResourcePool.Value
		}
		host = vm.Runtime.Host
		v = h.vmxOf(vm)
	})
	if host != nil {
		saved.Host = nameOf(h.reg, *host)
	}
	for _, key := range v.keys {
		saved.Config = append(saved.Config, key+"="+v.get(key))
	}
	return saved
}
