"""Every reason code of the code is explained in docs/operations.md, and no reason is explained that is gone."""

from __future__ import annotations

import re

from tests.docs.reasons import ROOT, condition_types, reasons

from resurgo.adapters.vsphere.privileges import NEEDED
from resurgo.domain.states import TERMINAL, RunPhase

TEXT = (ROOT / "docs" / "operations.md").read_text()
BAD_ENDS = TERMINAL - {RunPhase.SUCCEEDED, RunPhase.SUCCEEDED_WITH_WARNINGS}
SECTION = TEXT.partition("\n## Reasons\n")[2]


def explained() -> set[str]:
    """Reasons in the first column of the tables."""
    rows = [line for line in SECTION.splitlines() if line.startswith("|")]
    return {word for row in rows for word in re.findall(r"`([A-Z][A-Za-z]+)`", row.split("|")[1])}


def in_code() -> dict[str, str]:
    """Also the one family that is put together: how the last run ended."""
    return reasons() | {f"Run{phase}": "engine/recovery_plan.py" for phase in BAD_ENDS}


def test_every_reason_in_the_code_is_explained() -> None:
    missing = {reason: where for reason, where in in_code().items() if reason not in explained()}
    assert {} == missing


def test_every_reason_that_is_explained_is_in_the_code() -> None:
    assert set() == explained() - in_code().keys()


def test_the_search_finds_reasons_of_every_kind_of_place() -> None:
    kinds = {
        "OwnedByAnother",  # a returned pair
        "Unreachable",  # the class attribute of an error
        "TestRunning",  # an argument
        "TrustFailed",  # a constant
        "NoCompatibleHost",  # the table of faults
        "QuestionPending",  # a keyword
        "ReadyWithWarnings",  # one of two
    }
    assert kinds <= reasons().keys()


def test_the_privileges_that_are_checked_are_those_that_are_documented() -> None:
    assert set(NEEDED) == set(re.findall(r"`([A-Z][A-Za-z]+(?:\.[A-Z][A-Za-z]+)+)`", TEXT))


def test_every_type_of_condition_is_explained() -> None:
    section = TEXT.partition("\n## Conditions\n")[2].partition("\n## ")[0]
    assert condition_types() == set(re.findall(r"`([A-Z][A-Za-z]+)`", "".join(r.split("|")[2] for r in _rows(section))))


def _rows(section: str) -> list[str]:
    return [line for line in section.splitlines() if line.startswith("| ")]
