"""Trimming: what a tired operator would not want in a log never gets there."""

import json
from typing import Any

import pytest

from consumers.contract.objects import ObjectError, trim

SECRET = "hunter2"


def meta(**more: Any) -> dict[str, Any]:
    return {"name": "a", "namespace": "b", "uid": "u", "resourceVersion": "1", **more}


def test_nothing_secret_of_a_pod_survives() -> None:
    pod = {
        "metadata": meta(
            annotations={
                "kubectl.kubernetes.io/last-applied-configuration": SECRET,
                "example.com/API-Token": SECRET,
                "vault.secret.path": SECRET,
                "db-Password": SECRET,
                "example.com/credentials": SECRET,
                "notaliyun.com/apikey": SECRET,
                "k8s.aliyun.com/some-token": SECRET,
                "k8s.aliyun.com/pod-networks": "{}",
            },
            managedFields=[{"manager": SECRET}],
        ),
        "spec": {
            "nodeName": "n",
            "serviceAccountName": SECRET,
            "imagePullSecrets": [{"name": SECRET}],
            "volumes": [{"name": "v", "secret": {"secretName": SECRET}}],
            "initContainers": [{"name": "i", "env": [{"name": "P", "value": SECRET}]}],
            "containers": [
                {
                    "name": "c",
                    "image": SECRET,
                    "command": [SECRET],
                    "env": [{"name": "P", "value": SECRET}],
                    "envFrom": [{"secretRef": {"name": SECRET}}],
                    "resources": {
                        "limits": {"aliyun/member-eni": "1"},
                        "claims": [{"name": SECRET}],
                    },
                }
            ],
        },
        "status": {
            "phase": "Running",
            "podIP": "10.0.0.1",
            "podIPs": [{"ip": "10.0.0.1"}],
            "message": SECRET,
        },
    }
    trimmed = trim("pod", pod)
    assert SECRET not in json.dumps(trimmed)
    assert trimmed["metadata"]["annotations"] == {"k8s.aliyun.com/pod-networks": "{}"}
    assert trimmed["spec"]["containers"] == [
        {"name": "c", "resources": {"limits": {"aliyun/member-eni": "1"}}}
    ]
    assert trimmed["status"] == {
        "phase": "Running",
        "podIP": "10.0.0.1",
        "podIPs": [{"ip": "10.0.0.1"}],
    }
    assert trim("pod", trimmed) == trimmed


def test_a_node_keeps_our_resources_only() -> None:
    node = {
        "metadata": {"name": "n", "uid": "u", "labels": {"topology.kubernetes.io/zone": "z"}},
        "spec": {"providerID": "cn-hangzhou.i-1", "podCIDR": "10.0.0.0/24"},
        "status": {"allocatable": {"cpu": "8", "aliyun/member-eni": "20"}, "nodeInfo": {}},
    }
    assert trim("node", node) == {
        "metadata": {"name": "n", "uid": "u", "labels": {"topology.kubernetes.io/zone": "z"}},
        "spec": {"providerID": "cn-hangzhou.i-1"},
        "status": {"allocatable": {"aliyun/member-eni": "20"}},
    }


def test_custom_resources_are_kept_whole_also_what_we_do_not_know() -> None:
    eni = {
        "metadata": meta(finalizers=["network.alibabacloud.com/pod-eni"]),
        "spec": {
            "zone": "z",
            "future": {"x": [1]},
            "allocations": [
                {
                    "eni": {
                        "id": "eni-1",
                        "vSwitchID": "vsw-1",
                        "attachmentOptions": {"trunk": True},
                    },
                    "ipv4CIDR": "10.0.0.0/24",
                    "extraRoutes": [{"dst": "0.0.0.0/0"}],
                }
            ],
        },
        "status": {
            "phase": "Bind",
            "trunkENIID": "eni-t",
            "eniInfos": {"eni-1": {"id": "eni-1", "vid": 7, "vfID": 3}},
        },
    }
    assert trim("podeni", eni) == eni
    networking = {
        "metadata": {"name": "example", "uid": "u"},
        "spec": {
            "selector": {"podSelector": {}, "namespaceSelector": None},
            "vSwitchOptions": ["vsw-1"],
            "vSwitchSelectOptions": {"vSwitchSelectionPolicy": "most"},
            "new": 1,
        },
        "status": {"status": "Ready", "vSwitches": [{"id": "vsw-1", "zone": "z"}]},
    }
    kept = trim("podnetworking", networking)
    assert kept["spec"]["selector"] == {"podSelector": {}}, "an empty selector is not an absent one"
    assert kept["spec"]["new"] == 1
    assert kept["status"] == networking["status"]


def test_credentials_leave_eni_config() -> None:
    document = {
        "version": "1",
        "access_key": SECRET,
        "access_secret": SECRET,
        "credential_path": SECRET,
        "vswitches": {"cn-hangzhou-j": ["vsw-1"]},
        "security_groups": ["sg-1"],
        "eni_tags": {"k": "v"},
    }
    config = {
        "metadata": meta(name="eni-config"),
        "data": {"eni_conf": json.dumps(document), "10-terway.conf": SECRET},
        "binaryData": {"x": SECRET},
    }
    trimmed = trim("config", config)
    assert SECRET not in json.dumps(trimmed)
    assert json.loads(trimmed["data"]["eni_conf"]) == {
        "vswitches": {"cn-hangzhou-j": ["vsw-1"]},
        "security_groups": ["sg-1"],
        "eni_tags": {"k": "v"},
    }
    assert trim("config", trimmed) == trimmed


@pytest.mark.parametrize("text", ["not json " + SECRET, "[1]", "\ud800"])
def test_an_unreadable_eni_conf_is_left_out(text: str) -> None:
    trimmed = trim("config", {"metadata": meta(), "data": {"eni_conf": text}})
    assert trimmed == {"metadata": meta(), "data": {}}


def test_the_refusal_names_the_path() -> None:
    with pytest.raises(ObjectError, match=r"pod: metadata\.uid"):
        trim("pod", {"metadata": {"name": "a"}})
    with pytest.raises(ObjectError, match="pod"):
        trim("pod", None)
