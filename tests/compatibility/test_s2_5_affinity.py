"""Reference §2.5: the zones a Pod may be scheduled to."""

import json
from typing import Any

from tests.compatibility.conftest import Admission
from tests.unit.rules.admission_cases import pod_object, ready_podnetworking

ZONES = ["zone-g", "zone-h"]
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


def with_terms(*terms: dict[str, Any], **pod: Any) -> dict[str, Any]:
    affinity = {"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": list(terms)}}}
    return pod_object(labels={"foo": "bar"}, affinity=affinity, **pod)


def test_one_term_is_made_with_sorted_zones(admit: Admission) -> None:
    found = admit(
        pod_object(labels={"foo": "bar"}), [ready_podnetworking(zones=("zone-h", "zone-g"))]
    )
    terms = found.pod["spec"]["affinity"]["nodeAffinity"][REQUIRED]["nodeSelectorTerms"]
    assert terms == [
        {
            "matchExpressions": [
                {"key": "topology.kubernetes.io/zone", "operator": "In", "values": ZONES}
            ]
        }
    ]


def test_every_term_of_the_users_is_narrowed_and_stays_an_alternative(admit: Admission) -> None:
    own = [{"key": "disk", "operator": "In", "values": ["ssd"]}]
    fields = [{"key": "metadata.name", "operator": "In", "values": ["n-1"]}]
    pod = with_terms({"matchExpressions": own}, {"matchFields": fields})
    found = admit(pod, [ready_podnetworking()])
    first, second = found.pod["spec"]["affinity"]["nodeAffinity"][REQUIRED]["nodeSelectorTerms"]
    assert first["matchExpressions"][:1] == own
    assert second["matchFields"] == fields
    assert found.zone_terms == [[ZONES], [ZONES]]


def test_other_affinity_of_the_users_is_kept(admit: Admission) -> None:
    preferred = [{"weight": 1, "preference": {"matchExpressions": []}}]
    affinity = {
        "podAntiAffinity": {"x": []},
        "nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": preferred},
    }
    found = admit(pod_object(labels={"foo": "bar"}, affinity=affinity), [ready_podnetworking()])
    assert found.pod["spec"]["affinity"]["podAntiAffinity"] == {"x": []}
    node = found.pod["spec"]["affinity"]["nodeAffinity"]
    assert node["preferredDuringSchedulingIgnoredDuringExecution"] == preferred


def test_the_two_sets_are_anded_previous_zone_first(admit: Admission) -> None:
    podeni = {"spec": {"zone": "zone-x", "allocations": [{}]}}
    fixed = ready_podnetworking(allocationType={"type": "Fixed"})
    found = admit(pod_object(labels={"foo": "bar"}), [fixed], podeni=podeni)
    assert found.zone_terms == [[["zone-x"], ZONES]]


def test_a_daemonset_pod_is_left_where_it_is(admit: Admission) -> None:
    pod = pod_object(labels={"foo": "bar"}, owner_kind="DaemonSet")
    found = admit(pod, [ready_podnetworking()])
    assert "affinity" not in found.pod["spec"]
    assert "k8s.aliyun.com/pod-networking" in found.annotations


def test_without_zones_nothing_is_made(admit: Admission) -> None:
    found = admit(pod_object(labels={"foo": "bar"}), [ready_podnetworking(zones=())])
    assert "affinity" not in found.pod["spec"]


def test_an_explicit_annotation_only_gets_the_previous_zone(admit: Admission) -> None:
    network = {
        "interface": "eth0",
        "vSwitchOptions": ["vsw-1"],
        "securityGroupIDs": ["sg-1"],
        "allocationType": {"type": "Fixed"},
    }
    text = json.dumps({"podNetworks": [network]})
    pod = pod_object(annotations={"k8s.aliyun.com/pod-networks": text})
    assert admit(pod, [ready_podnetworking()]).zone_terms == []
    podeni = {"spec": {"zone": "zone-h", "allocations": [{}]}}
    assert admit(pod, [ready_podnetworking()], podeni=podeni).zone_terms == [[["zone-h"]]]
