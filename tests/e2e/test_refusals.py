"""What must not run is refused before anything is changed, in words that name the thing and the way out."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import yaml
from tests.e2e import acting, by_hand, objects
from tests.e2e.acting import Untouched, message_of, reason_of
from tests.e2e.conftest import StartLab
from tests.lab import arrays, manifests
from tests.lab.design import DeviceDesign, LabDesign, VmDesign
from tests.lab.lab import Lab, condition_of
from tests.lab.pki import Pki

pytestmark = pytest.mark.lab

DESIGN = LabDesign(
    devices=(
        DeviceDesign("ds-base-01", "cg-base"),
        DeviceDesign("ds-mixed-01", "cg-mixed"),
        DeviceDesign("ds-mute-01", "cg-mute"),
        DeviceDesign("ds-free-01", "cg-free"),
    ),
    folders=("base",),
    vms=(
        VmDesign("base-db", "ds-base-01", "base", networks=("VM Network", "Backup")),
        VmDesign("base-web", "ds-base-01", "base"),
        VmDesign("mixed-1", "ds-mixed-01", "base", power_on=False),
        VmDesign("mixed-2", "ds-mixed-01", "base"),
        VmDesign("mute-1", "ds-mute-01", "base", guest={"tools": False}),
    ),
    groups={"base": ("ds-base-01",), "mixed": ("ds-mixed-01",), "mute": ("ds-mute-01",)},
    plans=(),
    sync_seconds=None,
    poll_seconds=5,
)


@pytest.fixture(scope="module")
def lab(start_lab: StartLab) -> Lab:
    lab = start_lab(DESIGN)
    by_hand.add_disk(lab.protected, "mixed-1", "ds-free-01")
    for group in DESIGN.groups:
        acting.wait_for(lab, "protectiongroup", group, lambda g: g["status"].get("virtualMachines"), "members are read")
    return lab


def refused(lab: Lab, plan: dict[str, Any], reason: str, *names: str, state: str = "Refused") -> str:
    """Apply *plan*, wait for it to be judged, ask for recovery; returns the run's words, which an event repeats.

    *reason* must also be what the plan said before, and each of *names* be in both texts.
    """
    name, namespace = plan["metadata"]["name"], plan["metadata"]["namespace"]
    with Untouched(lab):
        lab.kube.apply(plan)
        judged = acting.settled(lab, name, namespace=namespace)
        judged = acting.wait_for(
            lab,
            "recoveryplan",
            name,
            lambda p: (reason_of(p, "Ready") or ("", "", ""))[:2] == ("False", reason),
            f"Ready is False for {reason}",
            namespace=namespace,
        )
        run = acting.over(lab, acting.recover(lab, name, namespace=namespace))
        assert state == run["status"]["phase"], run["status"]
        assert ("False", reason) == (reason_of(run, "Succeeded") or ())[:2]
        text = message_of(run, "Succeeded")
        assert "nothing was changed" in text
        assert [] == [n for n in names if n not in text or n not in message_of(judged, "Ready")], text
        told = acting.wait_event(lab, run["metadata"]["name"], reason, namespace)
        assert [] == [n for n in names if n not in told]
        acting.wait_event(lab, name, reason, namespace)
        stuck = acting.wait_for(
            lab,
            "recoveryplan",
            name,
            lambda p: (reason_of(p, "Stalled") or ("", "", ""))[:2] == ("True", f"Run{state}"),
            "the plan says that its run was refused",
            namespace=namespace,
        )
        assert "to try again set a new execution.requestID" in message_of(stuck, "InSync")
    return text


# -- the mapping -----------------------------------------------------------------------------------


def _without(entries: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    return [e for e in entries if e["from"] != name]


def test_a_network_without_a_mapping(lab: Lab):
    networks = _without(manifests.mapping(DESIGN)["spec"]["networks"], "Backup")
    lab.kube.apply(objects.mapping(lab, "no-network", networks=networks))
    plan = objects.plan("no-network", "base", mapping="no-network")
    text = refused(lab, plan, "MappingMissing", "network Backup", "base-db", "InventoryMapping no-network")
    assert "base-web" not in text


def test_a_folder_without_a_mapping(lab: Lab):
    folders = [{"from": "/berlin/vm/elsewhere", "to": "/leipzig/vm/base"}]
    lab.kube.apply(objects.mapping(lab, "no-folder", folders=folders))
    plan = objects.plan("no-folder", "base", mapping="no-folder")
    refused(lab, plan, "MappingMissing", "folder /berlin/vm/base", "base-db", "base-web", "InventoryMapping no-folder")


def test_a_resource_pool_without_a_mapping(lab: Lab):
    pools = [{"from": "/berlin/host/c1/Resources/gold", "to": "/leipzig/host/c2/Resources"}]
    lab.kube.apply(objects.mapping(lab, "no-pool", resourcePools=pools))
    plan = objects.plan("no-pool", "base", mapping="no-pool")
    refused(lab, plan, "MappingMissing", "resource pool /berlin/host/c1/Resources", "base-db", "base-web")


def test_a_network_that_is_gone_at_the_recovery_site(lab: Lab):
    networks = [{"from": "VM Network", "to": "DR Network"}, {"from": "Backup", "to": "DR Backup (old)"}]
    lab.kube.apply(objects.mapping(lab, "gone-network", networks=networks))
    plan = objects.plan("gone-network", "base", mapping="gone-network")
    refused(lab, plan, "NetworkNotFound", "leipzig", "DR Backup (old)", "correct the mapping")
    mapping = acting.wait_for(
        lab, "inventorymapping", "gone-network", lambda m: condition_of(m, "Ready") == "False", "it is not ready"
    )
    assert [{"site": "leipzig", "kind": "Network", "name": "DR Backup (old)"}] == mapping["status"]["unresolved"]


def test_a_folder_that_is_not_there_at_the_recovery_site(lab: Lab):
    folders = [{"from": "/berlin/vm/base", "to": "/leipzig/vm/basis"}]
    lab.kube.apply(objects.mapping(lab, "gone-folder", folders=folders))
    plan = objects.plan("gone-folder", "base", mapping="gone-folder")
    refused(lab, plan, "FolderNotFound", "/leipzig/vm/basis", "leipzig", "base-db", "create it or correct the mapping")


def test_a_mapping_that_does_not_exist(lab: Lab):
    refused(lab, objects.plan("no-mapping", "base", mapping="nobodys"), "MappingNotFound", "InventoryMapping nobodys")


# -- what the recovery site has already --------------------------------------------------------------


@pytest.fixture(scope="module")
def local_datastore(lab: Lab) -> str:
    """A datastore of leipzig's own, mounted on its hosts."""
    leipzig, berlin = DESIGN.sites[1], DESIGN.sites[0]
    arrays._administer(
        *("--init", lab.array(leipzig), "--array-id", leipzig.array_id, "--server", leipzig.nfs_server),
        *("--peer", lab.array(berlin), "--peer-id", berlin.array_id),
        *("--group", "cg-local", "--device", "ds-local-01", "--role", "source"),
    )
    with lab.recovery.connect() as service:
        for host in by_hand.find(service, "/leipzig/host/c2").host:
            spec = by_hand.vim.host.NasVolume.Specification(
                remoteHost="nfs-lpz.lab", remotePath="/cg-local/ds-local-01", localPath="ds-local-01"
            )
            spec.accessMode, spec.type = "readWrite", "NFS"
            host.configManager.datastoreSystem.CreateNasDatastore(spec)
    return "ds-local-01"


