"""The PodENI is printed in the document's shape, and a field that lacks is named."""

import copy
from typing import Any

import yaml

from deploy.local.demo.document import in_document_order, missing_fields

POD_ENI: dict[str, Any] = {
    "status": {
        "trunkENIID": "eni-t",
        "phase": "Bind",
        "podLastSeen": "2021-01-01T00:00:00Z",
        "instanceID": "i-1",
        "eniInfos": {"eni-1": {"vid": 1001, "type": "Member", "id": "eni-1", "status": "Bind"}},
    },
    "spec": {
        "zone": "cn-hangzhou-h",
        "allocations": [
            {
                "interface": "eth0",
                "ipv6CIDR": "2408::/64",
                "ipv6": "2408::1",
                "ipv4CIDR": "192.168.0.0/19",
                "ipv4": "192.168.0.1",
                "allocationType": {"type": "Elastic"},
                "eni": {
                    "zone": "cn-hangzhou-h",
                    "vSwitchID": "vsw-1",
                    "securityGroupIDs": ["sg-1"],
                    "mac": "00:16:00:00:00:01",
                    "id": "eni-1",
                },
            }
        ],
    },
    "metadata": {
        "namespace": "default",
        "name": "x",
        "uid": "u",
        "resourceVersion": "7",
        "managedFields": [],
        "generation": 1,
        "finalizers": ["network.alibabacloud.com/pod-eni"],
    },
    "kind": "PodENI",
    "apiVersion": "network.alibabacloud.com/v1beta1",
}

IN_ORDER = """\
apiVersion: network.alibabacloud.com/v1beta1
kind: PodENI
metadata:
  finalizers:
  - network.alibabacloud.com/pod-eni
  generation: 1
  name: x
  namespace: default
spec:
  allocations:
  - allocationType:
      type: Elastic
    eni:
      id: eni-1
      mac: 00:16:00:00:00:01
      securityGroupIDs:
      - sg-1
      vSwitchID: vsw-1
      zone: cn-hangzhou-h
    ipv4: 192.168.0.1
    ipv4CIDR: 192.168.0.0/19
    ipv6: 2408::1
    ipv6CIDR: 2408::/64
    interface: eth0
  zone: cn-hangzhou-h
status:
  eniInfos:
    eni-1:
      id: eni-1
      status: Bind
      vid: 1001
      type: Member
  instanceID: i-1
  phase: Bind
  podLastSeen: '2021-01-01T00:00:00Z'
  trunkENIID: eni-t
"""


def test_a_complete_one_lacks_nothing() -> None:
    assert missing_fields(POD_ENI) == []


def test_the_order_is_the_document_s() -> None:
    assert in_document_order(POD_ENI) == IN_ORDER
    assert yaml.safe_load(IN_ORDER)["status"] == POD_ENI["status"]


def test_a_missing_field_is_named() -> None:
    lacking = copy.deepcopy(POD_ENI)
    del lacking["status"]["eniInfos"]["eni-1"]["vid"]
    lacking["spec"]["allocations"][0]["ipv6"] = ""
    assert missing_fields(lacking) == ["spec.allocations.0.ipv6", "status.eniInfos.*.vid"]


def test_without_allocations_it_says_so_and_does_not_fail() -> None:
    assert "spec.allocations.0.eni.id" in missing_fields({"kind": "PodENI", "metadata": {}})
