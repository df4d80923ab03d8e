// The gate: the listening socket of the site, which can be closed and opened again on the same port while the program runs.
package main

import (
	"fmt"
	"net"
	"sync"
	"time"
)

// gate is a net.Listener. While it is refusing, clients get "connection refused" and Accept waits.
type gate struct {
	addr net.Addr

	mu    sync.Mutex
	moved *sync.Cond   // the socket changed
	inner net.Listener // nil while refusing
	shut  bool         // closed for good
	conns map[*gateConn]struct{}
}

// newGate listens on a TCP address; port 0 picks a free one, which is then kept.
func newGate(address string) (*gate, error) {
	inner, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	g := &gate{addr: inner.Addr(), inner: inner, conns: map[*gateConn]struct{}{}}
	g.moved = sync.NewCond(&g.mu)
	return g, nil
}

// Accept waits for the next connection, through any time of refusing; it fails only after Close.
func (g *gate) Accept() (net.Conn, error) {
	for {
		g.mu.Lock()
		for g.inner == nil && !g.shut {
			g.moved.Wait()
		}
		inner, shut := g.inner, g.shut
		g.mu.Unlock()
		if shut {
			return nil, net.ErrClosed
		}
		conn, err := inner.Accept()
		if err == nil {
			if c := g.admit(inner, conn); c != nil {
				return c, nil
			}
			continue
		}
		g.mu.Lock()
		replaced := g.inner != inner
		g.mu.Unlock()
		if !replaced {
			return nil, err
		}
	}
}

// admit keeps track of a new connection; nil when the socket was closed meanwhile.
func (g *gate) admit(inner net.Listener, conn net.Conn) net.Conn {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.inner != inner {
		_ = conn.Close()
		return nil
	}
	c := &gateConn{Conn: conn, gate: g}
	g.conns[c] = struct{}{}
	return c
}

// Addr is the address of the first socket, also while refusing.
func (g *gate) Addr() net.Addr { return g.addr }

// Close ends the gate for good.
func (g *gate) Close() error {
	g.mu.Lock()
	inner := g.inner
	g.inner, g.shut = nil, true
	g.moved.Broadcast()
	g.mu.Unlock()
	if inner == nil {
		return nil
	}
	return inner.Close()
}

// refuse closes the socket and cuts all connections. Safe to repeat.
func (g *gate) refuse() {
	g.mu.Lock()
	inner := g.inner
	g.inner = nil
	g.mu.Unlock()
	if inner != nil {
		_ = inner.Close()
	}
	g.cut()
}

// allow listens again on the same port. Safe to repeat. It fails when another program took the port for longer than 5 s.
func (g *gate) allow() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.inner != nil || g.shut {
		return nil
	}
	deadline := time.Now().Add(5 * time.Second)
	for {
		inner, err := net.Listen("tcp", g.addr.String())
		if err == nil {
			g.inner = inner
			g.moved.Broadcast()
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("listen again on %s: %w", g.addr, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// cut closes all connections there are, long polls included.
func (g *gate) cut() {
	g.mu.Lock()
	conns := make([]*gateConn, 0, len(g.conns))
	for c := range g.conns {
		conns = append(conns, c)
	}
	g.mu.Unlock()
	for _, c := range conns {
		_ = c.Close()
	}
}

// gateConn leaves the gate's list when it is closed.
type gateConn struct {
	net.Conn
	gate *gate
}

func (c *gateConn) Close() error {
	c.gate.mu.Lock()
	delete(c.gate.conns, c)
	c.gate.mu.Unlock()
	return c.Conn.Close()
}