def test_a_vm_name_that_is_taken_at_the_recovery_site(lab: Lab, local_datastore: str):
    by_hand.create_vm(
        lab.recovery, "base-web", local_datastore, "/leipzig/vm/base", networks=("DR Network",), power_on=False
    )
    text = refused(lab, objects.plan("name-taken", "base"), "VirtualMachineNameTaken", "leipzig", "base-web")
    assert "base-db" not in text
    with lab.recovery.connect() as service:
        by_hand.finish(by_hand.all_vms(service)["base-web"].Destroy_Task())


def test_a_datastore_name_that_is_taken_at_the_recovery_site(lab: Lab, local_datastore: str):
    datastores = [{"from": "ds-base-01", "to": local_datastore}]
    lab.kube.apply(objects.mapping(lab, "store-taken", datastores=datastores))
    plan = objects.plan("store-taken", "base", mapping="store-taken")
    refused(lab, plan, "DatastoreNameTaken", "leipzig", local_datastore, "map the datastore to another name")


# -- the VMs ---------------------------------------------------------------------------------------


def test_a_guest_without_running_tools(lab: Lab):
    plan = objects.plan("mute", "mute")
    refused(lab, plan, "ToolsNotRunning", "mute-1", "start VMware Tools, or set shutdown.guest: false")


def test_a_disk_elsewhere_is_refused_where_the_group_says_block(lab: Lab):
    lab.patch("protectiongroup", "mixed", {"unprotectedMembers": "Block"})
    refused(lab, objects.plan("mixed-block", "mixed"), "UnprotectedFiles", "mixed-1", "datastore ds-free-01", "mixed")


