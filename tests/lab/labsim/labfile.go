// The lab file: one site as declared by whoever runs the lab.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// labFile declares one site: its inventory, the NFS servers it can reach, its users and its first VMs.
type labFile struct {
	Site          string            `json:"site"`
	Root          string            `json:"root"` // the lab root, shared by all sites
	Datacenter    string            `json:"datacenter"`
	Cluster       string            `json:"cluster"`
	Hosts         []string          `json:"hosts"`
	Networks      []string          `json:"networks"`
	Folders       []string          `json:"folders"`
	ResourcePools []string          `json:"resourcePools"`
	NFSServers    map[string]string `json:"nfsServers"` // server name -> array directory
	Mounts        []labMount        `json:"mounts"`
	Users         []labUser         `json:"users"`
	Guest         guestBehaviour    `json:"guest"`
	VMs           []labVMSpec       `json:"vms"`
	TLS           *labTLS           `json:"tls"`
	MemoryGB      int64             `json:"hostMemoryGB"` // per host, default 64
	CPUs          int16             `json:"hostCPUs"`     // per host, default 16
}

type labMount struct {
	Name   string `json:"name"`
	Server string `json:"server"`
	Path   string `json:"path"`
}

type labTLS struct {
	Cert string `json:"cert"`
	Key  string `json:"key"`
}

type labUser struct {
	Name       string     `json:"name"`
	Password   string     `json:"password"`
	Privileges privileges `json:"privileges"`
}

type labDisk struct {
	MB        int64  `json:"mb"`
	Datastore string `json:"datastore"`
}

type labVMSpec struct {
	Name        string            `json:"name"`
	Folder      string            `json:"folder"`
	Pool        string            `json:"pool"`
	Datastore   string            `json:"datastore"`
	NumCPU      int32             `json:"numCPU"`
	MemoryMB    int64             `json:"memoryMB"`
	GuestID     string            `json:"guestId"`
	Disks       []labDisk         `json:"disks"`
	NICs        []string          `json:"nics"`
	Annotation  string            `json:"annotation"`
	ExtraConfig map[string]string `json:"extraConfig"`
	PowerOn     bool              `json:"powerOn"`
	Guest       json.RawMessage   `json:"guest"` // over the guest of the site
}

// privileges is "all" or a list of privilege ids; it decodes from both forms.
type privileges struct {
	all bool
	ids map[string]bool
}

func (p *privileges) UnmarshalJSON(text []byte) error {
	var word string
	if json.Unmarshal(text, &word) == nil {
		if word != "all" {
			return fmt.Errorf(`privileges: %q is neither "all" nor a list of privilege ids`, word)
		}
		p.all = true
		return nil
	}
	var ids []string
	if err := json.Unmarshal(text, &ids); err != nil {
		return err
	}
	p.ids = map[string]bool{}
	for _, id := range ids {
		p.ids[id] = true
	}
	return nil
}

func (p *privileges) has(id string) bool {
	return p.all || p.ids[id]
}

// readLabFile parses and checks the lab file; relative paths in it count from the file's own directory.
func readLabFile(path string) (*labFile, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	lab := &labFile{Guest: defaultBehaviour()}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(lab); err != nil {
		return nil, fmt.Errorf("lab file %s: %w", path, err)
	}
	for what, value := range map[string]string{"site": lab.Site, "datacenter": lab.Datacenter, "cluster": lab.Cluster} {
		if value == "" {
			return nil, fmt.Errorf("lab file %s: %q is missing", path, what)
		}
	}
	if len(lab.Hosts) == 0 {
		return nil, fmt.Errorf("lab file %s: no hosts", path)
	}
	base, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	lab.complete(base)
	return lab, nil
}

func (lab *labFile) complete(base string) {
	absolute := func(p *string) {
		if *p != "" && !filepath.IsAbs(*p) {
			*p = filepath.Join(base, *p)
		}
	}
	if lab.Root == "" {
		lab.Root = base
	}
	absolute(&lab.Root)
	for server, dir := range lab.NFSServers {
		absolute(&dir)
		lab.NFSServers[server] = dir
	}
	if lab.TLS != nil {
		absolute(&lab.TLS.Cert)
		absolute(&lab.TLS.Key)
	}
	if lab.MemoryGB == 0 {
		lab.MemoryGB = 64
	}
	if lab.CPUs == 0 {
		lab.CPUs = 16
	}
}
