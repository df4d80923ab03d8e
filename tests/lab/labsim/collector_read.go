// Reading for the collector: kinds of objects, references at a property path, and what the end of a task touched.
package main

import (
	"path"
	"reflect"
	"strings"
	"sync"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/types"
)

// managed returns the managed object type inside a registry object: the first embedded struct of govmomi's package mo.
func managed(object mo.Reference) (reflect.Value, bool) {
	if object == nil {
		return reflect.Value{}, false
	}
	value := reflect.ValueOf(object)
	for {
		for value.Kind() == reflect.Pointer || value.Kind() == reflect.Interface {
			if value.IsNil() {
				return reflect.Value{}, false
			}
			value = value.Elem()
		}
		if value.Kind() != reflect.Struct || value.NumField() == 0 {
			return reflect.Value{}, false
		}
		if path.Base(value.Type().PkgPath()) == "mo" {
			return value, true
		}
		value = value.Field(0)
	}
}

type kindKey struct {
	object reflect.Type
	ref    string
	kind   string
}

var kinds sync.Map // kindKey -> bool

// isKind tells whether an object is of a vim type or of one derived from it (a VirtualMachine is a ManagedEntity).
func isKind(object mo.Reference, ref types.ManagedObjectReference, kind string) bool {
	if ref.Type == kind {
		return true
	}
	if object == nil {
		return false
	}
	key := kindKey{reflect.TypeOf(object), ref.Type, kind}
	if known, ok := kinds.Load(key); ok {
		return known.(bool)
	}
	is := false
	if value, ok := managed(object); ok {
		field, found := value.Type().FieldByName(kind)
		is = value.Type().Name() == kind || found && field.Anonymous
	}
	kinds.Store(key, is)
	return is
}

// refsAt reads the references at a property path of an object, under its lock; none if there is no such property.
func refsAt(ctx *simulator.Context, ref types.ManagedObjectReference, property string) []types.ManagedObjectReference {
	value, ok := managed(ctx.Session.Get(ref))
	if !ok {
		return nil
	}
	var refs []types.ManagedObjectReference
	ctx.WithLock(ref, func() { refs = refsIn(value, strings.Split(property, ".")) })
	return refs
}

func refsIn(value reflect.Value, names []string) []types.ManagedObjectReference {
	for _, name := range names {
		for value.Kind() == reflect.Pointer || value.Kind() == reflect.Interface {
			if value.IsNil() {
				return nil
			}
			value = value.Elem()
		}
		if value.Kind() != reflect.Struct || name == "" {
			return nil
		}
		value = value.FieldByName(strings.ToUpper(name[:1]) + name[1:])
		if !value.IsValid() {
			return nil
		}
	}
	switch refs := value.Interface().(type) {
	case types.ManagedObjectReference:
		return []types.ManagedObjectReference{refs}
	case *types.ManagedObjectReference:
		if refs != nil {
			return []types.ManagedObjectReference{*refs}
		}
	case []types.ManagedObjectReference:
		return append([]types.ManagedObjectReference(nil), refs...)
	}
	return nil
}

// spread adds what tasks that have ended were about: their entity, their result, and what lists those. The simulator
// does not publish all that a task changes; looking again costs little and finds it.
func (c *collector) spread(ctx *simulator.Context, dirty refSet) {
	var touched []types.ManagedObjectReference
	for ref := range dirty {
		if ref.Type != "Task" {
			continue
		}
		task, ok := ctx.Map.Get(ref).(*simulator.Task)
		if !ok {
			continue
		}
		ctx.WithLock(ref, func() {
			if task.Info.State != types.TaskInfoStateSuccess && task.Info.State != types.TaskInfoStateError {
				return
			}
			if task.Info.Entity != nil {
				touched = append(touched, *task.Info.Entity)
			}
			if result, ok := task.Info.Result.(types.ManagedObjectReference); ok {
				touched = append(touched, result)
			}
		})
	}
	for _, ref := range touched {
		dirty[ref] = struct{}{}
		if ref.Type != "VirtualMachine" {
			continue
		}
		for _, property := range []string{"parent", "resourcePool", "runtime.host", "datastore", "network"} {
			for _, near := range refsAt(ctx, ref, property) {
				dirty[near] = struct{}{}
			}
		}
	}
}
