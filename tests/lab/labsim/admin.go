// Admin: the HTTP port of the lab itself, JSON only, on which tests arrange trouble and read what happened.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
)

// admin is the mux of the admin port. Other files add their routes with handle.
type admin struct {
	mux *http.ServeMux
}

// newAdmin offers health, rules, outages, sessions and counters.
func newAdmin(f *front) *admin {
	a := &admin{mux: http.NewServeMux()}
	a.handle("GET /healthz", func(*http.Request) (any, error) {
		return map[string]bool{"ok": true}, nil
	})
	a.handle("PUT /rules", func(r *http.Request) (any, error) {
		var rules []Rule
		if err := readJSON(r, &rules); err != nil {
			return nil, err
		}
		if err := f.rules.set(rules); err != nil {
			return nil, badRequest{err}
		}
		return map[string]int{"rules": len(rules)}, nil
	})
	a.handle("DELETE /rules", func(*http.Request) (any, error) {
		f.rules.clear()
		return map[string]int{"rules": 0}, nil
	})
	a.handle("PUT /outage", func(r *http.Request) (any, error) {
		var outage Outage
		if err := readJSON(r, &outage); err != nil {
			return nil, err
		}
		if err := f.outages.set(outage); err != nil {
			return nil, badRequest{err}
		}
		return f.outages.get(), nil
	})
	a.handle("GET /outage", func(*http.Request) (any, error) { return f.outages.get(), nil })
	a.handle("PUT /sessions/expire", func(r *http.Request) (any, error) {
		var body struct {
			User string `json:"user"`
		}
		if err := readJSON(r, &body); err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		return map[string]int{"expired": f.sessions.expire(body.User)}, nil
	})
	a.handle("GET /counters", func(*http.Request) (any, error) { return f.counters.snapshot(), nil })
	a.handle("POST /counters/reset", func(*http.Request) (any, error) {
		f.counters.reset()
		return f.counters.snapshot(), nil
	})
	return a
}

// badRequest marks an error as the caller's mistake: HTTP 400 instead of 500.
type badRequest struct{ error }

func (b badRequest) Unwrap() error { return b.error }

// notFound marks an error as naming something that is not there: HTTP 404.
type notFound struct{ error }

// handle adds a route ("PUT /guests/{name}", see http.ServeMux). What do returns is sent as JSON, an error as {"error": text}.
func (a *admin) handle(pattern string, do func(*http.Request) (any, error)) {
	a.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		status := http.StatusOK
		value, err := do(r)
		if err != nil {
			status = http.StatusInternalServerError
			if errors.As(err, new(badRequest)) {
				status = http.StatusBadRequest
			}
			if errors.As(err, new(notFound)) {
				status = http.StatusNotFound
			}
			value = map[string]string{"error": err.Error()}
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(value)
	})
}

// ServeHTTP makes admin the handler of its port.
func (a *admin) ServeHTTP(w http.ResponseWriter, r *http.Request) { a.mux.ServeHTTP(w, r) }

// readJSON decodes a request body; unknown fields are errors, so that a typing mistake in a test does not go unseen.
func readJSON(r *http.Request, into any) error {
	dec := json.NewDecoder(r.Body)
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return badRequest{fmt.Errorf("body: %w", err)}
	}
	return nil
}
