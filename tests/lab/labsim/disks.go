// Disks: the descriptor and the extent of a virtual disk, as files.
package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"regexp"
	"strconv"
	"strings"
)

const sector = 512

// diskInfo is what a descriptor says.
type diskInfo struct {
	capacity int64 // bytes
	uuid     string
}

var (
	extentLine = regexp.MustCompile(`(?m)^RW (\d+) `)
	uuidLine   = regexp.MustCompile(`(?m)^ddb\.uuid = "([^"]*)"`)
)

// readDisk reads a descriptor; the error is that of the file system, or says that it is none.
func readDisk(file string) (diskInfo, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return diskInfo{}, err
	}
	extent := extentLine.FindSubmatch(text)
	if extent == nil {
		return diskInfo{}, fmt.Errorf("%s is no disk descriptor", path.Base(file))
	}
	sectors, err := strconv.ParseInt(string(extent[1]), 10, 64)
	if err != nil {
		return diskInfo{}, err
	}
	info := diskInfo{capacity: sectors * sector}
	if id := uuidLine.FindSubmatch(text); id != nil {
		info.uuid = plainUUID(string(id[1]))
	}
	return info, nil
}

// writeDisk writes a descriptor; its extent is made if there is none, small however large the disk claims to be.
func writeDisk(file string, info diskInfo) error {
	flat := strings.TrimSuffix(file, ".vmdk") + "-flat.vmdk"
	extent, err := os.OpenFile(flat, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err == nil {
		_, err = fmt.Fprintf(extent, "data of disk %s\n", info.uuid)
		if closed := extent.Close(); err == nil {
			err = closed
		}
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	text := fmt.Sprintf("# Disk DescriptorFile\nversion=1\nencoding=\"UTF-8\"\nCID=fffffffe\nparentCID=ffffffff\ncreateType=\"vmfs\"\n\n"+
		"# Extent description\nRW %d VMFS \"%s\"\n\n# The Disk Data Base\n#DDB\n\nddb.adapterType = \"lsilogic\"\nddb.uuid = \"%s\"\nddb.virtualHWVersion = \"19\"\n",
		info.capacity/sector, path.Base(flat), vmxUUID(info.uuid))
	return writeAtomically(file, []byte(text))
}

// removeDisk deletes descriptor and extent; what is not there is no error.
func removeDisk(file string) error {
	for _, name := range []string{file, strings.TrimSuffix(file, ".vmdk") + "-flat.vmdk"} {
		if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
