"""The world file: the demo's is right, and a wrong one says what is wrong and what is allowed."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from deploy.local.cloud.apis import API_NAMES
from deploy.local.cloud.world import WorldError, load_world, parse_world, schema

WORLDS = Path(__file__).parents[3] / "deploy" / "local" / "worlds"


@pytest.fixture
def data() -> dict[str, Any]:
    loaded = yaml.safe_load((WORLDS / "demo.yaml").read_text())
    assert isinstance(loaded, dict)
    return loaded


def test_the_published_schema_is_current() -> None:
    published = (WORLDS / "world.schema.json").read_text()
    assert published == schema(), (
        "run: python -m deploy.local.cloud.world > deploy/local/worlds/world.schema.json"
    )


@pytest.mark.parametrize("path", sorted(WORLDS.glob("*.yaml")), ids=lambda path: path.name)
def test_every_world_here_loads_and_follows_the_schema(path: Path) -> None:
    load_world(path)
    jsonschema.validate(yaml.safe_load(path.read_text()), json.loads(schema()))


def test_the_demo_holds_what_the_product_document_names() -> None:
    world = load_world(WORLDS / "demo.yaml")
    (switch,) = [one for one in world.vswitches if one.id == "vsw-bpxxxx"]
    assert (switch.zone, switch.cidr) == ("cn-hangzhou-h", "192.168.0.0/19")
    assert switch.ipv6_cidr is not None
    assert switch.ipv6_cidr.startswith("2408:")
    assert "sg-bpxxxx" in world.security_groups


def test_instances_become_nodes() -> None:
    world = load_world(WORLDS / "demo.yaml")
    node = world.nodes()[0]
    assert node.provider_id == "cn-hangzhou.i-bp1demo0h1"
    assert node.labels["topology.kubernetes.io/zone"] == "cn-hangzhou-h"
    assert node.labels["topology.kubernetes.io/region"] == "cn-hangzhou"
    assert node.labels["node.kubernetes.io/instance-type"] == "ecs.g7.2xlarge"
    assert node.annotations == {"k8s.aliyun.com/trunk-on": "eni-bp1trunk0h1"}
    assert node.member_enis == 20
    zones = [one.labels["topology.kubernetes.io/zone"] for one in world.nodes()]
    assert zones.count("cn-hangzhou-h") == zones.count("cn-hangzhou-i") == 2


def set_at(data: Any, path: list[str | int], value: object) -> None:
    for step in path[:-1]:
        data = data[step]
    data[path[-1]] = value


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        (["regoin"], "x", ["unknown key(s) regoin", "region, zones"]),
        (["vswitches", 0, "colour"], 1, ["vswitches[0]", "unknown key(s) colour", "cidr"]),
        (["vswitches", 1, "zone"], "z", ["vswitches[1].zone", "'z'", "cn-hangzhou-h"]),
        (["vswitches", 0, "cidr"], "10.0.0.0/19", ["vswitches[0].cidr", "outside vpc.cidr"]),
        (["vswitches", 0, "cidr"], "192.168.0.1/19", ["vswitches[0].cidr", "192.168.0.0/19"]),
        (["vswitches", 1, "cidr"], "192.168.0.0/20", ["vswitches[1].cidr", "overlaps"]),
        (["vswitches", 0, "free_ips"], 9000, ["vswitches[0].free_ips", "0 to 8188"]),
        (["instances", 2, "type"], "ecs.no", ["instances[2].type", "ecs.g7.2xlarge"]),
        (["instances", 0, "vswitch"], "vsw-bpyyyy", ["instances[0].vswitch", "vsw-bpxxxx"]),
        (["instances", 0, "private_ip"], "192.168.0.0", ["private_ip", "not an assignable"]),
        (["instances", 0, "private_ip"], "192.168.31.253", ["private_ip", "not an assignable"]),
        (["instances", 1, "id"], "i-bp1demo0h1", ["instances (id)", "twice"]),
        (["instances", 1, "type"], "ecs.t6-c1m2.large", ["trunk_eni", "ecs.g7.2xlarge"]),
        (["rate_limits", "Fly"], {}, ["rate_limits.Fly", *API_NAMES]),
        (["latencies", "attach"], -1, ["latencies.attach", "-1"]),
        (["faults"], [{"kind": "storm"}], ["faults[0]", "throttle", "ip_exhaustion"]),
        (["faults"], [{"kind": "throttle", "api": "X"}], ["throttle.api: ", "'*' (given: 'X')"]),
        (["faults"], [{"kind": "ip_exhaustion", "vswitch_id": "x"}], ["faults[0].vswitch_id"]),
        (["zones"], [], ["zones", "at least 1"]),
        (["access_keys"], [], ["access_keys"]),
    ],
)
def test_a_wrong_value_is_named_with_its_path_and_what_is_allowed(
    data: dict[str, Any], path: list[str | int], value: object, says: list[str]
) -> None:
    set_at(data, path, value)
    with pytest.raises(WorldError) as raised:
        parse_world(data, "my.yaml")
    for part in ["my.yaml", *says]:
        assert part in str(raised.value)


def test_every_problem_is_told_at_once(data: dict[str, Any]) -> None:
    set_at(data, ["vswitches", 0, "free_ips"], 9000)
    set_at(data, ["instances", 0, "type"], "t")
    with pytest.raises(WorldError, match=r"2 problem"):
        parse_world(data, "my.yaml")


def test_a_file_that_is_absent_or_not_yaml(tmp_path: Path) -> None:
    with pytest.raises(WorldError, match="No such file"):
        load_world(tmp_path / "absent.yaml")
    (tmp_path / "bad.yaml").write_text("a: [1")
    with pytest.raises(WorldError, match="not YAML"):
        load_world(tmp_path / "bad.yaml")
    (tmp_path / "text.yaml").write_text("just text")
    with pytest.raises(WorldError, match="must be a mapping"):
        load_world(tmp_path / "text.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"region: caf\xe9")
    with pytest.raises(WorldError, match=r"latin\.yaml is not UTF-8: byte 11"):
        load_world(tmp_path / "latin.yaml")


def test_the_small_world_of_these_tests_is_right(make: Callable[..., object]) -> None:
    assert make() is not None
