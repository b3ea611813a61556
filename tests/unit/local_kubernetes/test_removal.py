"""Grace, finalizers, owners, and namespaces and CRDs that have content."""

import pytest

from deploy.local.kubernetes.errors import ApiError
from deploy.local.kubernetes.port_adapter import InProcess
from tests.unit.local_kubernetes.conftest import Clock
from tests.unit.local_kubernetes.shapes import (
    CONFIG_MAPS,
    POD_ENIS,
    PODS,
    STATEFUL_SETS,
    config_map,
    pod,
    pod_eni,
    stateful_set,
)

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


def gone(api: InProcess, path: str) -> bool:
    name = path.rsplit("/", 1)[1]
    items = api.list(path.rsplit("/", 1)[0])["items"]
    return name not in [item["metadata"]["name"] for item in items]


def test_an_unscheduled_pod_goes_at_once(api: InProcess) -> None:
    api.create(PODS, pod("a"))
    api.delete(f"{PODS}/a")
    assert gone(api, f"{PODS}/a")


def test_a_bound_pod_waits_for_its_kubelet(api: InProcess, clock: Clock) -> None:
    api.create(PODS, pod("a", "node-1"))
    leaving = api.delete(f"{PODS}/a")
    assert leaving["metadata"]["deletionGracePeriodSeconds"] == 30
    assert leaving["metadata"]["deletionTimestamp"] == "2026-01-01T00:00:30Z"
    clock.advance(3600)
    assert not gone(api, f"{PODS}/a")
    api.delete(f"{PODS}/a", {"gracePeriodSeconds": 0})
    assert gone(api, f"{PODS}/a")


def test_a_finished_pod_needs_no_grace(api: InProcess) -> None:
    api.create(PODS, pod("a", "node-1"))
    api.strategic(f"{PODS}/a/status", {"status": {"phase": "Succeeded"}})
    api.delete(f"{PODS}/a")
    assert gone(api, f"{PODS}/a")


def test_a_second_delete_may_only_shorten_the_grace(api: InProcess) -> None:
    api.create(PODS, pod("a", "node-1"))
    api.delete(f"{PODS}/a", {"gracePeriodSeconds": 20})
    longer = api.delete(f"{PODS}/a", {"gracePeriodSeconds": 50})
    assert longer["metadata"]["deletionGracePeriodSeconds"] == 20
    shorter = api.delete(f"{PODS}/a", {"gracePeriodSeconds": 5})
    assert shorter["metadata"]["deletionGracePeriodSeconds"] == 5


def test_a_finalizer_holds_an_object_until_it_is_removed(api: InProcess) -> None:
    body = pod_eni("a")
    body["metadata"]["finalizers"] = ["network.alibabacloud.com/pod-eni"]
    api.create(POD_ENIS, body)
    held = api.delete(f"{POD_ENIS}/a")
    assert held["metadata"]["deletionTimestamp"] == "2026-01-01T00:00:00Z"
    again = api.delete(f"{POD_ENIS}/a")
    assert again["metadata"]["resourceVersion"] == held["metadata"]["resourceVersion"]
    api.patch(f"{POD_ENIS}/a", {"metadata": {"finalizers": None}})
    assert gone(api, f"{POD_ENIS}/a")


def test_no_finalizer_is_added_to_a_dying_object(api: InProcess) -> None:
    body = pod_eni("a")
    body["metadata"]["finalizers"] = ["example.com/a"]
    api.create(POD_ENIS, body)
    api.delete(f"{POD_ENIS}/a")
    with pytest.raises(ApiError) as refused:
        api.patch(f"{POD_ENIS}/a", {"metadata": {"finalizers": ["example.com/a", "example.com/b"]}})
    assert refused.value.code == 422


def test_a_bound_pod_with_a_finalizer_needs_both(api: InProcess) -> None:
    body = pod("a", "node-1")
    body["metadata"]["finalizers"] = ["example.com/a"]
    api.create(PODS, body)
    api.delete(f"{PODS}/a")
    api.patch(f"{PODS}/a", {"metadata": {"finalizers": None}})
    assert not gone(api, f"{PODS}/a")
    api.delete(f"{PODS}/a", {"gracePeriodSeconds": 0})
    assert gone(api, f"{PODS}/a")


