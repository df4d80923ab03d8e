"""The rules of the API in CEL, which the API server enforces: no webhook anywhere.

Each rule stands beside its message, a case it accepts and a case it refuses; the tests try both on a real API server.
"""

from resurgo.api.rules.inventory_mapping import INVENTORY_MAPPING_RULES
from resurgo.api.rules.protection_group import PROTECTION_GROUP_RULES
from resurgo.api.rules.recovery_hook import RECOVERY_HOOK_RULES
from resurgo.api.rules.recovery_plan import RECOVERY_PLAN_RULES
from resurgo.api.rules.recovery_run import RECOVERY_RUN_RULES
from resurgo.api.rules.replication_pair import REPLICATION_PAIR_RULES
from resurgo.api.rules.rule import Case, Rule
from resurgo.api.rules.site import SITE_RULES

RULES: tuple[Rule, ...] = (
    *SITE_RULES,
    *REPLICATION_PAIR_RULES,
    *INVENTORY_MAPPING_RULES,
    *RECOVERY_HOOK_RULES,
    *PROTECTION_GROUP_RULES,
    *RECOVERY_PLAN_RULES,
    *RECOVERY_RUN_RULES,
)
"""All rules of all kinds."""

__all__ = ["RULES", "Case", "Rule"]