def test_stages_that_wait_for_each_other(lab: Lab):
    stages = [
        {"name": "one", "dependsOn": ["two"], "virtualMachines": [{"name": "base-db"}]},
        {"name": "two", "dependsOn": ["one"], "virtualMachines": [{"name": "base-web"}]},
    ]
    refused(lab, objects.plan("circle", "base", stages=stages), "StageCycle", "'one'", "circle")


def test_vms_that_wait_for_each_other(lab: Lab):
    vms = [{"name": "base-db", "dependsOn": ["base-web"]}, {"name": "base-web", "dependsOn": ["base-db"]}]
    plan = objects.plan("vm-circle", "base", stages=[{"name": "one", "virtualMachines": vms}])
    refused(lab, plan, "DependencyCycle", "base-db", "base-web")


def test_a_stage_that_names_a_vm_nobody_has(lab: Lab):
    stages = [{"name": "one", "virtualMachines": [{"name": "base-bd"}]}]
    refused(lab, objects.plan("typo", "base", stages=stages), "StageMemberNotFound", "base-bd", "stage one")


# -- sites and arrays ------------------------------------------------------------------------------


@contextmanager
def wrong_password(lab: Lab) -> Iterator[None]:
    secret = manifests.vcenter_secret(lab.protected)
    wrong = {**secret, "stringData": {**secret["stringData"], "password": "stale-password"}}
    lab.kube.apply(wrong)
    acting.ring(lab, "site", "berlin")
    try:
        yield
    finally:
        lab.kube.apply(secret)
        acting.ring(lab, "site", "berlin")
        acting.wait_for(lab, "site", "berlin", lambda s: condition_of(s, "Ready") == "True", "berlin is ready again")


def test_a_wrong_password(lab: Lab):
    with wrong_password(lab):
        site = acting.wait_for(
            lab, "site", "berlin", lambda s: condition_of(s, "CredentialsValid") == "False", "the password is refused"
        )
        assert ("True", "False") == (condition_of(site, "Reachable"), condition_of(site, "Ready"))
        text = message_of(site, "CredentialsValid")
        assert "InvalidCredentials" == (reason_of(site, "CredentialsValid") or ())[1]
        assert "correct the Secret" in text
        assert "stale-password" not in text
        assert text == acting.wait_event(lab, "berlin", "InvalidCredentials", "default")
        refused(lab, objects.plan("password", "base"), "ProtectedSiteUnavailable", "site berlin", "correct the Secret")


@contextmanager
def other_certificate(lab: Lab) -> Iterator[None]:
    stranger = Pki(lab.folder / "stranger-pki").server("vcenter-berlin")
    lab.protected.admin.certificate(stranger.cert, stranger.key)
    lab.protected.admin.outage("drop")  # as when the services of a vCenter take another certificate: they start anew
    lab.protected.admin.outage("none")
    try:
        yield
    finally:
        folder = lab.pki.folder
        lab.protected.admin.certificate(folder / "vcenter-berlin.crt", folder / "vcenter-berlin.key")
        acting.wait_for(lab, "site", "berlin", lambda s: condition_of(s, "Ready") == "True", "berlin is ready again")


def test_a_certificate_that_has_changed(lab: Lab):
    with other_certificate(lab):
        site = acting.wait_for(
            lab,
            "site",
            "berlin",
            lambda s: (reason_of(s, "Ready") or ("", ""))[1] == "TrustFailed",
            "it is not trusted",
        )
        assert "False" == condition_of(site, "Reachable")
        text = message_of(site, "Ready")
        fingerprint = _fingerprint(lab)
        assert fingerprint in text
        assert fingerprint in acting.wait_event(lab, "berlin", "TrustFailed", "default")
        refused(lab, objects.plan("certificate", "base"), "ProtectedSiteUnavailable", "site berlin", fingerprint)


def _fingerprint(lab: Lab) -> str:
    path = lab.folder / "stranger-pki" / "vcenter-berlin.crt"
    argv = ["openssl", "x509", "-in", str(path), "-noout", "-fingerprint", "-sha256"]
    said = subprocess.run(argv, capture_output=True, text=True, check=True).stdout
    return said.strip().partition("=")[2]


