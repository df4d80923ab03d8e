// The front: every HTTP request of the site passes here, before and after the simulator sees it.
package main

import (
	"bytes"
	"io"
	"log"
	"net/http"
	"regexp"
	"runtime/debug"
	"strings"
	"time"

	"github.com/vmware/govmomi/simulator"
	"github.com/vmware/govmomi/vim25"
	"github.com/vmware/govmomi/vim25/soap"
	"github.com/vmware/govmomi/vim25/types"
)

// front applies outages to all requests, and counts and rules to vim SOAP calls. It knows wire calls only, never those
// that the simulator makes inside itself, and holds no lock while it waits.
type front struct {
	reg      *simulator.Registry
	rules    *Rules
	counters *counters
	outages  *outages
	sessions *sessions
}

// wrap puts the front before the simulator's own HTTP handler.
func (f *front) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost && strings.HasPrefix(r.URL.Path, vim25.Path) {
			f.soap(w, r, next)
			return
		}
		if f.outages.before(r.Context(), w, "") {
			next.ServeHTTP(w, r)
		}
	})
}

// soap serves one SOAP request of the vim namespace.
func (f *front) soap(w http.ResponseWriter, r *http.Request, next http.Handler) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, "cannot read the request", http.StatusBadRequest)
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	method, err := simulator.UnmarshalBody(types.TypeFunc(), body)
	if err != nil {
		if f.outages.before(r.Context(), w, "") {
			next.ServeHTTP(w, r) // the simulator answers with its own fault
		}
		return
	}
	if !f.outages.before(r.Context(), w, method.Name) {
		return
	}
	reply := f.run(r, method, next)
	f.outages.after(r.Context(), method.Name)
	reply.send(w)
}

// run lets a call through the rules and the simulator; its reply is complete when run returns.
func (f *front) run(r *http.Request, method *simulator.Method, next http.Handler) *recorder {
	user, known := f.sessions.user(sessionCookie(r))
	call := describe(f.reg, method.Name, method.This, method.Body, user)
	var delay time.Duration
	var fault *types.LocalizedMethodFault
	var drop dropWhen
	if known || strings.HasPrefix(method.Name, "Login") || strings.HasPrefix(method.Name, "RetrieveServiceContent") {
		delay, fault, drop = f.rules.forCall(call) // other calls without a session are refused anyway
	}
	defer f.counters.call(call)()
	pause(delay)
	if drop == dropBefore {
		panic(http.ErrAbortHandler)
	}
	f.counters.mutated(call)
	reply := &recorder{header: http.Header{}}
	if fault != nil {
		f.counters.failed(call)
		if err := writeFault(reply, fault); err != nil {
			log.Printf("fault %T for %s cannot be encoded: %v", fault.Fault, call.Method, err)
		}
	} else {
		f.serve(reply, r, call, next)
	}
	if drop == dropAfter {
		panic(http.ErrAbortHandler)
	}
	return reply
}

// serve runs the call in the simulator and counts how it ended. A panic there becomes a SystemError fault and is counted.
func (f *front) serve(reply *recorder, r *http.Request, call Call, next http.Handler) {
	defer func() {
		caught := recover()
		if caught == nil {
			return
		}
		if caught == http.ErrAbortHandler {
			panic(caught)
		}
		log.Printf("panic in %s on %s: %v\n%s", call.Method, call.Object, caught, debug.Stack())
		f.counters.recovered(caught)
		f.counters.failed(call)
		reply.reset()
		fault := &types.LocalizedMethodFault{Fault: &types.SystemError{}, LocalizedMessage: "the simulator failed on this call"}
		if err := writeFault(reply, fault); err != nil {
			log.Print(err)
		}
	}()
	next.ServeHTTP(reply, r)
	switch {
	case reply.status != http.StatusOK:
		f.counters.failed(call)
	case strings.HasSuffix(call.Method, "_Task"):
		if task, ok := startedTask(reply.body.Bytes()); ok {
			f.counters.taskStarted(task, call)
		}
	default:
		f.counters.succeeded(call)
	}
}

var taskReply = regexp.MustCompile(`<returnval type="Task">([^<]+)</returnval>`)

// startedTask finds the task in the reply to a *_Task call.
func startedTask(reply []byte) (types.ManagedObjectReference, bool) {
	found := taskReply.FindSubmatch(reply)
	if found == nil {
		return types.ManagedObjectReference{}, false
	}
	return types.ManagedObjectReference{Type: "Task", Value: string(found[1])}, true
}

func sessionCookie(r *http.Request) string {
	cookie, err := r.Cookie(soap.SessionCookieName)
	if err != nil {
		return ""
	}
	return strings.Trim(cookie.Value, `"`)
}

// pause sleeps its whole time: a slow vCenter runs a call although the client has given up on it.
func pause(delay time.Duration) {
	if delay > 0 {
		<-time.After(delay)
	}
}

// recorder keeps a reply back until it is clear what happens to it.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (r *recorder) Header() http.Header { return r.header }

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
}

func (r *recorder) Write(p []byte) (int, error) {
	r.WriteHeader(http.StatusOK)
	return r.body.Write(p)
}

func (r *recorder) reset() {
	r.status = 0
	r.body.Reset()
}

// send passes the reply on to the client.
func (r *recorder) send(w http.ResponseWriter) {
	for key, values := range r.header {
		w.Header()[key] = values
	}
	r.WriteHeader(http.StatusOK)
	w.WriteHeader(r.status)
	if _, err := w.Write(r.body.Bytes()); err != nil {
		log.Printf("reply not delivered: %v", err)
	}
}