def owned(owner: dict[str, object], name: str) -> dict[str, object]:
    body = config_map(name)
    metadata = owner["metadata"]
    assert isinstance(metadata, dict)
    body["metadata"]["ownerReferences"] = [
        {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": metadata["name"],
         "uid": metadata["uid"], "blockOwnerDeletion": True}
    ]  # fmt: skip
    return body


@pytest.mark.parametrize(
    ("policy", "child_goes"), [("Background", True), ("Foreground", True), ("Orphan", False)]
)
def test_dependents_follow_their_owner(api: InProcess, policy: str, child_goes: bool) -> None:
    owner = api.create(STATEFUL_SETS, stateful_set("web", 1))
    api.create(CONFIG_MAPS, owned(owner, "child"))
    api.delete(f"{STATEFUL_SETS}/web", {"propagationPolicy": policy})
    assert gone(api, f"{STATEFUL_SETS}/web")
    assert gone(api, f"{CONFIG_MAPS}/child") == child_goes
    if not child_goes:
        assert "ownerReferences" not in api.get(f"{CONFIG_MAPS}/child")["metadata"]


def test_a_foreground_delete_waits_for_the_last_dependent(api: InProcess) -> None:
    owner = api.create(STATEFUL_SETS, stateful_set("web", 1))
    child = owned(owner, "child")
    child["metadata"]["finalizers"] = ["example.com/a"]  # type: ignore[index]
    api.create(CONFIG_MAPS, child)
    api.delete(f"{STATEFUL_SETS}/web", {"propagationPolicy": "Foreground"})
    waiting = api.get(f"{STATEFUL_SETS}/web")["metadata"]
    assert waiting["finalizers"] == ["foregroundDeletion"]
    api.patch(f"{CONFIG_MAPS}/child", {"metadata": {"finalizers": None}})
    assert gone(api, f"{STATEFUL_SETS}/web")


def test_a_namespace_ends_with_its_last_object(api: InProcess) -> None:
    api.create("/api/v1/namespaces", {"metadata": {"name": "team"}})
    api.create("/api/v1/namespaces/team/pods", pod("a", "node-1"))
    api.create("/api/v1/namespaces/team/configmaps", config_map("c"))
    ending = api.delete("/api/v1/namespaces/team")
    assert ending["status"]["phase"] == "Terminating"
    assert gone(api, "/api/v1/namespaces/team/configmaps/c")
    with pytest.raises(ApiError) as refused:
        api.create("/api/v1/namespaces/team/pods", pod("b"))
    assert refused.value.code == 403
    assert "is being terminated" in refused.value.message
    api.delete("/api/v1/namespaces/team/pods/a", {"gracePeriodSeconds": 0})
    assert gone(api, "/api/v1/namespaces/team")


def test_a_crd_takes_its_objects_along_and_is_served_no_more(api: InProcess) -> None:
    api.create(POD_ENIS, pod_eni("a"))
    api.delete(f"{CRDS}/podenis.network.alibabacloud.com")
    with pytest.raises(ApiError) as refused:
        api.list(POD_ENIS)
    assert refused.value.code == 404
    assert gone(api, f"{CRDS}/podenis.network.alibabacloud.com")


def test_delete_collection_takes_the_selected(api: InProcess) -> None:
    api.create(PODS, pod("a", labels={"x": "1"}))
    api.create(PODS, pod("b", labels={"x": "2"}))
    api.call("DELETE", PODS, options={"labelSelector": "x=1"})
    assert [p["metadata"]["name"] for p in api.list(PODS)["items"]] == ["b"]


def test_binding_places_a_pod_once(api: InProcess) -> None:
    api.create(PODS, pod("a"))
    api.create(f"{PODS}/a/binding", {"target": {"kind": "Node", "name": "node-1"}})
    bound = api.get(f"{PODS}/a")
    assert bound["spec"]["nodeName"] == "node-1"
    assert bound["status"]["conditions"][0]["type"] == "PodScheduled"
    with pytest.raises(ApiError) as refused:
        api.create(f"{PODS}/a/binding", {"target": {"name": "node-2"}})
    assert refused.value.code == 409


def test_eviction_is_a_graceful_delete(api: InProcess) -> None:
    api.create(PODS, pod("a", "node-1"))
    api.create(f"{PODS}/a/eviction", {"metadata": {"name": "a"}})
    assert "deletionTimestamp" in api.get(f"{PODS}/a")["metadata"]
