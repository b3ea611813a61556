"""Defaulting, pruning and validation; and the CRDs as the incumbent's objects need them."""

from typing import Any

import pytest

from deploy.local.kubernetes.errors import ApiError
from deploy.local.kubernetes.port_adapter import InProcess
from tests.unit.local_kubernetes.shapes import (
    NETWORK,
    POD_ENIS,
    POD_NETWORKINGS,
    PODS,
    pod,
    pod_eni,
)

Json = dict[str, Any]


def networking(**spec: Any) -> Json:
    return {"apiVersion": NETWORK, "kind": "PodNetworking", "metadata": {"name": "n"}, "spec": spec}


def test_defaults_of_a_pod_networking(api: InProcess) -> None:
    made = api.create(POD_NETWORKINGS, networking(vSwitchOptions=["vsw-1"], allocationType={}))
    assert made["spec"] == {
        "vSwitchOptions": ["vsw-1"],
        "allocationType": {"type": "Elastic"},
        "eniOptions": {"eniType": "Default"},
        "vSwitchSelectOptions": {"vSwitchSelectionPolicy": "ordered"},
    }


def test_no_allocation_type_stays_none(api: InProcess) -> None:
    assert "allocationType" not in api.create(POD_NETWORKINGS, networking())["spec"]


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"eniOptions": {"eniType": "trunk"}}, "spec.eniOptions.eniType"),
        ({"allocationType": {"type": "Sticky"}}, "spec.allocationType.type"),
        ({"allocationType": {"releaseStrategy": "Later"}}, "spec.allocationType.releaseStrategy"),
        ({"vSwitchSelectOptions": {"vSwitchSelectionPolicy": "least"}},
         "spec.vSwitchSelectOptions.vSwitchSelectionPolicy"),
        ({"securityGroupIDs": "sg-1"}, "spec.securityGroupIDs"),
        ({"vSwitchOptions": [7]}, "spec.vSwitchOptions[0]"),
    ],
)  # fmt: skip
def test_values_no_schema_allows_are_refused(api: InProcess, spec: Json, field: str) -> None:
    with pytest.raises(ApiError) as refused:
        api.create(POD_NETWORKINGS, networking(**spec))
    assert refused.value.code == 422
    assert [c["field"] for c in refused.value.body["details"]["causes"]] == [field]


def test_unknown_fields_are_pruned_and_told(api: InProcess) -> None:
    body = networking(vSwitchOptions=[], colour="red")
    answer = api.call("POST", POD_NETWORKINGS, body)
    assert "colour" not in answer.body["spec"]
    assert answer.warnings == ('unknown field "spec.colour"',)
    with pytest.raises(ApiError) as refused:
        api.create(POD_NETWORKINGS, body, {"fieldValidation": "Strict"})
    assert 'strict decoding error: unknown field "spec.colour"' in refused.value.message
    assert refused.value.code == 400


def test_a_pod_eni_of_the_incumbent_round_trips(api: InProcess) -> None:
    spec = {
        "zone": "cn-beijing-f",
        "allocations": [{
            "allocationType": {"type": "Fixed", "releaseStrategy": "TTL", "releaseAfter": "1h0m0s"},
            "eni": {"id": "eni-1", "vpcID": "", "mac": "00:16:3e:aa:bb:cc", "zone": "cn-beijing-f",
                    "vSwitchID": "vsw-1", "resourceGroupID": "rg", "securityGroupIDs": ["sg-1"],
                    "attachmentOptions": {"trunk": True}},
            "ipv4": "192.168.0.1", "ipv6": "fd00::1", "ipv4CIDR": "192.168.0.0/24",
            "ipv6CIDR": "fd00::/64", "interface": "eth0", "defaultRoute": True,
            "extraRoutes": [{"dst": "10.0.0.0/8"}], "extraConfig": {"a": "b"},
        }],
    }  # fmt: skip
    status = {
        "phase": "Bind", "instanceID": "i-1", "trunkENIID": "eni-0", "msg": "m",
        "podLastSeen": "2026-01-01T00:00:00Z",
        "eniInfos": {"eni-1": {"id": "eni-1", "type": "Member", "vid": 7, "status": "Bind",
                               "networkCardIndex": 0, "vfID": 1}},
    }  # fmt: skip
    made = api.create(POD_ENIS, pod_eni("a", **spec))
    assert made["spec"] == spec
    shown = api.update(f"{POD_ENIS}/a/status", {**made, "status": status})
    assert shown["status"] == status


@pytest.mark.parametrize(
    ("status", "field"),
    [
        ({"podLastSeen": "yesterday"}, "status.podLastSeen"),
        ({"eniInfos": {"e": {"vid": 1.5}}}, "status.eniInfos.e.vid"),
        ({"eniInfos": {"e": {"vfID": 1 << 40}}}, "status.eniInfos.e.vfID"),
        ({"eniInfos": {"e": {"status": "bind"}}}, "status.eniInfos.e.status"),
    ],
)
def test_bad_status_values_are_refused(api: InProcess, status: Json, field: str) -> None:
    api.create(POD_ENIS, pod_eni("a"))
    with pytest.raises(ApiError) as refused:
        api.patch(f"{POD_ENIS}/a/status", {"status": status})
    assert refused.value.body["details"]["causes"][0]["field"] == field


def test_built_in_kinds_are_typed(api: InProcess) -> None:
    body = pod("a")
    body["spec"]["containers"][0]["imagee"] = "x"
    answer = api.call("POST", PODS, body)
    assert answer.warnings == ('unknown field "spec.containers[0].imagee"',)
    wrong = pod("b")
    wrong["spec"]["containers"] = "none"
    with pytest.raises(ApiError) as refused:
        api.create(PODS, wrong)
    assert refused.value.code == 400
    with pytest.raises(ApiError) as refused:
        api.create(PODS, {"metadata": {"name": "c"}, "spec": {}})
    assert (refused.value.code, "spec.containers" in refused.value.message) == (422, True)


@pytest.mark.parametrize("name", ["Upper", "under_score", "-dash", "a..b", "x" * 254])
def test_names_are_dns_subdomains(api: InProcess, name: str) -> None:
    with pytest.raises(ApiError) as refused:
        api.create(PODS, pod(name))
    assert refused.value.code == 422


def test_pod_defaults(api: InProcess) -> None:
    made = api.create(PODS, pod("a"))
    assert made["status"] == {"phase": "Pending", "qosClass": "BestEffort"}
    assert made["spec"]["restartPolicy"] == "Always"
    assert made["spec"]["containers"][0]["imagePullPolicy"] == "Always"


def test_a_new_crd_is_served_and_established(api: InProcess) -> None:
    crd = {
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "cars.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced",
            "names": {"plural": "cars", "kind": "Car"},
            "versions": [
                {"name": version, "served": True, "storage": version == "v1",
                 "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                     "spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}}}}
                for version in ("v1", "v2")
            ],
        },
    }  # fmt: skip
    made = api.create("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", crd)
    conditions = {c["type"]: c["status"] for c in made["status"]["conditions"]}
    assert conditions == {"NamesAccepted": "True", "Established": "True"}
    body = {"metadata": {"name": "a"}, "spec": {"anything": {"goes": 1}}}
    api.create("/apis/example.com/v1/namespaces/default/cars", body)
    other = api.get("/apis/example.com/v2/namespaces/default/cars/a")
    assert (other["apiVersion"], other["spec"]) == ("example.com/v2", {"anything": {"goes": 1}})
