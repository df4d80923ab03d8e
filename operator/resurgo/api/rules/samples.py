"""The smallest valid spec of each kind: what the cases of the rules are patches on."""

from collections.abc import Mapping
from typing import Any

SPECS: Mapping[str, Mapping[str, Any]] = {
    "Site": {
        "vcenter": {
            "url": "https://vcenter.berlin.example",
            "credentialsSecretRef": {"namespace": "resurgo-system", "name": "berlin-vcenter"},
        }
    },
    "ReplicationPair": {
        "adapter": {"type": "sra"},
        "sra": {"name": "dirarray"},
        "endpoints": [{"site": "berlin", "id": "array-ber"}, {"site": "leipzig", "id": "array-lpz"}],
    },
    "InventoryMapping": {"sites": ["berlin", "leipzig"]},
    "RecoveryHook": {"https": {"url": "https://dns.example/switch"}},
    "ProtectionGroup": {
        "protectedSite": "berlin",
        "recoverySite": "leipzig",
        "replication": {"pairRef": {"name": "ber-lpz"}, "consistencyGroups": ["cg-erp"]},
        "members": {"datastores": ["ds-erp-01"]},
    },
    "RecoveryPlan": {
        "protectedSite": "berlin",
        "recoverySite": "leipzig",
        "protectionGroups": [{"name": "erp"}],
        "inventoryMappingRef": {"name": "berlin-leipzig"},
    },
    "RecoveryRun": {"planRef": {"name": "erp"}, "type": "PlannedMigration"},
}