def test_an_sra_nobody_installed(lab: Lab):
    made = manifests.pair(lab.folder, DESIGN)
    spec = {**made["spec"], "sra": {**made["spec"]["sra"], "name": "nosuch"}}
    with Untouched(lab):
        lab.kube.apply(objects.resource("ReplicationPair", "unknown-sra", spec, None))
        pair = acting.wait_for(
            lab, "replicationpair", "unknown-sra", lambda p: condition_of(p, "Ready") == "False", "it is not ready"
        )
        text = message_of(pair, "Ready")
        assert "nosuch" in text
        assert "installed: dirarray" in text
        reason = (reason_of(pair, "Ready") or ())[1]
        assert text == acting.wait_event(lab, "unknown-sra", reason, "default")
        lab.kube.apply(objects.group("unknown-sra", "ds-free-01", "cg-free", pair="unknown-sra"))
        lab.kube.apply(objects.plan("unknown-sra", "unknown-sra"))
        assert "unknown-sra" in message_of(_never_starts(lab, "unknown-sra"), "Ready")
    for kind in ("recoveryplan", "protectiongroup"):
        lab.kube.kubectl("delete", kind, "unknown-sra", "-n", lab.namespace)


def _never_starts(lab: Lab, plan: str) -> dict[str, Any]:
    """Nobody can say where its workloads are: no run is made, and the plan says why."""
    judged = acting.wait_for(
        lab, "recoveryplan", plan, lambda p: condition_of(p, "Ready") == "False", "the plan is not ready"
    )
    lab.patch("recoveryplan", plan, {"desiredState": "recovered"})
    judged = acting.wait_for(
        lab,
        "recoveryplan",
        plan,
        lambda p: p["status"].get("observedGeneration") == p["metadata"]["generation"],
        "the plan was looked at again",
    )
    assert ("Unknown", "WorldUnknown") == (reason_of(judged, "InSync") or ())[:2]
    assert [] == acting.runs(lab, plan)
    return judged


def test_a_consistency_group_no_array_has(lab: Lab):
    with Untouched(lab):
        lab.kube.apply(objects.group("ghost", "ds-free-01", "cg-ghost"), objects.plan("ghost", "ghost"))
        group = acting.wait_for(
            lab,
            "protectiongroup",
            "ghost",
            lambda g: (reason_of(g, "Replicating") or ("", ""))[1] == "ConsistencyGroupNotFound",
            "the consistency group is not found",
        )
        assert "cg-ghost" in message_of(group, "Replicating")
        assert "cg-ghost" in acting.wait_event(lab, "ghost", "ConsistencyGroupNotFound")
        assert "cg-ghost" in message_of(_never_starts(lab, "ghost"), "Ready")
    for kind in ("recoveryplan", "protectiongroup"):
        lab.kube.kubectl("delete", kind, "ghost", "-n", lab.namespace)


# -- tenants ---------------------------------------------------------------------------------------


def test_a_namespace_that_no_site_lets_in(lab: Lab):
    lab.kube.namespace("outsiders")
    lab.kube.apply(
        objects.mapping(lab, objects.MAPPING, namespace="outsiders"),
        objects.group("mine", "ds-free-01", "cg-free", namespace="outsiders"),
    )
    plan = objects.plan("mine", "mine", namespace="outsiders")
    text = refused(lab, plan, "AccessDenied", "Site berlin", "namespace outsiders", "spec.access")
    assert "mixed-1" not in text
    group = lab.kube.get("protectiongroup", "mine", "-n", "outsiders")
    assert ("False", "AccessDenied") == (reason_of(group, "Ready") or ())[:2]
    assert "virtualMachines" not in group["status"]
    assert [] == _kept(lab, "outsiders")
    acting.wait_event(lab, "mine", "AccessDenied", "outsiders")


def test_a_run_that_comes_together_with_its_group_is_judged_before_anything_is_read(lab: Lab):
    namespace = lab.kube.namespace("outsiders")
    run = {"planRef": {"name": "hasty"}, "type": "PlannedMigration"}
    with Untouched(lab):
        lab.kube.apply(
            objects.mapping(lab, objects.MAPPING, namespace=namespace),
            objects.group("hasty", "ds-free-01", "cg-free", namespace=namespace),
            objects.plan("hasty", "hasty", namespace=namespace),
            objects.resource("RecoveryRun", "hasty", run, namespace),
        )
        made = acting.over(lab, lab.kube.get("recoveryrun", "hasty", "-n", namespace))
        assert ("Refused", "AccessDenied") == (made["status"]["phase"], (reason_of(made, "Succeeded") or ("", ""))[1])
        assert [] == _kept(lab, namespace)


