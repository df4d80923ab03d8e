"""The rules of RecoveryHook."""

from resurgo.api.rules.rule import Case, Rule
from resurgo.api.rules.site import HTTPS, HTTPS_MESSAGE

RECOVERY_HOOK_RULES = (
    Rule(
        kind="RecoveryHook",
        name="a hook is one thing",
        at="spec",
        expression="[has(self.job), has(self.https)].exists_one(x, x)",
        message="give exactly one of job and https",
        accept=Case({"https": None, "job": {"image": "registry.example/check-db:1"}}),
        reject=Case({"job": {"image": "registry.example/check-db:1"}}),
    ),
    Rule(
        kind="RecoveryHook",
        name="a hook calls https only",
        at="spec.https.url",
        expression=HTTPS,
        message=HTTPS_MESSAGE,
        accept=Case({"https": {"url": "https://dns.example:8443/switch?zone=erp"}}),
        reject=Case({"https": {"url": "http://dns.example/switch"}}),
    ),
)
