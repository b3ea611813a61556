"""Reference §2.2: which Pods may have a fixed IP."""

import pytest

from ledger.rules.admission_pods import PodPolicy
from tests.compatibility.conftest import Admission
from tests.unit.rules.admission_cases import pod_object, ready_podnetworking

FIXED = [ready_podnetworking(allocationType={"type": "Fixed"})]


@pytest.mark.parametrize(
    ("owner", "custom", "fixed"),
    [
        ("", (), True),  # a bare Pod counts
        ("StatefulSet", (), True),
        ("ReplicaSet", (), False),
        ("DaemonSet", (), False),
        ("Job", (), False),
        ("CloneSet", ("CloneSet",), True),
        ("CloneSet", ("cloneset",), False),
    ],
)
def test_only_the_kind_of_an_owner_counts(
    admit: Admission, owner: str, custom: tuple[str, ...], fixed: bool
) -> None:
    pod = pod_object(labels={"foo": "bar"}, owner_kind=owner)
    found = admit(pod, FIXED, policy=PodPolicy(custom_kinds=custom))
    assert ("k8s.aliyun.com/pod-networking" in found.annotations) is fixed


def test_any_owner_will_do_whatever_its_group_and_whether_it_controls(admit: Admission) -> None:
    pod = pod_object(labels={"foo": "bar"}, owner_kind="ReplicaSet")
    pod["metadata"]["ownerReferences"].append(
        {"apiVersion": "example.io/v1", "kind": "StatefulSet", "controller": False}
    )
    assert "k8s.aliyun.com/pod-networking" in admit(pod, FIXED).annotations
