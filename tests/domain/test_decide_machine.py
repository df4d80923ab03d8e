"""decide() against random worlds: crashes between any two steps, lost answers, errors, a dying source, a cancel.

The world below does what the ports promise: a call brings about its end, and one whose end is reached changes nothing.
"""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from resurgo.domain.decide import OpKey, World, all_steps, decide, past_no_return, rolling_back, vm_ready
from resurgo.domain.graph import StageState, build, stage_state
from resurgo.domain.journal import Journal
from resurgo.domain.settle import Outcome, Verdict, retries_of, settle
from resurgo.domain.snapshot import Snapshot
from resurgo.domain.states import TERMINAL, Control, RunPhase
from resurgo.domain.steps import Call, Scope, Side, Step
from resurgo.domain.verdict import ending, failures, source_released
from tests.domain.snapshots import snapshots

_EFFECTS = {
    Call.FAILOVER_PLANNED: "failover",
    Call.FAILOVER_FORCED: "failover",
    Call.REGISTER: "register",
    Call.POWER_ON: "power on",
    Call.UNREGISTER: "unregister",
    Call.SHUT_DOWN: "shut down",
}


class Simulated:
    """A world, the journal on disk, and a process that may die at any point."""

    def __init__(self, snapshot: Snapshot, data: st.DataObject, *, lossy: bool) -> None:
        self.snapshot, self.data, self.lossy = snapshot, data, lossy
        self.graph = build(snapshot)
        self.steps = all_steps(snapshot)
        self.disk: dict[str, str] = {}
        self.journal = Journal()
        self.running: dict[OpKey, Step] = {}
        self.reached: set[tuple[str, str, Side]] = set()  # what is true in the world
        self.effects: Counter[tuple[str, str, Side]] = Counter()
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.source_up = True
        self.lost_groups: frozenset[str] = frozenset()
        self.control = Control.RUN
        self.pace = [0, 0, 1, 30] if lossy else [0, 0, 1]  # seconds between answers: without faults no deadline passes

    def commit(self, touched: set[str] | frozenset[str]) -> None:
        self.disk |= {item: self.journal.item_json(item) for item in touched}

    def crash(self) -> None:
        """The process dies; what it had sent may or may not have happened. The next one reads the journal."""
        for key, step in self.running.items():
            if self.data.draw(st.booleans(), label=f"{key} happened before the crash"):
                self.happen(key, step)
        self.running = {}
        self.journal = Journal.load(self.disk)

    def happen(self, key: OpKey, step: Step) -> None:
        end = (_EFFECTS.get(step.call, step.call), key.item, step.side)
        if end not in self.reached:
            self.check_allowed(key, step)
            self.effects[end] += 1
            self.reached.add(end)
            self.undo(end)

    def undo(self, end: tuple[str, str, Side]) -> None:
        opposite = {
            "register": "unregister",
            "unregister": "register",
            "power on": "shut down",
            "shut down": "power on",
        }
        if end[0] in opposite:
            self.reached.discard((opposite[end[0]], end[1], end[2]))

    def check_allowed(self, key: OpKey, step: Step) -> None:
        """Nothing happens before what it depends on."""
        if step.name == "PowerOn":
            frozen = next(v for v in self.snapshot.vms if v.key == key.item)
            assert ("register", key.item, Side.TARGET) in self.reached
            for needed in frozen.depends_on:
                assert vm_ready(self.journal, needed)
            for stage in self.graph.before[frozen.stage]:
                outcome = [vm_ready(self.journal, v.key) for v in self.graph.vms_of[stage]]
                ready, settled = sum(o is True for o in outcome), sum(o is not None for o in outcome)
                assert StageState.PASSED is stage_state(
                    self.graph.stages[stage], total=len(outcome), ready=ready, settled=settled
                )
        if step.name == "Register":
            assert self.failed_over() == set(self.snapshot.items(Scope.GROUP))
        if step.side is Side.SOURCE and step.call in {Call.MOUNT, Call.REGISTER, Call.POWER_ON, Call.RESTORE}:
            assert not self.failed_over(), "two writable sites"
        if step.call is Call.FAILOVER_PLANNED:
            assert all(("unregister", v.key, Side.SOURCE) in self.reached for v in self.snapshot.vms), (
                "volumes taken from under a registered VM"
            )

    def failed_over(self) -> set[str]:
        return {item for what, item, _ in self.reached if what == "failover"}

    def answer(self) -> None:
        """One call in flight ends: well, badly, or with its answer lost."""
        key = self.data.draw(st.sampled_from(sorted(self.running)), label="ends")
        step = self.running.pop(key)
        record = self.journal.get(*key)
        assert record is not None
        kinds = ["ok"] * 6 + (["retry", "reject", "lost"] if self.lossy else [])
        kind = self.data.draw(st.sampled_from(kinds), label="how")
        if kind in {"ok", "lost"}:
            self.happen(key, step)
        outcome = {
            "ok": Outcome(Verdict.DONE),
            "retry": Outcome(Verdict.RETRYABLE, reason="Busy", message="busy"),
            "lost": Outcome(Verdict.RETRYABLE, reason="OutcomeUnknown", message="lost"),
            "reject": Outcome(Verdict.REJECTED, reason="No", message="no"),
        }[kind]
        if record.settled:
            return
        frozen = next((v for v in self.snapshot.vms if v.key == key.item), None)
        new = settle(step, record, outcome, self.now, retries=retries_of(self.snapshot, step, frozen))
        self.commit(self.journal.put([(key, new)]))

    def turn(self) -> bool:
        """One pass. False when decide says that the run has ended."""
        if self.lossy and self.data.draw(st.integers(0, 31), label="the source dies") == 0:
            self.source_up, self.lost_groups = False, frozenset(self.snapshot.items(Scope.GROUP))
        world = World(frozenset(self.running), self.source_up, self.lost_groups)
        before = past_no_return(self.snapshot, self.journal)
        decision = decide(self.snapshot, self.graph, self.journal, world, self.control, self.now)
        touched = self.journal.put(decision.writes)
        assert not (before and rolling_back(self.journal)), "rolled back past the point of no return"
        if self.data.draw(st.integers(0, 15), label="crash before the write") == 0:
            self.crash()
            return True
        self.commit(touched)
        if self.data.draw(st.integers(0, 15), label="crash after the write") == 0:
            self.crash()
            return True
        for key, step in decision.abandon:
            self.running.pop(key)
            record = self.journal.get(*key)
            assert record is not None
            lost = Outcome(Verdict.REJECTED, reason="DeadlineExceeded", message="late")
            self.commit(self.journal.put([(key, settle(step, record, lost, self.now, retries=0))]))
        for key, step in decision.calls:
            assert key not in self.running, "the same call twice at once"
            self.running[key] = step
        assert self.in_flight() <= self.snapshot.target_limits.concurrent_tasks
        if decision.wake is not None and not self.running:
            self.now = max(self.now, datetime.fromtimestamp(decision.wake, UTC))
        return not decision.finished

    def in_flight(self) -> int:
        return sum(
            step.side is Side.TARGET and step.call in {Call.REGISTER, Call.CONFIGURE, Call.POWER_ON}
            for step in self.running.values()
        )

    def run(self) -> RunPhase:
        for _ in range(4000):
            if not self.turn():
                return ending(self.snapshot, self.graph, self.journal).phase
            self.now += timedelta(seconds=self.data.draw(st.sampled_from(self.pace), label="time passes"))
            if self.running:
                self.answer()
        raise AssertionError("the run never ends")


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(snapshot=snapshots(), data=st.data())
def test_every_run_ends_and_does_nothing_twice(snapshot: Snapshot, data: st.DataObject) -> None:
    world = Simulated(snapshot, data, lossy=True)
    world.source_up = data.draw(st.booleans(), label="source up")
    world.lost_groups = data.draw(st.frozensets(st.sampled_from(snapshot.items(Scope.GROUP))), label="arrays lost")
    phase = world.run()
    assert phase in TERMINAL
    turned = rolling_back(world.journal)
    for end, count in world.effects.items():
        # The way back may do once more what the way there undid: the VM is registered and powered on again.
        assert count == 1, f"{end} took effect {count} times"
    assert turned or world.failed_over() or failures(snapshot, world.journal)
    if world.failed_over() and snapshot.fencing == "Required":
        assert source_released(snapshot, world.journal), "went on without proof"


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(snapshot=snapshots(), data=st.data())
def test_without_faults_every_vm_is_ready_whatever_crashes(snapshot: Snapshot, data: st.DataObject) -> None:
    world = Simulated(snapshot, data, lossy=False)
    assert world.run() in {RunPhase.SUCCEEDED, RunPhase.SUCCEEDED_WITH_WARNINGS}
    for frozen in snapshot.vms:
        assert vm_ready(world.journal, frozen.key) is True
        assert (("power on", frozen.key, Side.TARGET) in world.reached) is frozen.power_on


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(snapshot=snapshots(), data=st.data())
def test_a_cancel_before_the_point_of_no_return_brings_everything_back(snapshot: Snapshot, data: st.DataObject) -> None:
    world = Simulated(snapshot, data, lossy=False)
    for _ in range(data.draw(st.integers(0, 60), label="turns before the cancel")):
        if past_no_return(snapshot, world.journal) or not world.turn():
            break
        if world.running:
            world.answer()
    cancelled = not past_no_return(snapshot, world.journal)
    world.control = Control.CANCEL
    phase = world.run()
    if not cancelled:
        assert phase is not RunPhase.CANCELLED
        return
    if rolling_back(world.journal):
        assert phase is RunPhase.CANCELLED
        assert not world.failed_over()
        for frozen in snapshot.vms:
            assert ("unregister", frozen.key, Side.SOURCE) not in world.reached
            if frozen.was_on:
                assert ("shut down", frozen.key, Side.SOURCE) not in world.reached


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(snapshot=snapshots(), data=st.data())
def test_a_paused_run_sends_nothing_and_goes_on_afterwards(snapshot: Snapshot, data: st.DataObject) -> None:
    world = Simulated(snapshot, data, lossy=False)
    for _ in range(data.draw(st.integers(0, 40), label="turns before the pause")):
        if not world.turn():
            return
        if world.running:
            world.answer()
    world.control = Control.PAUSE
    sent = len(world.running)
    for _ in range(20):
        world.turn()
        assert len(world.running) <= sent
        if world.running:
            world.answer()
        sent = len(world.running)
    world.control = Control.RUN
    assert world.run() in {RunPhase.SUCCEEDED, RunPhase.SUCCEEDED_WITH_WARNINGS}
