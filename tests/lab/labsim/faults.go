// Faults of the API and their texts.
package main

import (
	"fmt"
	"reflect"

	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// refusal is a reply that carries a fault, whatever the method.
type refusal struct {
	Fault_ *soap.Fault
}

func (r *refusal) Fault() *soap.Fault { return r.Fault_ }

// refuse answers a call with a fault and its usual message.
func refuse(fault types.BaseMethodFault) soap.HasFault {
	return &refusal{&soap.Fault{Code: "ServerFaultCode", String: faultMessage(fault), Detail: struct {
		Fault types.AnyType `xml:",any,typeattr"`
	}{fault}}}
}

// localized is the form a failed task carries.
func localized(fault types.BaseMethodFault) *types.LocalizedMethodFault {
	return &types.LocalizedMethodFault{Fault: fault, LocalizedMessage: faultMessage(fault)}
}

// faultMessage is the text a person reads; it names what the fault is about.
func faultMessage(fault types.BaseMethodFault) string {
	if text := fault.GetMethodFault().FaultMessage; len(text) > 0 {
		return text[0].Message
	}
	switch f := fault.(type) {
	case *types.InvalidPowerState:
		return fmt.Sprintf("The attempted operation cannot be performed in the current state (%s).", f.ExistingState)
	case *types.FileNotFound:
		return fmt.Sprintf("File %s was not found", f.File)
	case *types.FileLocked:
		return fmt.Sprintf("Unable to access file %s since it is locked", f.File)
	case *types.CannotAccessFile:
		return fmt.Sprintf("Unable to access file %s", f.File)
	case *types.FileAlreadyExists:
		return fmt.Sprintf("Cannot complete the operation because the file or folder %s already exists", f.File)
	case *types.AlreadyExists:
		return fmt.Sprintf("The specified key, name, or identifier '%s' already exists.", f.Name)
	case *types.DuplicateName:
		return fmt.Sprintf("The name '%s' already exists.", f.Name)
	case *types.ResourceInUse:
		return fmt.Sprintf("The resource '%s' is in use.", f.Name)
	case *types.InvalidArgument:
		return fmt.Sprintf("A specified parameter was not correct: %s", f.InvalidProperty)
	case *types.InvalidDatastorePath:
		return fmt.Sprintf("Invalid datastore path '%s'.", f.DatastorePath)
	case *types.InvalidDatastore:
		return fmt.Sprintf("Invalid datastore '%s'.", f.Name)
	case *types.ManagedObjectNotFound:
		return fmt.Sprintf("The object '%s' has already been deleted or has not been completely created", f.Obj)
	case *types.InvalidLogin:
		return "Cannot complete login due to an incorrect user name or password."
	case *types.NoPermission:
		return fmt.Sprintf("Permission to perform this operation was denied: %s", f.PrivilegeId)
	case *types.ToolsUnavailable:
		return "Cannot complete operation because VMware Tools is not running in this virtual machine."
	case *types.NotFound:
		return "The object or item referred to could not be found."
	case *types.SystemError:
		return "A general system error occurred: " + f.Reason
	}
	return reflect.TypeOf(fault).Elem().Name()
}

// withMessage gives a fault its own text.
func withMessage[F types.BaseMethodFault](fault F, format string, args ...any) F {
	fault.GetMethodFault().FaultMessage = []types.LocalizableMessage{
		{Key: "lab.message", Message: fmt.Sprintf(format, args...)},
	}
	return fault
}

func notFoundObject(ref types.ManagedObjectReference) types.BaseMethodFault {
	return &types.ManagedObjectNotFound{Obj: ref}
}

func invalid(property string) types.BaseMethodFault {
	return &types.InvalidArgument{InvalidProperty: property}
}
