"""The world's instances become Nodes as kubelet and node agent register them (reference §7)."""

import json

from deploy.local.actors.nodes import eni_config, node_object
from deploy.local.cloud.world import load_world
from deploy.local.stack.options import DEFAULT_WORLD

NOW = "2026-01-01T00:00:00Z"


def test_a_node_with_a_trunk() -> None:
    world = load_world(DEFAULT_WORLD)
    node = node_object(world.nodes()[0], 0, NOW)
    assert node["spec"]["providerID"] == "cn-hangzhou.i-bp1demo0h1"
    assert node["metadata"]["annotations"]["k8s.aliyun.com/trunk-on"] == "eni-bp1trunk0h1"
    assert node["metadata"]["labels"]["topology.kubernetes.io/zone"] == "cn-hangzhou-h"
    assert node["status"]["allocatable"]["aliyun/member-eni"] == "20"
    assert node["status"]["capacity"] == node["status"]["allocatable"]


def test_eni_config_is_what_the_incumbent_reads() -> None:
    world = load_world(DEFAULT_WORLD)
    content = json.loads(eni_config(world)["data"]["eni_conf"])
    assert content["enable_eni_trunking"] is True
    assert content["vswitches"] == {
        "cn-hangzhou-h": ["vsw-bpxxxx"],
        "cn-hangzhou-i": ["vsw-bpyyyy"],
    }
    assert content["security_group"] == "sg-bpxxxx"
    assert content["ip_stack"] == "dual"
