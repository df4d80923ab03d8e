"""Child processes of the lab: they say why they failed, stop within bounds, and never outlive the run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.lab.processes import Identity, Process, ProcessFailedError
from tests.lab.toolchain import ROOT
from tests.lab.waiting import DeadlineError, wait_until


def python(name: str, code: str, folder: Path, **options) -> Process:
    return Process.start(name, [sys.executable, "-u", "-c", code], log=folder / f"{name}.log", **options)


def test_a_process_that_ends_before_it_is_ready_is_reported_with_its_log(tmp_path):
    process = python("early", "print('the disk is full'); raise SystemExit(3)", tmp_path)
    with pytest.raises(ProcessFailedError) as failure:
        process.wait_ready(lambda: False)
    process.stop()
    message = str(failure.value)
    assert "ended with code 3" in message
    assert "the disk is full" in message
    assert str(tmp_path / "early.log") in message


def test_a_process_that_never_becomes_ready_is_reported_after_the_deadline(tmp_path):
    process = python("slow", "import time; print('thinking'); time.sleep(60)", tmp_path)
    try:
        with pytest.raises(ProcessFailedError, match=r"not ready within 0\.5 s"):
            process.wait_ready(lambda: False, seconds=0.5)
    finally:
        process.stop()


def test_stop_kills_what_ignores_the_polite_request(tmp_path):
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up'); time.sleep(60)"
    process = python("stubborn", code, tmp_path)
    process.wait_ready(lambda: "up" in process.tail())
    process.stop(grace=0.2)
    assert -9 == process.returncode


def test_stop_ends_the_children_of_a_child_too(tmp_path):
    code = "import subprocess, time; print(subprocess.Popen(['sleep', '60']).pid); time.sleep(60)"
    process = python("parent", code, tmp_path)
    grandchild = Identity.of(int(process.wait_ready(lambda: process.tail().strip())))
    assert grandchild
    process.stop()
    wait_until(lambda: not grandchild.alive, "the grandchild is gone")


def test_a_paused_process_can_be_stopped(tmp_path):
    process = python("frozen", "import time; time.sleep(60)", tmp_path)
    process.pause()
    process.stop()
    assert not process.running


def test_a_run_that_is_killed_leaves_nothing_behind(tmp_path):
    code = (
        "import sys, time; from pathlib import Path; from tests.lab.processes import Process\n"
        f"child = Process.start('child', ['sleep', '60'], log=Path({str(tmp_path)!r}) / 'child.log')\n"
        "print(child.pid, flush=True); time.sleep(60)"
    )
    run = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert run.stdout
    child = Identity.of(int(run.stdout.readline()))
    assert child
    assert child.alive
    run.kill()
    run.communicate()
    wait_until(lambda: not child.alive, "the child of the killed run is gone")


def test_a_released_process_outlives_its_run_until_its_identity_is_stopped(tmp_path):
    code = (
        "from pathlib import Path; from tests.lab.processes import Process\n"
        f"child = Process.start('child', ['sleep', '60'], log=Path({str(tmp_path)!r}) / 'child.log')\n"
        "print(child.pid, flush=True); child.release()"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    child = Identity.of(int(run.stdout))
    assert child
    child.stop()
    assert not child.alive


def test_an_identity_is_not_that_of_a_later_process_with_the_same_number(tmp_path):
    process = python("one", "import time; time.sleep(60)", tmp_path)
    mine = process.identity
    other = Identity(mine.pid, "1")
    assert mine.alive
    assert not other.alive
    other.stop()
    assert process.running, "an identity that does not match must not be killed"
    mine.stop()
    process.stop()
    assert not mine.alive


def test_waiting_says_what_did_not_happen_and_what_was_seen_last():
    with pytest.raises(DeadlineError, match=r"the moon rises: not within 0.1 s \(last answer: 0\)"):
        wait_until(lambda: 0, "the moon rises", seconds=0.1)