@pytest.mark.parametrize(
    ("name", "datastore", "consistency_group", "shared"),
    [
        ("same-group", "ds-free-01", "cg-base", "consistency group cg-base"),
        ("same-datastore", "ds-base-01", "cg-free", "datastore ds-base-01"),
    ],
)
def test_what_an_older_group_of_another_tenant_has(
    lab: Lab, name: str, datastore: str, consistency_group: str, shared: str
):
    lab.kube.namespace("tenant-b", manifests.LABELS)
    lab.kube.apply(
        objects.mapping(lab, objects.MAPPING, namespace="tenant-b"),
        objects.group(name, datastore, consistency_group, namespace="tenant-b"),
    )
    text = refused(lab, objects.plan(name, name, namespace="tenant-b"), "OwnedByAnother", shared)
    group = lab.kube.get("protectiongroup", name, "-n", "tenant-b")
    assert ("False", "OwnedByAnother") == (reason_of(group, "Ready") or ())[:2]
    assert shared in acting.wait_event(lab, name, "OwnedByAnother", "tenant-b")
    for told in (text, str(group["status"])):
        assert [] == [n for n in ("dr-demo", "base-db", "base-web", "ProtectionGroup base") if n in told]
    assert [] == _kept(lab, "tenant-b")
    assert "True" == condition_of(lab.get("protectiongroup", "base"), "Ready")


def _kept(lab: Lab, namespace: str) -> list[str]:
    """What the operator keeps in a namespace about its groups' members."""
    found = lab.kube.get("configmaps", "-n", namespace)["items"]
    return [c["metadata"]["name"] for c in found if c["metadata"]["name"].endswith(".resurgo.dev")]


# -- what the API server refuses by itself -----------------------------------------------------------


def test_a_disaster_recovery_that_does_not_acknowledge_data_loss(lab: Lab):
    lab.kube.apply(objects.plan("careless", "base"))
    acting.ready(lab, "careless")
    wish = {"desiredState": "recovered", "recovery": {"mode": "DisasterRecovery"}}
    with Untouched(lab), pytest.raises(RuntimeError, match="set acknowledgeDataLoss: true"):
        lab.patch("recoveryplan", "careless", wish)
    assert [] == acting.runs(lab, "careless")


GARBAGE = [
    ({"stages": "all of them"}, "spec.stages", "must be of type array"),
    ({"desiredState": "Recovered"}, "spec.desiredState", 'supported values: "protected", "recovered", "reprotected"'),
    ({"desiredSate": "recovered"}, "desiredSate", "unknown field"),
    ({"protectionGroups": []}, "spec.protectionGroups", "should have at least 1 items"),
    ({"recoverySite": "berlin"}, "spec", "differ"),
    ({"stages": [{"name": "a", "dependsOn": ["b"]}]}, "spec.stages", "dependsOn must name other stages of this plan"),
    ({"protectionGroups": [{"name": "../../etc"}]}, "spec.protectionGroups[0].name", "should match"),
]


@pytest.mark.parametrize(("spec", "where", "words"), GARBAGE, ids=[str(g[0])[:30] for g in GARBAGE])
def test_a_manifest_that_makes_no_sense(lab: Lab, spec: dict[str, Any], where: str, words: str):
    text = yaml.safe_dump(objects.plan("garbage", "base", **spec))
    done = lab.kube.kubectl("create", "--validate=strict", "-f", "-", input=text)
    assert 0 != done.returncode
    assert (True, True) == (where in done.stderr, words in done.stderr), done.stderr


# -- what may go on --------------------------------------------------------------------------------


def test_a_disk_elsewhere_is_a_warning_where_the_group_says_report(lab: Lab):
    lab.patch("protectiongroup", "mixed", {"unprotectedMembers": "Report"})
    lab.kube.apply(objects.plan("mixed-report", "mixed"))
    plan = acting.ready(lab, "mixed-report")
    assert ("True", "ReadyWithWarnings") == (reason_of(plan, "Ready") or ())[:2]
    assert [] == [n for n in ("mixed-1", "datastore ds-free-01") if n not in message_of(plan, "Ready")]
    group = lab.get("protectiongroup", "mixed")
    assert ("False", "UnprotectedFiles") == (reason_of(group, "MembersProtected") or ())[:2]
    assert 1 == group["status"]["unprotectedVirtualMachines"]
    run = acting.over(lab, acting.recover(lab, "mixed-report"))
    assert run["status"]["phase"] in {"SucceededWithWarnings", "Failed"}, run["status"]
    assert "poweredOn" == lab.recovery.admin.vms()["mixed-2"]["powerState"]
    assert ["mixed-1"] == [f["virtualMachine"] for f in run["status"]["failures"]]
