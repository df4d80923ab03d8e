"""A lab for crashes: many plans, two operator processes, and what an undisturbed run of each kind does."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field

import pytest
from tests.crash import effects, runs, trouble
from tests.crash.design import many
from tests.crash.eyes import Eyes
from tests.crash.replicas import Replicas
from tests.e2e import acting
from tests.lab.lab import Lab, condition_of
from tests.lab.toolchain import Toolchain
from tests.lab.waiting import DeadlineError, wait_until


@dataclass
class Undisturbed:
    """What a run without trouble did, and what it left."""

    effects: effects.Counts
    place: runs.Obj


@dataclass
class Crash:
    """A lab, its operators, and what is to be compared with."""

    lab: Lab
    eyes: Eyes
    operators: Replicas
    _free: list[str]
    _undisturbed: dict[str, Undisturbed] = field(default_factory=dict)

    def plan(self) -> str:
        """A plan that no test has used yet."""
        return self._free.pop(0)

    def undisturbed(self, type_: str) -> Undisturbed:
        """What a run of *type_* does when nothing happens, from a run of that kind."""
        if type_ not in self._undisturbed:
            plan = self.plan()
            run = runs.end(self.lab, runs.begin(self.lab, plan, type_))
            assert "Succeeded" == run["status"]["phase"], runs.phase(run)
            self._undisturbed[type_] = Undisturbed(effects.effects(self.lab, plan), runs.place(self.lab, plan))
        return self._undisturbed[type_]

    def wait_step(self, run: str, step: str) -> None:
        """Return as soon as the journal of *run* first shows *step*."""

        def begun() -> bool:
            self.operators.tend()
            return step in self.eyes.steps(run)

        wait_until(begun, f"run {run} begins {step}; log: {self.lab.operator.log}", seconds=120, every=0.005)

    def over_within(self, run: str, seconds: float) -> bool:
        """Whether *run* ends within *seconds*; operators that have ended by themselves are replaced meanwhile."""

        def over() -> bool:
            self.operators.tend()
            return bool(self.lab.get("recoveryrun", run).get("status", {}).get("phase") in acting.OVER)

        with contextlib.suppress(DeadlineError):
            return wait_until(over, f"run {run} ends", seconds=seconds)
        return False

    def assert_as_undisturbed(self, plan: str, type_: str, run: str, *, seconds: float = 120) -> runs.Obj:
        """The run succeeds, nothing was done more or less often, and everything is where it belongs."""
        self.over_within(run, seconds)
        ended = runs.end(self.lab, run, seconds=10)
        assert "Succeeded" == ended["status"]["phase"], runs.phase(ended)
        wanted = self.undisturbed(type_)
        runs.wait_place(self.lab, plan, wanted.place)
        found = effects.effects(self.lab, plan)
        assert wanted.effects == found, {
            "too often": effects.repeats(wanted.effects, found),
            "missing": effects.missing(wanted.effects, found),
        }
        return ended

    def assert_recovered(self, plan: str, run: str) -> None:
        """A disaster recovery has succeeded, if need be with less done at the source; nothing was done twice."""
        self.over_within(run, 120)
        ended = runs.end(self.lab, run, seconds=10)
        fenced = condition_of(ended, "SourceFenced")
        wanted = "Succeeded" if fenced == "True" else "SucceededWithWarnings"
        assert wanted == ended["status"]["phase"], runs.phase(ended)
        undisturbed = self.undisturbed(runs.DISASTER)
        assert undisturbed.place["vms"] == runs.there(self.lab, plan)
        assert {} == effects.repeats(undisturbed.effects, effects.effects(self.lab, plan))


@pytest.fixture(scope="session")
def crash(
    request: pytest.FixtureRequest, toolchain: Toolchain, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Crash]:
    """One lab for all these tests, with as many plans as they need: every run needs one that nobody has used."""
    mine = [item for item in request.session.items if "crash" in getattr(item, "fixturenames", ())]
    many_runs = [item for item in mine if "random" in item.name]
    names = tuple(f"p{number:02}" for number in range(2 + len(mine) + 3 * len(many_runs)))
    lab = Lab(toolchain, tmp_path_factory.mktemp("crash"), many(names))
    with ExitStack() as open_:
        open_.callback(lab.stop)
        lab.start(operator=False)
        eyes = Eyes(lab.kube, lab.namespace)
        open_.callback(eyes.close)
        operators = Replicas(lab, eyes)
        open_.callback(operators.stop)
        yield Crash(lab, eyes, operators.start(), list(names))


@pytest.fixture(autouse=True)
def _calm_afterwards(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "crash" in request.fixturenames:
        trouble.calm(request.getfixturevalue("crash").lab)
