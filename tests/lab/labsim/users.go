// Users: who may log in and who may do what.
package main

import (
	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/methods"
	"github.com/vmware/govmomi/vim25/mo"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// requiredPrivilege names what a user must hold for a call that changes something; other calls need none here.
var requiredPrivilege = map[string]string{
	"CreateVM_Task":             "VirtualMachine.Inventory.Create",
	"RegisterVM_Task":           "VirtualMachine.Inventory.Register",
	"UnregisterVM":              "VirtualMachine.Inventory.Unregister",
	"ReconfigVM_Task":           "VirtualMachine.Config.Settings",
	"PowerOnVM_Task":            "VirtualMachine.Interact.PowerOn",
	"PowerOffVM_Task":           "VirtualMachine.Interact.PowerOff",
	"ShutdownGuest":             "VirtualMachine.Interact.PowerOff",
	"SuspendVM_Task":            "VirtualMachine.Interact.Suspend",
	"ResetVM_Task":              "VirtualMachine.Interact.Reset",
	"CustomizeVM_Task":          "VirtualMachine.Provisioning.Customize",
	"CreateNasDatastore":        "Host.Config.Storage",
	"RemoveDatastore":           "Datastore.Delete",
	"CreateFolder":              "Folder.Create",
	"CreateResourcePool":        "Resource.CreatePool",
	"RelocateVM_Task":           "Resource.ColdMigrate",
	"CloneVM_Task":              "VirtualMachine.Provisioning.Clone",
	"CreateSnapshot_Task":       "VirtualMachine.State.CreateSnapshot",
	"MoveIntoFolder_Task":       "VirtualMachine.Inventory.Move",
	"MoveIntoResourcePool":      "Resource.AssignVMToPool",
	"EnterMaintenanceMode_Task": "Host.Config.Maintenance",
}

func (h *hub) user(name string) *labUser {
	for i := range h.lab.Users {
		if h.lab.Users[i].Name == name {
			return &h.lab.Users[i]
		}
	}
	return nil
}

// validLogin is the simulator's own hook; anything but a declared user with its password is InvalidLogin.
func (h *hub) validLogin(req *types.Login) bool {
	user := h.user(req.UserName)
	return user != nil && user.Password == req.Password
}

// granted tells whether a user holds a privilege; the lab's own session, which has no user, holds all.
func (h *hub) granted(userName, privilege string) bool {
	if userName == "" {
		return true
	}
	user := h.user(userName)
	return user != nil && user.Privileges.has(privilege)
}

func (h *hub) checkPrivilege(ctx *simulator.Context, method *simulator.Method) types.BaseMethodFault {
	privilege, needed := requiredPrivilege[method.Name]
	if !needed || ctx.Session == nil || h.granted(ctx.Session.UserName, privilege) {
		return nil
	}
	object := method.This
	return &types.NoPermission{Object: &object, PrivilegeId: privilege}
}

// labAuthorization answers privilege questions from the lab file's users.
type labAuthorization struct {
	mo.FileManager
	noLock
	hub *hub
}

func (h *hub) installAuthorization() {
	a := &labAuthorization{hub: h}
	a.Self = labRef("authorization")
	h.redirect(a, "AuthorizationManager",
		"HasPrivilegeOnEntities", "HasPrivilegeOnEntity", "HasUserPrivilegeOnEntities", "FetchUserPrivilegeOnEntities")
}

func (a *labAuthorization) userOf(session string) string {
	for _, s := range newSessions(a.hub.reg).list() {
		if s.Key == session {
			return s.UserName
		}
	}
	return "no such session"
}

func (a *labAuthorization) HasPrivilegeOnEntities(ctx *simulator.Context, req *types.HasPrivilegeOnEntities) (r soap.HasFault) {
	defer a.hub.guard(&r)
	user := a.sessionUser(ctx, req.SessionId)
	var res []types.EntityPrivilege
	for _, entity := range req.Entity {
		res = append(res, types.EntityPrivilege{Entity: entity, PrivAvailability: a.availability(user, req.PrivId)})
	}
	return &methods.HasPrivilegeOnEntitiesBody{Res: &types.HasPrivilegeOnEntitiesResponse{Returnval: res}}
}

func (a *labAuthorization) HasPrivilegeOnEntity(ctx *simulator.Context, req *types.HasPrivilegeOnEntity) (r soap.HasFault) {
	defer a.hub.guard(&r)
	user := a.sessionUser(ctx, req.SessionId)
	var res []bool
	for _, id := range req.PrivId {
		res = append(res, a.hub.granted(user, id))
	}
	return &methods.HasPrivilegeOnEntityBody{Res: &types.HasPrivilegeOnEntityResponse{Returnval: res}}
}

func (a *labAuthorization) HasUserPrivilegeOnEntities(_ *simulator.Context, req *types.HasUserPrivilegeOnEntities) (r soap.HasFault) {
	defer a.hub.guard(&r)
	var res []types.EntityPrivilege
	for _, entity := range req.Entities {
		res = append(res, types.EntityPrivilege{Entity: entity, PrivAvailability: a.availability(req.UserName, req.PrivId)})
	}
	return &methods.HasUserPrivilegeOnEntitiesBody{Res: &types.HasUserPrivilegeOnEntitiesResponse{Returnval: res}}
}

func (a *labAuthorization) FetchUserPrivilegeOnEntities(_ *simulator.Context, req *types.FetchUserPrivilegeOnEntities) (r soap.HasFault) {
	defer a.hub.guard(&r)
	var held []string
	user := a.hub.user(req.UserName)
	if user != nil {
		held = a.hub.privilegeIDs(user)
	}
	var res []types.UserPrivilegeResult
	for _, entity := range req.Entities {
		res = append(res, types.UserPrivilegeResult{Entity: entity, Privileges: held})
	}
	return &methods.FetchUserPrivilegeOnEntitiesBody{Res: &types.FetchUserPrivilegeOnEntitiesResponse{Returnval: res}}
}

func (a *labAuthorization) availability(user string, ids []string) []types.PrivilegeAvailability {
	var res []types.PrivilegeAvailability
	for _, id := range ids {
		res = append(res, types.PrivilegeAvailability{PrivId: id, IsGranted: a.hub.granted(user, id)})
	}
	return res
}

func (a *labAuthorization) sessionUser(ctx *simulator.Context, key string) string {
	if ctx.Session != nil && ctx.Session.Key == key {
		return ctx.Session.UserName
	}
	return a.userOf(key)
}

// privilegeIDs lists what a user holds; "all" is what the simulator's Admin role holds.
func (h *hub) privilegeIDs(user *labUser) []string {
	var ids []string
	if user.Privileges.all {
		manager := h.reg.Get(*h.content().AuthorizationManager).(*simulator.AuthorizationManager)
		for _, role := range manager.RoleList {
			if role.Name == "Admin" {
				ids = append(ids, role.Privilege...)
			}
		}
		return ids
	}
	for id := range user.Privileges.ids {
		ids = append(ids, id)
	}
	return ids
}

func (h *hub) content() types.ServiceContent {
	return h.reg.Get(types.ManagedObjectReference{Type: "ServiceInstance", Value: "ServiceInstance"}).(*simulator.ServiceInstance).Content
}
