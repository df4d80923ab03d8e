// The .vmx: a file of keys and values.
package main

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// vmxFile is the text of one .vmx: `key = "value"` lines. Keys are compared without case, their order and
// spelling are kept, and keys nobody here knows survive a rewrite.
type vmxFile struct {
	keys   []string          // as spelled, in file order
	values map[string]string // by lower-case key
}

func newVmx() *vmxFile {
	return &vmxFile{values: map[string]string{}}
}

// readVmx parses the file at path; the error is that of the file system.
func readVmx(path string) (*vmxFile, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	v := newVmx()
	lines := bufio.NewScanner(f)
	lines.Buffer(make([]byte, 0, 64*1024), 4*1024*1024)
	for lines.Scan() {
		line := strings.TrimSpace(lines.Text())
		if line == "" || strings.HasPrefix(line, "#") || strings.HasPrefix(line, ".encoding") {
			continue
		}
		key, value, found := strings.Cut(line, "=")
		if !found {
			continue
		}
		value = strings.TrimSpace(value)
		value = strings.TrimSuffix(strings.TrimPrefix(value, `"`), `"`)
		v.set(strings.TrimSpace(key), vmxUnescape(value))
	}
	return v, lines.Err()
}

// save replaces the file at path in one step: a reader sees the old text or the new one, never half of it.
func (v *vmxFile) save(path string) error {
	var text strings.Builder
	text.WriteString(".encoding = \"UTF-8\"\n")
	for _, key := range v.keys {
		fmt.Fprintf(&text, "%s = \"%s\"\n", key, vmxEscape(v.values[strings.ToLower(key)]))
	}
	return writeAtomically(path, []byte(text.String()))
}

func (v *vmxFile) get(key string) string {
	return v.values[strings.ToLower(key)]
}

func (v *vmxFile) set(key, value string) {
	lower := strings.ToLower(key)
	if _, known := v.values[lower]; !known {
		v.keys = append(v.keys, key)
	}
	v.values[lower] = value
}

// setIf writes value, or removes the key where there is none.
func (v *vmxFile) setIf(key, value string) {
	if value == "" {
		v.remove(key)
		return
	}
	v.set(key, value)
}

func (v *vmxFile) remove(key string) {
	lower := strings.ToLower(key)
	if _, known := v.values[lower]; !known {
		return
	}
	delete(v.values, lower)
	kept := make([]string, 0, len(v.keys))
	for _, k := range v.keys {
		if strings.ToLower(k) != lower {
			kept = append(kept, k)
		}
	}
	v.keys = kept
}

func (v *vmxFile) number(key string, otherwise int64) int64 {
	n, err := strconv.ParseInt(v.get(key), 10, 64)
	if err != nil {
		return otherwise
	}
	return n
}

func (v *vmxFile) flag(key string) bool {
	return strings.EqualFold(v.get(key), "TRUE")
}

// A quote, a bar or a line break cannot stand in a value; they are written as |XX.
func vmxEscape(s string) string {
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < 0x20 || c == '"' || c == '|' {
			fmt.Fprintf(&out, "|%02X", c)
		} else {
			out.WriteByte(c)
		}
	}
	return out.String()
}

func vmxUnescape(s string) string {
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '|' && i+2 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				out.WriteByte(byte(n))
				i += 2
				continue
			}
		}
		out.WriteByte(s[i])
	}
	return out.String()
}

// vmxUUID writes a UUID the way a .vmx holds it: 16 hex bytes, blanks between, a hyphen in the middle.
func vmxUUID(id string) string {
	hex := strings.ReplaceAll(id, "-", "")
	if len(hex) != 32 {
		return id
	}
	bytes := make([]string, 16)
	for i := range bytes {
		bytes[i] = hex[2*i : 2*i+2]
	}
	return strings.Join(bytes[:8], " ") + "-" + strings.Join(bytes[8:], " ")
}

// plainUUID is the inverse of vmxUUID; it answers "" for text that is no UUID.
func plainUUID(id string) string {
	hex := strings.ToLower(strings.NewReplacer(" ", "", "-", "").Replace(id))
	if len(hex) != 32 {
		return ""
	}
	return strings.Join([]string{hex[:8], hex[8:12], hex[12:16], hex[16:20], hex[20:]}, "-")
}

// writeAtomically replaces path by a file with this content; on an error path is untouched.
func writeAtomically(path string, content []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), ".tmp-"+filepath.Base(path)+"-")
	if err != nil {
		return err
	}
	_, err = tmp.Write(content)
	if err == nil {
		err = tmp.Chmod(0o600)
	}
	if closed := tmp.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		_ = os.Remove(tmp.Name())
	}
	return err
}
