"""One suite for the Kube port, on the fake and on the real API server."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator

import pytest
from tests.fakes.kube import FakeKube

from resurgo.adapters.kube.client import KubeClient, load
from resurgo.adapters.kube.login import Login
from resurgo.domain.errors import Conflict, Missing, NotAllowed, NotSupported, OutcomeUnknown, Rejected, Unreachable
from resurgo.domain.ports import Key, Kube, Obj

FINALIZER = "resurgo.dev/settled"


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.lab)])
async def kube(request: pytest.FixtureRequest) -> AsyncIterator[Kube]:
    if request.param == "fake":
        yield FakeKube()
        return
    client = await load(request.getfixturevalue("apiserver").kubeconfig("admin"))
    try:
        yield client
    finally:
        await client.aclose()


@pytest.fixture
async def namespace(kube: Kube) -> str:
    name = f"kube-{uuid.uuid4().hex[:8]}"
    await kube.create("namespaces", {"metadata": {"name": name}})
    return name


def hook(namespace: str, name: str = "check", **metadata: object) -> Obj:
    """The smallest of our kinds without a loop; the API server takes its spec as it is."""
    return {
        "metadata": {"namespace": namespace, "name": name, **metadata},
        "spec": {"http": {"url": "https://hooks.example/check"}, "timeoutSeconds": 30},
    }


def run(namespace: str, name: str = "r1") -> Obj:
    return {
        "metadata": {"namespace": namespace, "name": name},
        "spec": {"planRef": {"name": "erp"}, "type": "Test"},
        "status": {"phase": "Running"},
    }


def config(namespace: str, name: str, labels: dict[str, str] | None = None) -> Obj:
    return {"metadata": {"namespace": namespace, "name": name, "labels": labels or {}}, "data": {"a": "1", "b": "2"}}


def key_of(plural: str, obj: Obj) -> Key:
    return Key(plural, obj["metadata"].get("namespace"), obj["metadata"]["name"])


async def test_what_is_created_can_be_read_with_its_kind_and_identity(kube: Kube, namespace: str) -> None:
    made = await kube.create("configmaps", config(namespace, "one"))
    read = await kube.get(key_of("configmaps", made))
    assert made == read
    assert ("v1", "ConfigMap") == (read["apiVersion"], read["kind"])
    assert read["metadata"]["uid"]
    assert read["metadata"]["resourceVersion"]


async def test_an_absent_object_is_missing(kube: Kube, namespace: str) -> None:
    for key in (
        Key("configmaps", namespace, "none"),
        Key("recoveryruns", namespace, "none"),
        Key("sites", None, "none"),
    ):
        with pytest.raises(Missing, match="none"):
            await kube.get(key)
        with pytest.raises(Missing):
            await kube.patch(key, {"metadata": {"labels": {"a": "b"}}})


async def test_a_second_create_of_the_same_name_conflicts(kube: Kube, namespace: str) -> None:
    await kube.create("configmaps", config(namespace, "one"))
    with pytest.raises(Conflict) as caught:
        await kube.create("configmaps", config(namespace, "one"))
    assert "AlreadyExists" == caught.value.reason


async def test_lists_go_by_namespace_and_labels_and_name_their_kind(kube: Kube, namespace: str) -> None:
    for name, labels in (("one", {"set": "x"}), ("two", {"set": "x", "also": "y"}), ("three", {"set": "z"})):
        await kube.create("configmaps", config(namespace, name, labels))
    found = await kube.list("configmaps", namespace=namespace, labels={"set": "x"})
    assert {"one", "two"} == {obj["metadata"]["name"] for obj in found}
    assert {("v1", "ConfigMap")} == {(obj["apiVersion"], obj["kind"]) for obj in found}
    everywhere = await kube.list("configmaps", labels={"also": "y"})
    assert namespace in {obj["metadata"]["namespace"] for obj in everywhere}


async def test_a_merge_patch_adds_replaces_and_removes(kube: Kube, namespace: str) -> None:
    made = await kube.create("configmaps", config(namespace, "one"))
    patched = await kube.patch(key_of("configmaps", made), {"data": {"a": "9", "b": None, "c": "3"}})
    assert {"a": "9", "c": "3"} == patched["data"]
    assert made["metadata"]["resourceVersion"] != patched["metadata"]["resourceVersion"]


async def test_a_patch_with_an_old_version_conflicts_and_changes_nothing(kube: Kube, namespace: str) -> None:
    made = await kube.create("configmaps", config(namespace, "one"))
    key, old = key_of("configmaps", made), made["metadata"]["resourceVersion"]
    newer = await kube.patch(key, {"data": {"a": "2"}, "metadata": {"resourceVersion": old}})
    with pytest.raises(Conflict) as caught:
        await kube.patch(key, {"data": {"a": "3"}, "metadata": {"resourceVersion": old}})
    assert "Conflict" == caught.value.reason
    assert newer == await kube.get(key)


async def test_status_is_written_only_through_its_own_call(kube: Kube, namespace: str) -> None:
    made = await kube.create("recoveryruns", run(namespace))
    key = key_of("recoveryruns", made)
    assert "status" not in made
    assert "status" not in await kube.patch(key, {"status": {"phase": "Failed"}, "spec": {"control": "Pause"}})
    written = await kube.patch_status(key, {"phase": "Running"})
    assert {"phase": "Running"} == written["status"]
    assert "Pause" == written["spec"]["control"]


async def test_only_a_change_of_spec_moves_the_generation(kube: Kube, namespace: str) -> None:
    made = await kube.create("recoveryruns", run(namespace))
    key = key_of("recoveryruns", made)
    status = await kube.patch_status(key, {"phase": "Running"})
    labels = await kube.patch(key, {"metadata": {"labels": {"a": "b"}}})
    spec = await kube.patch(key, {"spec": {"control": "Pause"}})
    assert [1, 1, 1, 2] == [obj["metadata"]["generation"] for obj in (made, status, labels, spec)]


async def test_a_status_with_an_old_version_conflicts(kube: Kube, namespace: str) -> None:
    made = await kube.create("recoveryruns", run(namespace))
    key, old = key_of("recoveryruns", made), made["metadata"]["resourceVersion"]
    await kube.patch_status(key, {"phase": "Pending"}, resource_version=old)
    with pytest.raises(Conflict):
        await kube.patch_status(key, {"phase": "Running"}, resource_version=old)
    assert {"phase": "Pending"} == (await kube.get(key))["status"]


async def test_a_write_that_changes_nothing_keeps_the_version(kube: Kube, namespace: str) -> None:
    made = await kube.create("recoveryruns", run(namespace))
    key = key_of("recoveryruns", made)
    first = await kube.patch_status(key, {"phase": "Pending"})
    again = await kube.patch_status(key, {"phase": "Pending"})
    assert first["metadata"]["resourceVersion"] == again["metadata"]["resourceVersion"]


async def test_deleting_what_is_absent_is_fine(kube: Kube, namespace: str) -> None:
    made = await kube.create("configmaps", config(namespace, "one"))
    for _ in range(2):
        await kube.delete(key_of("configmaps", made))
    with pytest.raises(Missing):
        await kube.get(key_of("configmaps", made))


async def test_a_finalizer_holds_a_deletion_until_it_is_taken_off(kube: Kube, namespace: str) -> None:
    obj = run(namespace)
    obj["metadata"]["finalizers"] = [FINALIZER]
    key = key_of("recoveryruns", await kube.create("recoveryruns", obj))
    await kube.delete(key)
    held = await kube.get(key)
    assert held["metadata"]["deletionTimestamp"]
    with pytest.raises(Rejected):
        await kube.patch(key, {"metadata": {"finalizers": [FINALIZER, "resurgo.dev/late"]}})
    await kube.patch(key, {"metadata": {"finalizers": []}})
    with pytest.raises(Missing):
        await kube.get(key)


async def test_own_writes_are_known_again_and_those_of_others_are_not(kube: Kube, namespace: str) -> None:
    assert isinstance(kube, KubeClient | FakeKube)
    made = await kube.create("configmaps", config(namespace, "one"))
    uid, version = made["metadata"]["uid"], made["metadata"]["resourceVersion"]
    assert kube.is_own_write(uid, version)
    assert not kube.is_own_write(uid, f"{version}0")
    assert not kube.is_own_write("another", version)


async def test_a_resource_that_is_not_ours_to_use_is_refused(kube: Kube, namespace: str) -> None:
    with pytest.raises(NotSupported, match="pods"):
        await kube.get(Key("pods", namespace, "x"))


async def test_an_event_never_raises(kube: Kube, namespace: str) -> None:
    made = await kube.create("configmaps", config(namespace, "one"))
    await kube.event(made, type_="Normal", reason="Tested", action="Test", note="n" * 5000, related=made)
    gone = {"metadata": {"name": "x", "namespace": "no-such-namespace"}}
    await kube.event(gone, type_="Warning", reason="Tested", action="Test", note="nowhere to go")


# -- What only a real server shows


@pytest.fixture
async def client(apiserver) -> AsyncIterator[KubeClient]:
    client = await load(apiserver.kubeconfig("admin"))
    try:
        yield client
    finally:
        await client.aclose()


@pytest.fixture
async def place(client: KubeClient) -> str:
    name = f"kube-{uuid.uuid4().hex[:8]}"
    await client.create("namespaces", {"metadata": {"name": name}})
    return name


@pytest.mark.lab
async def test_a_refusal_holds_the_servers_words(client: KubeClient, place: str) -> None:
    bad = run(place)
    bad["spec"]["type"] = "Teleport"
    with pytest.raises(Rejected, match="Teleport") as caught:
        await client.create("recoveryruns", bad)
    assert "Invalid" == caught.value.reason


@pytest.mark.lab
async def test_missing_rights_and_a_wrong_token_are_told_apart(apiserver, place: str, tmp_path) -> None:
    developer = await load(apiserver.kubeconfig("developer"))
    stranger_file = tmp_path / "stranger.kubeconfig"
    text = apiserver.kubeconfig("developer").read_text()
    token = next(line.split()[-1] for line in text.splitlines() if "token:" in line)
    stranger_file.write_text(text.replace(token, "wrong"))
    stranger = await load(stranger_file)
    try:
        with pytest.raises(NotAllowed, match="developer") as caught:
            await developer.get(Key("secrets", place, "x"))
        assert "Forbidden" == caught.value.reason
        with pytest.raises(NotAllowed) as caught:
            await stranger.get(Key("secrets", place, "x"))
        assert "Unauthorized" == caught.value.reason
    finally:
        await developer.aclose()
        await stranger.aclose()


@pytest.mark.lab
async def test_a_long_list_comes_in_pages(client: KubeClient, place: str) -> None:
    for number in range(7):
        await client.create("configmaps", config(place, f"c{number}"))
    asked = []
    request = client.calls.request

    async def small_pages(method, path, *, query=None, **more):
        asked.append(path)
        return await request(method, path, query={**query, "limit": "3"} if query else query, **more)

    client.calls.request = small_pages
    found = await client.list("configmaps", namespace=place)
    assert [f"c{number}" for number in range(7)] == [obj["metadata"]["name"] for obj in found]
    assert 3 == len(asked)


@pytest.mark.lab
async def test_we_write_under_our_own_name(client: KubeClient, place: str) -> None:
    made = await client.create("recoveryruns", run(place))
    written = await client.patch_status(key_of("recoveryruns", made), {"phase": "Pending"})
    assert {"resurgo"} == {entry["manager"] for entry in written["metadata"]["managedFields"]}


@pytest.mark.lab
async def test_an_event_is_stored_with_its_note_cut(client: KubeClient, place: str) -> None:
    made = await client.create("recoveryruns", run(place))
    await client.event(made, type_="Warning", reason="StepFailed", action="Failover", note="ä" * 3000, related=made)
    answer = await client.calls.request("GET", f"/apis/events.k8s.io/v1/namespaces/{place}/events")
    (event,) = answer["items"]
    assert ("Warning", "StepFailed", "Failover") == (event["type"], event["reason"], event["action"])
    assert made["metadata"]["uid"] == event["regarding"]["uid"]
    assert 1000 < len(event["note"].encode()) <= 1024


async def test_nobody_there_is_unreachable_and_a_lost_answer_is_an_unknown_outcome(tmp_path, unused_tcp_port) -> None:
    import asyncio

    async def hang_up(_reader, writer) -> None:
        writer.close()
        await writer.wait_closed()

    file = tmp_path / "kubeconfig"
    file.write_text(
        "{apiVersion: v1, kind: Config, current-context: x, contexts: [{name: x, context: {cluster: x, user: x}}],"
        f" users: [{{name: x, user: {{}}}}], clusters: [{{name: x, cluster: {{server: 'http://127.0.0.1:{unused_tcp_port}'}}}}]}}"
    )
    client = await KubeClient.connect(Login.find(file), seconds=2)
    try:
        with pytest.raises(Unreachable):
            await client.create("configmaps", config("x", "one"))
        async with await asyncio.start_server(hang_up, "127.0.0.1", unused_tcp_port):
            with pytest.raises(Unreachable):
                await client.get(Key("configmaps", "x", "one"))
            with pytest.raises(OutcomeUnknown, match="read the object again"):
                await client.create("configmaps", config("x", "one"))
    finally:
        await client.aclose()


async def test_credentials_that_can_not_be_read_are_named(tmp_path) -> None:
    with pytest.raises(NotAllowed, match="no-such-file"):
        await load(tmp_path / "no-such-file")
