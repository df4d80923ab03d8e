// labsim simulates the vCenter of one site: the stock govmomi simulator, made to keep its VMs in real files on the
// directories of a storage array, to run guests, and to fail on demand.
package main

import (
	"crypto/tls"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	_ "github.com/vmware/govmomi/pbm/simulator"
	_ "github.com/vmware/govmomi/vapi/simulator"
)

type options struct {
	labFile, listen, admin, ready, state string
}

// readiness is printed, as one line, once the site answers.
type readiness struct {
	Site  string `json:"site"`
	URL   string `json:"url"`
	Admin string `json:"admin"`
	CA    string `json:"ca"`
	PID   int    `json:"pid"`
}

func main() {
	var o options
	flag.StringVar(&o.labFile, "lab-file", "", "the site, as JSON (required)")
	flag.StringVar(&o.listen, "listen", "127.0.0.1:0", "address of the vCenter")
	flag.StringVar(&o.admin, "admin", "127.0.0.1:0", "address of the admin port")
	flag.StringVar(&o.ready, "ready-file", "", "file that gets the ready line")
	flag.StringVar(&o.state, "state", "", "file that keeps the inventory over restarts")
	flag.Parse()
	log.SetFlags(log.Ltime | log.Lmicroseconds)
	if o.labFile == "" || flag.NArg() != 0 {
		flag.Usage()
		os.Exit(2)
	}
	if err := serveSite(o); err != nil {
		fmt.Fprintln(os.Stderr, "labsim:", err)
		os.Exit(1)
	}
}

// serveSite serves until SIGTERM or an error.
func serveSite(o options) error {
	lab, err := readLabFile(o.labFile)
	if err != nil {
		return err
	}
	h, err := newSite(lab)
	if err != nil {
		return err
	}
	if h.locks, err = newFileLocks(lab.Root, lab.Site); err != nil {
		return err
	}
	defer h.locks.close()
	w := newWriters(lab.Root, lab.Site, h.locks.boot)
	defer w.close()
	sessions := newSessions(h.reg)
	h.installCollector(sessions)
	power := h.installPower(w)
	h.guests = newGuests(h, h.saveVM, power.stopped)
	store := h.installStorage()
	h.installAuthorization()
	h.installSearch()
	h.installVMs()
	h.installFolders()
	h.installHosts(power)
	if err := h.buildInventory(); err != nil {
		return err
	}
	if err := h.openState(o.state, store); err != nil {
		return err
	}
	stop := make(chan struct{})
	defer close(stop)
	go store.watch(stop)
	return h.serve(o, sessions)
}

// installCollector puts the property collector in the place of the stock one.
func (h *hub) installCollector(s *sessions) {
	c := newCollector(h.reg, s.alive, h.counters.recovered)
	h.redirect(c, "PropertyCollector", collectorMethods...)
	h.redirect(c, "PropertyFilter", filterMethods...)
	h.listen = append(h.listen, c)
}

// serve opens both ports, says so, and waits for the end.
func (h *hub) serve(o options, sessions *sessions) error {
	certificate, ca, err := newCertificate(h.lab)
	if err != nil {
		return err
	}
	stock := h.svc.NewServer()
	handler := stock.Config.Handler
	_ = stock.Listener.Close() // the site has its own socket, which can refuse
	gate, err := newGate(o.listen)
	if err != nil {
		return err
	}
	f := &front{reg: h.reg, rules: h.rules, counters: h.counters, outages: newOutages(gate), sessions: sessions}
	a := newAdmin(f)
	h.routeState(a, f.sessions)
	h.guests.route(a)
	certificate.route(a)

	admin, err := net.Listen("tcp", o.admin)
	if err != nil {
		return err
	}
	failed := make(chan error, 2)
	quiet := log.New(discard{}, "", 0) // TLS handshakes that clients give up are no news
	site := &http.Server{Handler: f.wrap(handler), ErrorLog: quiet, ReadHeaderTimeout: 30 * time.Second}
	go func() { failed <- site.Serve(tls.NewListener(gate, certificate.config())) }()
	go func() { failed <- http.Serve(admin, a) }()
	if err := announce(o, readiness{h.lab.Site, "https://" + gate.Addr().String() + "/sdk", "http://" + admin.Addr().String(), ca, os.Getpid()}); err != nil {
		return err
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	select {
	case err := <-failed:
		return err
	case <-signals:
		return nil
	}
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

func announce(o options, r readiness) error {
	line, err := json.Marshal(r)
	if err != nil {
		return err
	}
	fmt.Println(string(line))
	if o.ready == "" {
		return nil
	}
	return writeAtomically(o.ready, append(line, '\n'))
}
