// File locks: as on shared storage, the files of a running VM belong to one host of one site.
package main

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

const (
	lockSuffix    = ".lck"
	heartbeatTime = time.Second
	lockStale     = 5 * time.Second // a site that has not been heard of for so long has lost its locks
)

// lockHolder is the content of a lock file. Inode and Path tell the lock from a copy that replication made of it.
type lockHolder struct {
	Site         string `json:"site"`
	Boot         string `json:"boot"` // one run of one site's program
	VM           string `json:"vm"`
	InstanceUUID string `json:"instanceUuid"`
	Path         string `json:"path"`
	Inode        uint64 `json:"inode"`
}

// lockedError says whose lock is in the way.
type lockedError struct {
	file   string
	holder lockHolder
}

func (e *lockedError) Error() string {
	return fmt.Sprintf("%s is locked by %s at site %s", e.file, e.holder.VM, e.holder.Site)
}

// fileLocks takes and releases the locks of one site. Locks are files beside the locked ones, so they hold between the
// programs of several sites; a file in the lab root, touched every second, shows that the holder lives.
type fileLocks struct {
	site, boot string
	beats      string // directory of all sites' heartbeats

	mu   sync.Mutex
	held map[string][]string // per VM (instance UUID) the lock files
	stop chan struct{}
	done chan struct{}
}

// newFileLocks starts the heartbeat of a site below the lab root; close ends it.
func newFileLocks(root, site string) (*fileLocks, error) {
	l := &fileLocks{
		site: site, boot: rand.Text(), beats: filepath.Join(root, "heartbeats"),
		held: map[string][]string{}, stop: make(chan struct{}), done: make(chan struct{}),
	}
	if err := os.MkdirAll(l.beats, 0o755); err != nil {
		return nil, err
	}
	if err := l.beat(); err != nil {
		return nil, err
	}
	go l.pulse()
	return l, nil
}

func (l *fileLocks) beatFile(site, boot string) string {
	return filepath.Join(l.beats, site+"-"+boot)
}

func (l *fileLocks) beat() error {
	return os.WriteFile(l.beatFile(l.site, l.boot), nil, 0o644)
}

func (l *fileLocks) pulse() {
	defer close(l.done)
	tick := time.NewTicker(heartbeatTime)
	defer tick.Stop()
	for {
		select {
		case <-l.stop:
			return
		case <-tick.C:
			now := time.Now()
			if err := os.Chtimes(l.beatFile(l.site, l.boot), now, now); err != nil {
				log.Printf("labsim: heartbeat: %v", err)
			}
		}
	}
}

// close ends the heartbeat at once: what is still locked is free for others.
func (l *fileLocks) close() {
	close(l.stop)
	<-l.done
	if err := os.Remove(l.beatFile(l.site, l.boot)); err != nil {
		log.Printf("labsim: heartbeat: %v", err)
	}
}

// take locks the files of a VM, all or none; files are absolute paths on this machine. A live lock of another holder is
// a *lockedError. Locks of dead holders and copies of locks are broken and logged. Safe to repeat for the same VM.
func (l *fileLocks) take(vm, instanceUUID string, files ...string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	held := l.held[instanceUUID]
	for _, file := range files {
		lock := file + lockSuffix
		took, err := l.takeOne(lockHolder{Site: l.site, Boot: l.boot, VM: vm, InstanceUUID: instanceUUID, Path: lock})
		if err != nil {
			for _, lock := range held[len(l.held[instanceUUID]):] {
				_ = os.Remove(lock)
			}
			return err
		}
		if took {
			held = append(held, lock)
		}
	}
	l.held[instanceUUID] = held
	return nil
}

// takeOne makes one lock file; false without an error means that it is ours already.
func (l *fileLocks) takeOne(want lockHolder) (bool, error) {
	const attempts = 5
	for range attempts {
		err := makeLock(want)
		if !errors.Is(err, fs.ErrExist) {
			return err == nil, err
		}
		holder, live := l.holder(want.Path)
		if live && holder.Site == l.site && holder.Boot == l.boot && holder.InstanceUUID == want.InstanceUUID {
			return false, nil
		}
		if live {
			return false, &lockedError{file: want.Path[:len(want.Path)-len(lockSuffix)], holder: holder}
		}
		log.Printf("labsim: %s breaks the stale lock %s of %s at site %s", l.site, want.Path, holder.VM, holder.Site)
		if err := os.Remove(want.Path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return false, err
		}
	}
	return false, fmt.Errorf("lock %s changes hands too fast", want.Path)
}

// makeLock creates a lock file complete with its content, or fails with fs.ErrExist.
func makeLock(holder lockHolder) error {
	draft := holder.Path + "." + rand.Text()
	file, err := os.OpenFile(draft, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(draft) }()
	info, err := file.Stat()
	if err == nil {
		holder.Inode = inode(info)
		err = json.NewEncoder(file).Encode(holder)
	}
	if closed := file.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return err
	}
	return os.Link(draft, holder.Path)
}

// holder reads a lock and tells whether it still binds: its holder lives, and it is no copy.
func (l *fileLocks) holder(lock string) (lockHolder, bool) {
	var holder lockHolder
	info, err := os.Stat(lock)
	if err != nil {
		return holder, false
	}
	text, err := os.ReadFile(lock)
	if err != nil || json.Unmarshal(text, &holder) != nil {
		return holder, false
	}
	// A lock that was renamed with its directory keeps its inode; a copy gets a new one, unless it is a hard link.
	if holder.Inode != inode(info) || holder.Path != lock && links(info) > 1 {
		return holder, false
	}
	if holder.Site == l.site && holder.Boot != l.boot {
		return holder, false // the program of this site ran before and was killed
	}
	beat, err := os.Stat(l.beatFile(holder.Site, holder.Boot))
	return holder, err == nil && time.Since(beat.ModTime()) < lockStale
}

// release gives back all locks of a VM. Safe to repeat.
func (l *fileLocks) release(instanceUUID string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, lock := range l.held[instanceUUID] {
		if holder, _ := l.holder(lock); holder.Boot != l.boot {
			continue // withdrawn storage, or broken by another site
		}
		if err := os.Remove(lock); err != nil {
			log.Printf("labsim: release: %v", err)
		}
	}
	delete(l.held, instanceUUID)
}

// links is the number of names a file has.
func links(info fs.FileInfo) uint64 {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return uint64(stat.Nlink)
	}
	return 1
}

// inode is the identity of a file in its file system.
func inode(info fs.FileInfo) uint64 {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return stat.Ino
	}
	return 0
}
