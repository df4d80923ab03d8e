"""The workflows as tables of steps, and how they are looked up."""

from __future__ import annotations

from resurgo.domain.states import RunType
from resurgo.domain.steps import Step
from resurgo.domain.workflows import disaster_recovery, planned_migration, rollback

TABLES: dict[RunType, tuple[Step, ...]] = {
    RunType.PLANNED_MIGRATION: planned_migration.STEPS,
    RunType.DISASTER_RECOVERY: disaster_recovery.STEPS,
}
ROLLBACK = rollback.STEPS
