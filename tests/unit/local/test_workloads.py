"""The simulated controllers: names, owners, order, and what is deleted with its owner."""

from deploy.local.actors.actions import Action, Create, Delete, Json, PatchStatus, Scale, View
from deploy.local.actors.workloads import control_workloads, template_hash
from tests.unit.local.cluster_objects import pod, running, view, workload


def acted(seen: View) -> list[Action]:
    """The decisions, without those that only report a status."""
    return [each for each in control_workloads(seen) if not isinstance(each, PatchStatus)]


def stateful_pod(owner: Json, ordinal: int, status: Json) -> Json:
    revision = f"{owner['metadata']['name']}-{template_hash(owner['spec']['template'])}"
    return pod(
        f"{owner['metadata']['name']}-{ordinal}",
        status=status,
        metadata={
            "labels": {"controller-revision-hash": revision},
            "ownerReferences": [owner_of(owner)],
        },
    )


def owner_of(owner: Json) -> Json:
    found = owner["metadata"]
    return {
        "kind": owner["kind"],
        "name": found["name"],
        "uid": found["uid"],
        "controller": True,
    }


def test_a_stateful_set_starts_with_ordinal_0_owned_by_it() -> None:
    (action,) = acted(view(workload("StatefulSet", "db", 2)))
    assert isinstance(action, Create)
    metadata = action.body["metadata"]
    assert (metadata["namespace"], metadata["name"]) == ("example", "db-0")
    assert metadata["labels"]["statefulset.kubernetes.io/pod-name"] == "db-0"
    (owner,) = metadata["ownerReferences"]
    assert (owner["kind"], owner["uid"], owner["controller"]) == ("StatefulSet", "uid-db", True)


def test_the_next_ordinal_waits_for_the_one_before() -> None:
    owner = workload("StatefulSet", "db", 2)
    assert acted(view(owner, stateful_pod(owner, 0, {"phase": "Pending"}))) == []
    (action,) = acted(view(owner, stateful_pod(owner, 0, running())))
    assert isinstance(action, Create)
    assert action.body["metadata"]["name"] == "db-1"


def test_a_name_is_taken_until_the_old_pod_is_gone() -> None:
    owner = workload("StatefulSet", "db", 1)
    leaving = stateful_pod(owner, 0, running())
    leaving["metadata"]["deletionTimestamp"] = "now"
    assert acted(view(owner, leaving)) == []


def test_scaling_down_deletes_the_last_ordinal_only() -> None:
    owner = workload("StatefulSet", "db", 1)
    pods = [stateful_pod(owner, ordinal, running()) for ordinal in range(3)]
    assert acted(view(owner, *pods)) == [Delete("Pod", "example", "db-2", "uid-db-2")]


def test_a_failed_pod_is_replaced() -> None:
    owner = workload("StatefulSet", "db", 1)
    failed = stateful_pod(owner, 0, {"phase": "Failed"})
    assert acted(view(owner, failed)) == [Delete("Pod", "example", "db-0", "uid-db-0")]


def test_a_changed_template_replaces_one_ready_pod_at_a_time() -> None:
    owner = workload("StatefulSet", "db", 2)
    pods = [stateful_pod(owner, ordinal, running()) for ordinal in range(2)]
    owner["spec"]["template"]["metadata"]["labels"]["version"] = "2"
    assert acted(view(owner, *pods)) == [Delete("Pod", "example", "db-1", "uid-db-1")]


def test_a_deployment_makes_a_replica_set_and_that_makes_pods() -> None:
    deployment = workload("Deployment", "web", 2)
    (action,) = acted(view(deployment))
    assert isinstance(action, Create)
    replica_set = action.body
    assert replica_set["kind"] == "ReplicaSet"
    replica_set["metadata"]["uid"] = "uid-rs"
    pods = acted(view(deployment, replica_set))
    assert [each.kind for each in pods if isinstance(each, Create)] == ["Pod", "Pod"]
    names = {each.body["metadata"]["name"] for each in pods if isinstance(each, Create)}
    assert len(names) == 2
    assert all(name.startswith(replica_set["metadata"]["name"]) for name in names)


def test_a_deployment_scales_its_replica_set() -> None:
    deployment = workload("Deployment", "web", 2)
    (made,) = [each for each in acted(view(deployment)) if isinstance(each, Create)]
    made.body["metadata"]["uid"] = "uid-rs"
    deployment["spec"]["replicas"] = 0
    name = made.body["metadata"]["name"]
    (scaled,) = [e for e in acted(view(deployment, made.body)) if isinstance(e, Scale)]
    assert scaled == Scale("ReplicaSet", "example", name, 0)


def test_what_belonged_to_a_deleted_owner_goes() -> None:
    owner = workload("StatefulSet", "db", 1)
    orphan = stateful_pod(owner, 0, running())
    assert acted(view(orphan)) == [Delete("Pod", "example", "db-0", "uid-db-0")]


def test_a_pod_of_nobody_stays() -> None:
    assert acted(view(pod("bare", status=running()))) == []


def test_at_rest_nothing_is_decided() -> None:
    owner = workload("StatefulSet", "db", 1)
    there = stateful_pod(owner, 0, running())
    for action in control_workloads(view(owner, there)):
        assert isinstance(action, PatchStatus)
        owner["status"] = {**owner.get("status", {}), **action.status}
    assert control_workloads(view(owner, there)) == []
