// Writers: a record in the lab root of which site ran which VM when, and the check that no two sites ever did at once.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// writerEvent is one line of writers.jsonl.
type writerEvent struct {
	Time         time.Time `json:"time"`
	Site         string    `json:"site"`
	Boot         string    `json:"boot"`  // one run of the site's program
	Event        string    `json:"event"` // on, alive, off
	VM           string    `json:"vm,omitempty"`
	InstanceUUID string    `json:"instanceUuid,omitempty"`
	Dir          string    `json:"dir,omitempty"`  // directory of the VM's files
	Test         bool      `json:"test,omitempty"` // a test copy, which may run beside the real one
}

const (
	writerOn    = "on"
	writerOff   = "off"
	writerAlive = "alive" // of a boot: written every second while VMs run, so that the end of a killed site is known
)

// run is one time that a VM was powered on.
type run struct {
	Site         string    `json:"site"`
	VM           string    `json:"vm"`
	InstanceUUID string    `json:"instanceUuid"`
	Dir          string    `json:"dir"`
	Test         bool      `json:"test"`
	On           time.Time `json:"on"`
	Off          time.Time `json:"off"` // for a run that goes on: the last sign of life
	Running      bool      `json:"running"`

	boot string
}

// overlap is a time when two runs of one VM wrote at once: the accident that recovery must never cause.
type overlap struct {
	A run `json:"a"`
	B run `json:"b"`
}

// writersReport is the JSON of GET /writers.
type writersReport struct {
	Runs     []run     `json:"runs"`
	Overlaps []overlap `json:"overlaps"`
}

// writers appends to the record. All sites of a lab share one file; a line is one write.
type writers struct {
	path, site, boot string
	now              func() time.Time

	mu   sync.Mutex
	on   map[string]writerEvent // running VMs of this site
	stop chan struct{}
	done chan struct{}
}

func writersPath(root string) string { return filepath.Join(root, "writers.jsonl") }

// newWriters records for one site and boot; close ends it and leaves running VMs as cut off.
func newWriters(root, site, boot string) *writers {
	w := &writers{
		path: writersPath(root), site: site, boot: boot, now: time.Now,
		on: map[string]writerEvent{}, stop: make(chan struct{}), done: make(chan struct{}),
	}
	go w.signs()
	return w
}

func (w *writers) signs() {
	defer close(w.done)
	tick := time.NewTicker(heartbeatTime)
	defer tick.Stop()
	for {
		select {
		case <-w.stop:
			return
		case <-tick.C:
			w.mu.Lock()
			var err error
			if len(w.on) != 0 {
				err = w.append(writerEvent{Event: writerAlive})
			}
			w.mu.Unlock()
			if err != nil {
				return // the lab root is gone
			}
		}
	}
}

func (w *writers) close() {
	close(w.stop)
	<-w.done
}

// powerOn records that a VM runs now. Safe to repeat.
func (w *writers) powerOn(vm, instanceUUID, dir string, test bool) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, known := w.on[instanceUUID]; known {
		return nil
	}
	event := writerEvent{Event: writerOn, VM: vm, InstanceUUID: instanceUUID, Dir: dir, Test: test}
	w.on[instanceUUID] = event
	return w.append(event)
}

// powerOff records that it does not run any more. Safe to repeat.
func (w *writers) powerOff(instanceUUID string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	event, known := w.on[instanceUUID]
	if !known {
		return nil
	}
	delete(w.on, instanceUUID)
	event.Event = writerOff
	return w.append(event)
}

func (w *writers) append(event writerEvent) error {
	event.Time, event.Site, event.Boot = w.now().UTC(), w.site, w.boot
	line, err := json.Marshal(event)
	if err != nil {
		return err
	}
	file, err := os.OpenFile(w.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = file.Write(append(line, '\n'))
	if closed := file.Close(); err == nil {
		err = closed
	}
	return err
}

// readWriters reads the record of all sites and finds the overlaps; no record is an empty report.
func readWriters(root string) (writersReport, error) {
	report := writersReport{Runs: []run{}, Overlaps: []overlap{}}
	file, err := os.Open(writersPath(root))
	if errors.Is(err, fs.ErrNotExist) {
		return report, nil
	}
	if err != nil {
		return report, err
	}
	defer file.Close()
	var events []writerEvent
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		var event writerEvent
		if err := json.Unmarshal(lines.Bytes(), &event); err != nil {
			return report, fmt.Errorf("%s: %w", file.Name(), err)
		}
		events = append(events, event)
	}
	if err := lines.Err(); err != nil {
		return report, err
	}
	report.Runs = runs(events)
	for i, a := range report.Runs {
		for _, b := range report.Runs[i+1:] {
			if collide(a, b) {
				report.Overlaps = append(report.Overlaps, overlap{a, b})
			}
		}
	}
	return report, nil
}

// runs pairs the events of each VM. A run without an end ended with the last sign of life of its site's program.
func runs(events []writerEvent) []run {
	type key struct{ site, boot, vm string }
	open := map[key]*run{}
	last := map[string]time.Time{} // per boot
	var all []*run
	for _, e := range events {
		last[e.Boot] = e.Time
		k := key{e.Site, e.Boot, e.InstanceUUID}
		switch e.Event {
		case writerOn:
			r := &run{Site: e.Site, VM: e.VM, InstanceUUID: e.InstanceUUID, Dir: e.Dir, Test: e.Test, On: e.Time, Running: true, boot: e.Boot}
			open[k] = r
			all = append(all, r)
		case writerOff:
			if r := open[k]; r != nil {
				r.Off, r.Running = e.Time, false
				delete(open, k)
			}
		}
	}
	result := make([]run, 0, len(all))
	for _, r := range all {
		if r.Running {
			r.Off = last[r.boot]
			r.Running = time.Since(r.Off) < lockStale
		}
		result = append(result, *r)
	}
	slices.SortStableFunc(result, func(a, b run) int { return a.On.Compare(b.On) })
	return result
}

// collide tells whether two runs of one VM overlap in time, neither of them a test copy.
func collide(a, b run) bool {
	return a.InstanceUUID == b.InstanceUUID && !a.Test && !b.Test && a.On.Before(b.Off) && b.On.Before(a.Off)
}
