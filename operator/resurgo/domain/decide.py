"""decide(): what a run does next. Pure: the same snapshot, journal, world and time give the same decision.

One pass looks at every step of the table in force (the workflow's, or the rollback's) and every item of it, and says
which records to write and which calls to send once they are written. It never looks at what was sent before, only at
the journal; a process that starts in the middle decides as one that has been there all along.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from resurgo.domain import budget as budgets
from resurgo.domain.graph import Graph, StageState, stage_state
from resurgo.domain.journal import Journal, OpKey, Record, intent
from resurgo.domain.snapshot import FrozenVm, Snapshot
from resurgo.domain.states import Control, StepState
from resurgo.domain.steps import Call, OnError, Order, Scope, Side, Step
from resurgo.domain.workflows import ROLLBACK, TABLES

ROLL_BACK = OpKey("RollBack", "run")  # its record turns the run round; reason and message say why
CANCELLED = "Cancelled"


@dataclass(frozen=True, slots=True)
class World:
    """What a pass knows beyond the journal."""

    running: frozenset[OpKey] = frozenset()  # calls this process has in flight
    source_reachable: bool = True  # its vCenter
    lost_groups: frozenset[str] = frozenset()  # consistency groups whose array at the source does not answer
    hosts: Mapping[str, str] = field(default_factory=dict)  # VM key -> host id at the site that matters


@dataclass
class Decision:
    writes: list[tuple[OpKey, Record]] = field(default_factory=list)
    calls: list[tuple[OpKey, Step]] = field(default_factory=list)  # to send when the writes are on disk
    abandon: list[tuple[OpKey, Step]] = field(default_factory=list)  # past their deadline: stop waiting for them
    wake: float | None = None  # epoch seconds of the next time that matters, None = only an event does
    finished: bool = False  # nothing is left to do or to wait for


def table(snapshot: Snapshot, journal: Journal) -> tuple[Step, ...]:
    """The steps in force."""
    return ROLLBACK if rolling_back(journal) else TABLES[snapshot.type]


def all_steps(snapshot: Snapshot) -> dict[str, Step]:
    return {s.name: s for s in (*TABLES[snapshot.type], *ROLLBACK)}


def rolling_back(journal: Journal) -> bool:
    return journal.get(*ROLL_BACK) is not None


def past_no_return(snapshot: Snapshot, journal: Journal) -> bool:
    return any(step.no_return and journal.begun(step.name) for step in TABLES[snapshot.type])


def error_rule(step: Step, snapshot: Snapshot) -> OnError:
    """What an error of *step* means; with required fencing nothing at the source is tolerated."""
    if step.on_error is OnError.TOLERATE and snapshot.fencing == "Required":
        return OnError.ROLL_BACK
    return step.on_error


def decide(
    snapshot: Snapshot, graph: Graph, journal: Journal, world: World, control: Control, now: datetime
) -> Decision:
    """The next moves of a run. Empty and not finished means: wait for a call to end, or for `wake`."""
    turn = _turn_round(snapshot, journal, control, now)
    if turn is not None:
        return Decision(writes=[(ROLL_BACK, turn)], wake=now.timestamp())
    return _Pass(snapshot, graph, journal, world, control, now).run()


def _turn_round(snapshot: Snapshot, journal: Journal, control: Control, now: datetime) -> Record | None:
    """The record that begins the rollback, if this is the moment for it."""
    if rolling_back(journal) or past_no_return(snapshot, journal):
        return None
    if control is Control.CANCEL:
        return Record(
            StepState.DONE, now.timestamp(), reason=CANCELLED, message="cancelled before the point of no return"
        )
    for step in TABLES[snapshot.type]:
        if error_rule(step, snapshot) is not OnError.ROLL_BACK:
            continue
        for item in snapshot.items(step.scope):
            record = journal.get(step.name, item)
            if record is not None and record.state is StepState.FAILED:
                message = f"{step.name} of {label(snapshot, item)}: {record.message}"
                return Record(StepState.DONE, now.timestamp(), reason=record.reason, message=message)
    return None


def label(snapshot: Snapshot, item: str) -> str:
    """The item in users' words."""
    for vm in snapshot.vms:
        if vm.key == item:
            return f"VM {vm.name}"
    for datastore in snapshot.datastores:
        if datastore.key == item:
            return f"datastore {datastore.name}"
    for group in snapshot.groups:
        if group.key == item:
            return f"consistency group {group.id}"
    return "the run"


