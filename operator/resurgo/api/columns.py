"""What `kubectl get` prints for each kind, beside the name."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its title, where its value stands, and whether only `-o wide` shows it."""

    name: str
    json_path: str
    description: str
    type: str = "string"
    wide: bool = False

    def dump(self) -> dict[str, Any]:
        """Return the column as a CRD writes it."""
        out = {"name": self.name, "type": self.type, "jsonPath": self.json_path, "description": self.description}
        return {**out, "priority": 1} if self.wide else out


def _condition(name: str, kind: str, description: str, *, wide: bool = False) -> Column:
    """Show the status of a condition, found by its type: its position in the list means nothing."""
    return Column(name, f'.status.conditions[?(@.type=="{kind}")].status', description, wide=wide)


_AGE = Column("Age", ".metadata.creationTimestamp", "Time since creation.", "date")
_READY = _condition("Ready", "Ready", "Whether it can be used.")
_REACHABLE = _condition("Reachable", "Reachable", "Whether it answers.")
_WHY = Column(
    "Message", '.status.conditions[?(@.type=="Ready")].message', "Why it is ready or not, and what to do.", wide=True
)

COLUMNS: Mapping[str, tuple[Column, ...]] = {
    "Site": (
        Column("URL", ".spec.vcenter.url", "The vCenter's address."),
        Column("Version", ".status.version", "The vCenter's version."),
        _REACHABLE,
        _READY,
        _AGE,
        _WHY,
    ),
    "ReplicationPair": (
        Column("Adapter", ".spec.adapter.type", "The adapter that drives the pair."),
        Column("From", ".spec.endpoints[0].site", "The first Site."),
        Column("To", ".spec.endpoints[1].site", "The second Site."),
        _REACHABLE,
        _READY,
        _AGE,
        _WHY,
    ),
    "InventoryMapping": (
        Column("From", ".spec.sites[0]", "The first Site."),
        Column("To", ".spec.sites[1]", "The second Site."),
        _READY,
        _AGE,
        _WHY,
    ),
    "RecoveryHook": (
        Column("URL", ".spec.https.url", "Where an HTTPS hook sends its request."),
        Column("Image", ".spec.job.image", "The image a Job hook runs."),
        Column("On Failure", ".spec.onFailure", "What a failure means for the stage."),
        Column("Timeout", ".spec.timeoutSeconds", "Seconds one attempt may take.", "integer"),
        _AGE,
    ),
    "ProtectionGroup": (
        Column("Role", ".status.replication.role", "The role of the copy at the active site."),
        Column("RPO", ".spec.rpoSeconds", "Seconds of data that may be lost.", "integer"),
        Column("Lag", ".status.replication.rpoLagSeconds", "Seconds of data that would be lost now.", "integer"),
        Column("VMs", ".status.virtualMachines", "Members.", "integer"),
        _READY,
        _AGE,
        Column("Active", ".status.activeSite", "The Site where the data is writable.", wide=True),
        Column("Link", ".status.replication.link", "What the replication is doing.", wide=True),
        _condition("RPO Met", "RPOMet", "Whether the lag is within the RPO.", wide=True),
        Column("Run", ".status.activeRun.name", "The run that holds the group.", wide=True),
        _WHY,
    ),
    "RecoveryPlan": (
        Column("Desired", ".spec.desiredState", "Where the VMs shall run."),
        Column("Active", ".status.activeSite", "The Site where they run."),
        _READY,
        _condition("In Sync", "InSync", "Whether the world is as desired."),
        Column("Run", ".status.activeRun.name", "The run under way."),
        Column("Last Test", ".status.lastSuccessfulTest.completionTime", "Time since a test went well.", "date"),
        _AGE,
        Column("Phase", ".status.phase", "Where the plan stands.", wide=True),
        Column(
            "Forecast RTO",
            ".status.forecast.recoveryTimeSeconds",
            "Seconds a failover would take.",
            "integer",
            wide=True,
        ),
        _WHY,
    ),
    "RecoveryRun": (
        Column("Plan", ".spec.planRef.name", "The plan that is executed."),
        Column("Type", ".spec.type", "What is done."),
        Column("Phase", ".status.phase", "Where the run stands."),
        Column("Step", ".status.currentStep", "The step it is in."),
        Column("Done", ".status.done", "Ready VMs of all."),
        Column("Started", ".status.startTime", "Time since it was accepted.", "date"),
        Column("RTO", ".status.achieved.recoveryTimeSeconds", "Seconds from request to last ready VM.", "integer"),
        Column("Request", ".spec.requestID", "The request it answers.", wide=True),
        Column("Requested By", ".status.requestedBy", "Who asked for it.", wide=True),
        Column("Approved By", ".status.approvedBy", "Who approved it.", wide=True),
        Column(
            "Message",
            '.status.conditions[?(@.type=="Succeeded")].message',
            "How it is going or how it ended.",
            wide=True,
        ),
    ),
}
"""The columns of each kind, in order."""
