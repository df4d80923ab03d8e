// Faults of rules: real vim faults made from their names, as they travel in SOAP replies and in failed tasks.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"strings"

	"github.com/vmware/govmomi/vim25/types"
	"github.com/vmware/govmomi/vim25/xml"
)

// faultSpec names a fault: {"type": "FileLocked", "message": "held by another host", "fields": {"file": "[ds] a/a.vmdk"}}.
// A cause is a field too: {"faultCause": {"fault": {"_typeName": "Timedout"}, "localizedMessage": "text"}}.
type faultSpec struct {
	Type    string          `json:"type"`
	Message string          `json:"message"`
	Fields  json.RawMessage `json:"fields,omitempty"`
}

// build makes the fault for a call on object. It fails for a name that is no vim fault and for fields the fault does not have.
//
// Required references that the fields leave out name the object of the call, required power states get a legal value:
// strict clients refuse to decode empty ones.
func (s faultSpec) build(object types.ManagedObjectReference) (*types.LocalizedMethodFault, error) {
	kind, ok := types.TypeFunc()(s.Type)
	if !ok {
		return nil, fmt.Errorf("no vim type is named %q", s.Type)
	}
	if plain, found := strings.CutSuffix(s.Type, "Fault"); found {
		if _, ok := types.TypeFunc()(plain); ok {
			return nil, fmt.Errorf("the vim fault is named %q, not %q", plain, s.Type)
		}
	}
	value := reflect.New(kind)
	fault, ok := value.Interface().(types.BaseMethodFault)
	if !ok {
		return nil, fmt.Errorf("%q is not a fault", s.Type)
	}
	if err := setFields(value, s.Fields); err != nil {
		return nil, fmt.Errorf("fields of %s: %w", s.Type, err)
	}
	fillRequired(value.Elem(), object)
	message := s.Message
	if message == "" {
		message = s.Type + " (asked for by a rule of the lab)"
	}
	return &types.LocalizedMethodFault{Fault: fault, LocalizedMessage: message}, nil
}

// setFields decodes fields into the fault that value points to; a field that it does not have is an error.
func setFields(value reflect.Value, fields json.RawMessage) error {
	if len(fields) == 0 {
		return nil
	}
	var given map[string]json.RawMessage
	if err := json.Unmarshal(fields, &given); err != nil {
		return err
	}
	known := map[string]bool{}
	for _, field := range reflect.VisibleFields(value.Elem().Type()) {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		known[name] = true
	}
	for name := range given {
		if !known[name] {
			return fmt.Errorf("there is no %q", name)
		}
	}
	return types.NewJSONDecoder(bytes.NewReader(fields)).Decode(value.Interface()) // knows _typeName
}

// fillRequired sets empty required references and power states, in embedded structs too.
func fillRequired(v reflect.Value, object types.ManagedObjectReference) {
	for i := range v.NumField() {
		field, info := v.Field(i), v.Type().Field(i)
		switch val := field.Addr().Interface().(type) {
		case *types.ManagedObjectReference:
			if val.Value != "" {
				continue
			}
			*val = object
			if info.Name == "Task" {
				*val = types.ManagedObjectReference{Type: "Task", Value: "task-0"}
			}
		case *types.VirtualMachinePowerState:
			if *val == "" {
				*val = types.VirtualMachinePowerStatePoweredOff
			}
		default:
			if info.Anonymous && field.Kind() == reflect.Struct {
				fillRequired(field, object)
			}
		}
	}
}

const (
	envelopeHead = `<?xml version="1.0" encoding="UTF-8"?>` + "\n" +
		`<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" xmlns:xsd="http://www.w3.org/2001/XMLSchema"` +
		` xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><soapenv:Body>`
	envelopeTail = `</soapenv:Body></soapenv:Envelope>`
)

// writeFault answers a SOAP request with a fault, in the form vCenter uses (HTTP 500).
func writeFault(w http.ResponseWriter, fault *types.LocalizedMethodFault) error {
	var out bytes.Buffer
	out.WriteString(envelopeHead + `<soapenv:Fault><faultcode>ServerFaultCode</faultcode><faultstring>`)
	if err := xml.EscapeText(&out, []byte(fault.LocalizedMessage)); err != nil {
		return err
	}
	out.WriteString(`</faultstring><detail>`)
	kind := reflect.TypeOf(fault.Fault).Elem().Name()
	start := xml.StartElement{
		Name: xml.Name{Local: kind + "Fault"},
		Attr: []xml.Attr{
			{Name: xml.Name{Local: "xmlns"}, Value: "urn:vim25"},
			{Name: xml.Name{Local: "xsi:type"}, Value: kind},
		},
	}
	enc := xml.NewEncoder(&out)
	if err := enc.EncodeElement(fault.Fault, start); err != nil {
		return err
	}
	if err := enc.Flush(); err != nil {
		return err
	}
	out.WriteString(`</detail></soapenv:Fault>` + envelopeTail)
	w.Header().Set("Content-Type", `text/xml; charset="utf-8"`)
	w.WriteHeader(http.StatusInternalServerError)
	_, err := w.Write(out.Bytes())
	return err
}