class _Pass:
    """One pass over the table. Lives for one call of `decide`."""

    def __init__(
        self, snapshot: Snapshot, graph: Graph, journal: Journal, world: World, control: Control, now: datetime
    ) -> None:
        self.snapshot, self.graph, self.journal, self.world, self.now = snapshot, graph, journal, world, now
        self.steps = table(snapshot, journal)
        self.issuing = control is not Control.PAUSE and not self._draining()
        self.vms = {v.key: v for v in snapshot.vms}
        self.budget = budgets.free(snapshot, journal, all_steps(snapshot), world.hosts)
        self.decision = Decision()
        self.waiting = bool(world.running)
        self._passed: dict[str, StageState] = {}
        self._may: list[tuple[Step, str]] = []  # what may begin, if the budget has room for it

    def _draining(self) -> bool:
        """A rollback starts only when every forward call has ended: it must not race with what it undoes."""
        forward = {s.name for s in TABLES[self.snapshot.type]}
        return rolling_back(self.journal) and any(key.step in forward for key in self.world.running)

    def run(self) -> Decision:
        for step in self.steps:
            if not self._step(step):
                break
        self._begin_most_urgent()
        self.decision.finished = not (self.waiting or self.decision.writes or self.decision.calls)
        return self.decision

    def _step(self, step: Step) -> bool:
        """Handle every item of *step*. False: a failure here lets nothing later begin."""
        blocked = not all(self._complete(needed) for needed in step.needs)
        alive = True
        for item in self._order(step):
            record = self.journal.get(step.name, item)
            if record is None:
                if not blocked and self._begin(step, item):
                    self.waiting = True
            elif record.settled:
                stops = error_rule(step, self.snapshot) in {OnError.STOP, OnError.ROLL_BACK}
                alive = alive and not (stops and record.state is StepState.FAILED)
            else:
                self.waiting = True
                self._continue(step, item, record)
        return alive

    def _order(self, step: Step) -> Iterator[str]:
        items = (i for i in self.snapshot.items(step.scope) if self._applies(step, i))
        return reversed(list(items)) if step.order is Order.REVERSED else items

    def _applies(self, step: Step, item: str) -> bool:
        """Rollback steps only touch what was begun, and never power on what was off."""
        if step.undoes:
            records = [self.journal.get(name, item) for name in step.undoes]
            if not any(r is not None and r.tried for r in records):
                return False
        return not (step.name == "PowerBackOn" and not self.vms[item].was_on)

    def _complete(self, name: str) -> bool:
        """Every item of the step is settled, and well where the step's errors stop the run."""
        step = next((s for s in self.steps if s.name == name), None)
        if step is None:
            return True
        rule = error_rule(step, self.snapshot)
        for item in self.snapshot.items(step.scope):
            if not self._applies(step, item):
                continue
            record = self.journal.get(name, item)
            if record is None or not record.settled:
                return False
            if rule in {OnError.STOP, OnError.ROLL_BACK} and record.state is StepState.FAILED:
                return False
        return True

    def _continue(self, step: Step, item: str, record: Record) -> None:
        """An intent without a result: wait for its call, give it up at its deadline, or repeat it."""
        key, stamp = OpKey(step.name, item), self.now.timestamp()
        skipped = self._unreachable(step, item)
        if key in self.world.running:
            if skipped or stamp >= record.started + step.deadline + _GRACE:
                self.decision.abandon.append((key, step))
            else:
                self._wake(record.started + step.deadline + _GRACE)
        elif skipped:
            state = self._given_up(step)
            self._write(key, replace(record, state=state, ended=stamp, reason=skipped[0], message=skipped[1]))
        elif not self.issuing:
            return
        elif stamp < record.retry_at:
            self._wake(record.retry_at)
        elif self.budget.take(step, self.world.hosts.get(item, "")) or not record.retry_at:
            # An open intent of another process is in the budget already.
            self._send(key, step, intent(self.now, record))

    def _begin(self, step: Step, item: str) -> bool:
        """Start an item if everything allows it. True if it still has to be waited for."""
        key = OpKey(step.name, item)
        skip = self._skip(step, item)
        if skip is not None:
            stamp, state = self.now.timestamp(), StepState.SKIPPED
            if skip == self._unreachable(step, item):
                state = self._given_up(step)
            self._write(key, Record(state, stamp, stamp, attempt=0, reason=skip[0], message=skip[1]))
            return True
        if step.after:
            before = self.journal.get(step.after, item)
            if before is None or not before.settled:
                return False
        if step.scope is Scope.VM and not self._turn(step, self.vms[item]):
            return False
        if self.issuing:
            self._may.append((step, item))
        return True

    def _begin_most_urgent(self) -> None:
        """Spend the budget on VMs of early stages first, and there on those that are nearest to ready."""
        place = {step.name: number for number, step in enumerate(self.steps)}

        def urgency(candidate: tuple[Step, str]) -> tuple[int, int]:
            step, item = candidate
            vm = self.vms.get(item)
            return (len(self.graph.before[vm.stage]) if vm is not None else 0, -place[step.name])

        for step, item in sorted(self._may, key=urgency):
            if self.budget.take(step, self.world.hosts.get(item, "")):
                self._send(OpKey(step.name, item), step, intent(self.now, None))

    def _skip(self, step: Step, item: str) -> tuple[str, str] | None:
        """Reason and message if this item's step will never be done."""
        if unreachable := self._unreachable(step, item):
            return unreachable
        if step.on_error is OnError.TOLERATE and self.snapshot.fencing == "Skip":
            return "FencingSkipped", "the plan says not to touch the source"
        if step.after and (before := self.journal.get(step.after, item)) is not None:
            if before.state is StepState.FAILED:
                return "DependencyFailed", f"{step.after} failed"
            if before.state is StepState.SKIPPED:
                return before.reason, before.message
        if step.call is Call.POWER_ON and not rolling_back(self.journal):
            return self._skip_power_on(self.vms[item])
        return None

    def _skip_power_on(self, vm: FrozenVm) -> tuple[str, str] | None:
        if not vm.power_on:
            return "NotWanted", "the plan keeps this VM powered off"
        for needed in vm.depends_on:
            if self._ready(needed) is False:
                return "DependencyFailed", f"VM {self.vms[needed].name} did not become ready"
        for stage in self.graph.before[vm.stage]:
            if self._stage(stage) is StageState.HALTED:
                return "StageHalted", f"stage {stage} did not reach its quorum"
        return None

    def _unreachable(self, step: Step, item: str) -> tuple[str, str] | None:
        """Why a tolerated step at the source will not be tried: a vCenter and an array are lost apart."""
        if step.side is not Side.SOURCE or step.on_error is not OnError.TOLERATE:
            return None
        if step.scope is Scope.GROUP:
            lost, what = item in self.world.lost_groups, "array"
        else:
            lost, what = not self.world.source_reachable, "vCenter"
        if not lost:
            return None
        text = f"the {what} of site {self.snapshot.source} does not answer"
        if self._given_up(step) is StepState.FAILED:
            text += ": make sure that nothing runs there, then set recovery.fencing to BestEffort and ask again"
        return "SourceUnreachable", text

    def _given_up(self, step: Step) -> StepState:
        """What a step at an unreachable source becomes: where nothing is tolerated it has failed."""
        return StepState.SKIPPED if error_rule(step, self.snapshot) is OnError.TOLERATE else StepState.FAILED

    def _turn(self, step: Step, vm: FrozenVm) -> bool:
        """Whether the order of stages and VMs allows *vm* now."""
        match step.order:
            case Order.ANY:
                return True
            case Order.REVERSED:
                later = [v.key for s in self.graph.after[vm.stage] for v in self.graph.vms_of[s]]
                return self._all_settled(step.name, [*later, *self.graph.dependents.get(vm.key, ())])
            case Order.STAGES if rolling_back(self.journal):
                earlier = [
                    v.key
                    for s in self.graph.before[vm.stage]
                    for v in self.graph.vms_of[s]
                    if self._applies(step, v.key)
                ]
                return self._all_settled(step.name, earlier)
            case Order.STAGES:
                stages = all(self._stage(s) is StageState.PASSED for s in self.graph.before[vm.stage])
                return stages and all(self._ready(needed) for needed in vm.depends_on)

    def _all_settled(self, step: str, items: list[str]) -> bool:
        return all((r := self.journal.get(step, i)) is not None and r.settled for i in items)

    def _ready(self, vm: str) -> bool | None:
        return vm_ready(self.journal, vm)

    def _stage(self, name: str) -> StageState:
        if name not in self._passed:
            vms = self.graph.vms_of[name]
            outcome = [self._ready(v.key) for v in vms]
            self._passed[name] = stage_state(
                self.graph.stages[name],
                total=len(vms),
                ready=sum(o is True for o in outcome),
                settled=sum(o is not None for o in outcome),
            )
        return self._passed[name]

    def _write(self, key: OpKey, record: Record) -> None:
        self.decision.writes.append((key, record))

    def _send(self, key: OpKey, step: Step, record: Record) -> None:
        self._write(key, record)
        self.decision.calls.append((key, step))

    def _wake(self, stamp: float) -> None:
        self.decision.wake = stamp if self.decision.wake is None else min(stamp, self.decision.wake)


_GRACE = 5.0  # seconds a call may overrun its deadline: its own time limit should end it, with a better message


def vm_ready(journal: Journal, vm: str) -> bool | None:
    """True: ready, or left off as the plan wants. False: it will not become ready. None: not known yet."""
    ready = journal.get("Ready", vm)
    if ready is not None and ready.settled:
        return ready.good or ready.reason == "NotWanted"
    return None
