// Exports: which directory stands behind an NFS export right now, as its array says.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"
)

type access string

const (
	accessNone access = "none"
	accessRO   access = "ro"
	accessRW   access = "rw"
)

// export is what an array offers under one (server, path).
type export struct {
	dir    string // absolute
	access access
}

// exportTable reads the exports.json of the arrays, again whenever a file has changed.
type exportTable struct {
	mu      sync.Mutex
	servers map[string]string // server name -> array directory
	read    map[string]*arrayExports
}

type arrayExports struct {
	modified time.Time
	size     int64
	inode    uint64
	exports  map[string]export
}

func newExportTable(servers map[string]string) *exportTable {
	return &exportTable{servers: servers, read: map[string]*arrayExports{}}
}

// lookup answers what (server, path) is now; an unknown server or path is access none with an error that says which.
func (t *exportTable) lookup(server, path string) (export, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	array, known := t.servers[server]
	if !known {
		return export{access: accessNone}, fmt.Errorf("NFS server %s does not answer", server)
	}
	exports, err := t.load(array)
	if err != nil {
		return export{access: accessNone}, fmt.Errorf("NFS server %s: %w", server, err)
	}
	e, known := exports[path]
	if !known {
		return export{access: accessNone}, fmt.Errorf("NFS server %s exports no %s", server, path)
	}
	if e.access == accessNone {
		return e, fmt.Errorf("NFS server %s denies access to %s", server, path)
	}
	if info, err := os.Stat(e.dir); err != nil || !info.IsDir() {
		e.access = accessNone
		return e, fmt.Errorf("NFS server %s: %s is stale", server, path)
	}
	return e, nil
}

func (t *exportTable) load(array string) (map[string]export, error) {
	path := filepath.Join(array, "exports.json")
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	known := t.read[array]
	if known != nil && known.modified.Equal(info.ModTime()) && known.size == info.Size() && known.inode == inode(info) {
		return known.exports, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var file struct {
		Exports map[string]struct {
			Dir    string `json:"dir"`
			Access access `json:"access"`
		} `json:"exports"`
	}
	if err := json.Unmarshal(text, &file); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	fresh := &arrayExports{modified: info.ModTime(), size: info.Size(), inode: inode(info), exports: map[string]export{}}
	for name, e := range file.Exports {
		fresh.exports[name] = export{dir: filepath.Join(array, filepath.Clean("/"+e.Dir)), access: e.Access}
	}
	t.read[array] = fresh
	return fresh.exports, nil
}
