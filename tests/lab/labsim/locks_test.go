package main

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// lockSites makes the locks of two sites with one lab root, and a VM directory with one file.
func lockSites(t *testing.T) (a, b *fileLocks, file string) {
	t.Helper()
	root := t.TempDir()
	open := func(site string) *fileLocks {
		l, err := newFileLocks(root, site)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	a, b = open("berlin"), open("leipzig")
	t.Cleanup(b.close)
	file = filepath.Join(root, "vm", "vm.vmx")
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	return a, b, file
}

func take(t *testing.T, l *fileLocks, files ...string) {
	t.Helper()
	if err := l.take("vm", "uuid-1", files...); err != nil {
		t.Fatal(err)
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func TestALiveLockOfAnotherSiteBindsUntilReleased(t *testing.T) {
	a, b, file := lockSites(t)
	t.Cleanup(a.close)
	disk := filepath.Join(filepath.Dir(file), "vm.vmdk")
	take(t, a, file, disk)
	take(t, a, file, disk) // repeated

	other := filepath.Join(filepath.Dir(file), "another.vmdk")
	err := b.take("vm", "uuid-1", other, file)
	var locked *lockedError
	if !errors.As(err, &locked) || locked.holder.Site != "berlin" || locked.file != file {
		t.Fatalf("expected %s locked by berlin, got %v", file, err)
	}
	if exists(other + lockSuffix) {
		t.Error("locks of a refused take stay behind")
	}
	if err := a.take("second", "uuid-2", disk); !errors.As(err, &locked) {
		t.Errorf("two VMs of one site share a disk: %v", err)
	}
	a.release("uuid-1")
	a.release("uuid-1")
	take(t, b, other, file)
	b.release("uuid-1")
	left, err := filepath.Glob(filepath.Join(filepath.Dir(file), "*"))
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

func TestLocksOfAnEndedSiteAreBroken(t *testing.T) {
	a, b, file := lockSites(t)
	take(t, a, file)
	a.close()
	take(t, b, file)
	a.release("uuid-1") // must not touch the lock that is another's now
	if holder, live := b.holder(file + lockSuffix); !live || holder.Site != "leipzig" {
		t.Errorf("lock is held by %+v", holder)
	}
}

func TestLocksOfASilentSiteAreBroken(t *testing.T) {
	a, b, file := lockSites(t)
	take(t, a, file)
	close(a.stop) // as a kill: the heartbeat stops and its file stays
	<-a.done
	old := time.Now().Add(-2 * lockStale)
	if err := os.Chtimes(a.beatFile(a.site, a.boot), old, old); err != nil {
		t.Fatal(err)
	}
	take(t, b, file)
}

func TestACopiedLockDoesNotBindButARenamedOneDoes(t *testing.T) {
	a, b, file := lockSites(t)
	t.Cleanup(a.close)
	take(t, a, file)
	text, err := os.ReadFile(file + lockSuffix)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Dir(file)
	copied, linked := filepath.Join(dir, "copy.vmx"), filepath.Join(dir, "link.vmx")
	if err := os.WriteFile(copied+lockSuffix, text, 0o644); err != nil {
		t.Fatal(err)
	}
	take(t, b, copied)
	if err := os.Link(file+lockSuffix, linked+lockSuffix); err != nil {
		t.Fatal(err)
	}
	take(t, b, linked)

	renamed := dir + "-renamed"
	if err := os.Rename(dir, renamed); err != nil {
		t.Fatal(err)
	}
	var locked *lockedError
	if err := b.take("vm", "uuid-3", filepath.Join(renamed, "vm.vmx")); !errors.As(err, &locked) {
		t.Errorf("a renamed lock does not bind: %v", err)
	}
}

// record makes writers of two sites with a clock that the test moves.
func record(t *testing.T) (root string, a, b *writers, clock *time.Time) {
	t.Helper()
	root = t.TempDir()
	now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	clock = &now
	open := func(site string) *writers {
		w := &writers{path: writersPath(root), site: site, boot: "boot-" + site, now: func() time.Time { return *clock }, on: map[string]writerEvent{}}
		return w
	}
	return root, open("berlin"), open("leipzig"), clock
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func overlaps(t *testing.T, root string) int {
	t.Helper()
	report, err := readWriters(root)
	must(t, err)
	return len(report.Overlaps)
}

func TestRunsOneAfterTheOtherDoNotOverlap(t *testing.T) {
	root, a, b, clock := record(t)
	must(t, a.powerOn("vm", "u", "/a", false))
	*clock = clock.Add(time.Minute)
	must(t, a.powerOff("u"), a.powerOff("u"))
	must(t, b.powerOn("vm", "u", "/b", false), b.powerOn("vm", "u", "/b", false))
	*clock = clock.Add(time.Minute)
	must(t, b.powerOff("u"))
	if got := overlaps(t, root); got != 0 {
		t.Errorf("%d overlaps", got)
	}
	report, err := readWriters(root)
	must(t, err)
	if len(report.Runs) != 2 || report.Runs[0].Off.Sub(report.Runs[0].On) != time.Minute {
		t.Errorf("runs %+v", report.Runs)
	}
}

func TestTwoSitesAtOnceOverlapUnlessOneIsATestCopy(t *testing.T) {
	for _, test := range []bool{false, true} {
		root, a, b, clock := record(t)
		must(t, a.powerOn("vm", "u", "/a", false))
		*clock = clock.Add(time.Second)
		must(t, b.powerOn("vm", "u", "/b", test))
		*clock = clock.Add(time.Second)
		must(t, a.powerOff("u"), b.powerOff("u"))
		want := 1
		if test {
			want = 0
		}
		if got := overlaps(t, root); got != want {
			t.Errorf("test copy %v: expected %d overlaps, got %d", test, want, got)
		}
	}
}

func TestAKilledSiteEndsItsRunsWithItsLastSignOfLife(t *testing.T) {
	root, a, b, clock := record(t)
	must(t, a.powerOn("vm", "u", "/a", false))
	*clock = clock.Add(time.Second)
	must(t, a.append(writerEvent{Event: writerAlive}))
	*clock = clock.Add(time.Minute)
	must(t, b.powerOn("vm", "u", "/b", false))
	*clock = clock.Add(time.Second)
	must(t, b.append(writerEvent{Event: writerAlive}))
	if got := overlaps(t, root); got != 0 {
		t.Errorf("%d overlaps with a dead site", got)
	}
	must(t, a.append(writerEvent{Event: writerAlive})) // not dead after all
	if got := overlaps(t, root); got != 1 {
		t.Errorf("expected an overlap, got %d", got)
	}
}

func TestWithoutARecordThereIsAnEmptyReport(t *testing.T) {
	if got := overlaps(t, t.TempDir()); got != 0 {
		t.Error(got)
	}
}
