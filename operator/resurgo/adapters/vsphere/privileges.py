"""Who answers, and which of the rights we need there are missing."""

from __future__ import annotations

from typing import Final

from resurgo.adapters.vsphere.login import Api
from resurgo.domain.ports import SiteFacts

NEEDED: Final = (
    "System.Read",
    "System.View",
    "Datastore.Browse",
    "Datastore.FileManagement",
    "Host.Config.Storage",
    "Network.Assign",
    "Resource.AssignVMToPool",
    "VirtualMachine.Config.AdvancedConfig",
    "VirtualMachine.Config.EditDevice",
    "VirtualMachine.Interact.AnswerQuestion",
    "VirtualMachine.Interact.DeviceConnection",
    "VirtualMachine.Interact.PowerOff",
    "VirtualMachine.Interact.PowerOn",
    "VirtualMachine.Inventory.Register",
    "VirtualMachine.Inventory.Unregister",
    "VirtualMachine.Provisioning.Customize",
)


def read_facts(api: Api) -> SiteFacts:
    """Ask now, not what the login was told: vCenters are upgraded and rights change. Blocking."""
    about = api.bind_root().RetrieveContent().about
    authorization = api.bind(api.content.authorizationManager)
    root = api.content.rootFolder
    results = authorization.FetchUserPrivilegeOnEntities([root], api.user)
    held = {privilege for result in results for privilege in result.privileges}
    return SiteFacts(
        instance_uuid=about.instanceUuid,
        version=about.version,
        missing_privileges=tuple(privilege for privilege in NEEDED if privilege not in held),
    )
