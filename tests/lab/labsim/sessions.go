// Sessions: who is logged in, and ending sessions as an administrator would.
package main

import (
	"context"
	"crypto/rand"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25/types"
)

// sessions sees all client sessions of the site through a session of its own, which no client can use.
type sessions struct {
	reg *simulator.Registry
	ctx *simulator.Context
}

func newSessions(reg *simulator.Registry) *sessions {
	own := &simulator.Session{
		UserSession: types.UserSession{Key: rand.Text()},
		Registry:    simulator.NewRegistry(),
		Map:         reg,
	}
	return &sessions{reg: reg, ctx: &simulator.Context{Map: reg, Context: context.Background(), Session: own}}
}

// list returns the sessions that are logged in.
func (s *sessions) list() []types.UserSession {
	manager, ok := s.ctx.Session.Get(s.reg.SessionManager().Self).(*simulator.SessionManager)
	if !ok {
		return nil
	}
	return manager.SessionList
}

// user returns whose session this key belongs to; false when no such session is logged in.
func (s *sessions) user(key string) (string, bool) {
	if key == "" {
		return "", false
	}
	for _, session := range s.list() {
		if session.Key == key {
			return session.UserName, true
		}
	}
	return "", false
}

// alive tells whether a session is still logged in.
func (s *sessions) alive(key string) bool {
	_, ok := s.user(key)
	return ok
}

// expire ends the sessions of a user, or all with an empty name, and returns how many there were.
func (s *sessions) expire(user string) int {
	ended := 0
	for _, session := range s.list() {
		if user != "" && session.UserName != user {
			continue
		}
		res := s.reg.SessionManager().TerminateSession(s.ctx, &types.TerminateSession{
			This:      s.reg.SessionManager().Self,
			SessionId: []string{session.Key},
		})
		if res.Fault() == nil { // else it has just ended by itself
			ended++
		}
	}
	return ended
}
