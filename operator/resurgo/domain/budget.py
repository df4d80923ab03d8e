"""How much may be in flight, from the journal and the inventory: recomputed on each pass, never counted in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from resurgo.domain.journal import Journal
from resurgo.domain.snapshot import Snapshot
from resurgo.domain.states import StepState
from resurgo.domain.steps import Call, Scope, Side, Step

_UNLIMITED = frozenset({Call.WAIT_READY, Call.SHUT_DOWN})  # they wait for a guest, not for a vCenter task


@dataclass
class Budget:
    """What is free for one pass. `take` answers and, on yes, uses it up."""

    tasks: dict[Side, int]
    power_ons: Counter[str] = field(default_factory=Counter)  # host id -> in flight
    power_on_limits: Mapping[Side, int] = field(default_factory=dict)

    def take(self, step: Step, host: str) -> bool:
        """Whether one more call of *step* on a VM of *host* may start. Waiting for a guest costs nothing."""
        if step.scope is not Scope.VM or step.call in _UNLIMITED:
            return True
        if self.tasks[step.side] <= 0:
            return False
        if step.call is Call.POWER_ON and host:
            if self.power_ons[host] >= self.power_on_limits[step.side]:
                return False
            self.power_ons[host] += 1
        self.tasks[step.side] -= 1
        return True


def free(snapshot: Snapshot, journal: Journal, steps: Mapping[str, Step], hosts: Mapping[str, str]) -> Budget:
    """What the sites' limits leave beside the open intents. *hosts*: VM key -> host id, where known."""
    budget = Budget(
        {Side.SOURCE: snapshot.source_limits.concurrent_tasks, Side.TARGET: snapshot.target_limits.concurrent_tasks},
        power_on_limits={
            Side.SOURCE: snapshot.source_limits.power_ons_per_host,
            Side.TARGET: snapshot.target_limits.power_ons_per_host,
        },
    )
    for key, record in journal.all():
        step = steps.get(key.step)
        if step is None or record.state is not StepState.RUNNING or record.retry_at:
            continue
        if step.scope is Scope.VM and step.call not in _UNLIMITED:
            budget.tasks[step.side] -= 1
            if step.call is Call.POWER_ON and (host := hosts.get(key.item)):
                budget.power_ons[host] += 1
    return budget
