"""Nodes with too little room, without a trunk, replaced, or gone: no wasted call, and no Pod forgotten."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import yaml

from deploy.local.cloud.faults import read_fault
from deploy.local.cloud.world import World, parse_world
from ledger.rules.allocation import Phase
from tests.simulation.ground import Ground
from tests.simulation.world import ROOT, SimulatedWorld, elastic, fixed

Make = Callable[..., SimulatedWorld]


@pytest.fixture
def make(ground: Ground) -> Make:
    """A world changed by `change`, which gets the demo world as plain data."""

    def one(change: Callable[[dict[str, Any]], None]) -> SimulatedWorld:
        ground.clear()
        return SimulatedWorld(ground, world=demo(change))

    return one


def demo(change: Callable[[dict[str, Any]], None]) -> World:
    data = yaml.safe_load((ROOT / "deploy/local/worlds/demo.yaml").read_text())
    change(data)
    return parse_world(data, "a test's world")


def two_members(data: dict[str, Any]) -> None:
    data["instance_types"][0] |= {"eni_quantity": 4, "eni_total_quantity": 6}


def events(world: SimulatedWorld, pod: str, reason: str) -> list[str]:
    found = world.kube.list("/apis/events.k8s.io/v1/namespaces/example/events")["items"]
    return [
        item["note"]
        for item in found
        if item["regarding"]["name"] == pod and item["reason"] == reason
    ]


def change_node(world: SimulatedWorld, name: str, change: Callable[[Any], None]) -> None:
    node = world.kube.get(f"/api/v1/nodes/{name}")
    change(node)
    world.kube.update(f"/api/v1/nodes/{name}", node)


def phases(world: SimulatedWorld) -> dict[str, Phase]:
    return {a.pod: a.phase for a in world.allocations() if a.phase is not Phase.RELEASED}


def test_a_full_node_costs_no_call_and_a_freed_slot_wakes_who_waits(make: Make) -> None:
    world = make(two_members)
    for name in ("a", "b", "c"):
        world.create_pod(name, networks=[elastic()])
        world.settle(6)
    assert phases(world) == {"a": Phase.BOUND, "b": Phase.BOUND, "c": Phase.WANTED}
    assert world.mutating_calls().count("CreateNetworkInterface") == 2
    (note,) = events(world, "c", "PodCreateFailed")
    assert "no room" in note
    assert "allows 2 member ENIs" in note
    world.delete_pod("a")
    world.settle(8)  # far less than the minute after which it would look by itself
    assert phases(world) == {"b": Phase.BOUND, "c": Phase.BOUND}
    world.check_promises()


def test_two_pods_at_once_do_not_take_one_slot(make: Make) -> None:
    world = make(lambda data: data["instance_types"][0].update(eni_total_quantity=5))
    world.create_pod("a")
    world.create_pod("b")
    world.settle(10)
    assert sorted(phases(world).values()) == [Phase.BOUND, Phase.WANTED]
    assert world.mutating_calls().count("AttachNetworkInterface") == 1


def test_a_type_without_trunk_support_is_named(make: Make) -> None:
    def small(data: dict[str, Any]) -> None:
        data["instances"][0] |= {"type": "ecs.t6-c1m2.large", "trunk_eni": None}

    world = make(small)
    world.create_pod("a")
    world.settle(5)
    (note,) = events(world, "a", "PodCreateFailed")
    assert "ecs.t6-c1m2.large" in note
    assert "does not support a trunk" in note
    assert world.mutating_calls() == []


def test_a_node_without_its_trunk_yet_is_waited_for(world: SimulatedWorld) -> None:
    trunk = world.kube.get("/api/v1/nodes/node-h1")["metadata"]["annotations"]
    change_node(
        world,
        "node-h1",
        lambda node: node["metadata"]["annotations"].pop("k8s.aliyun.com/trunk-on"),
    )
    world.create_pod("a")
    world.settle(5)
    assert "trunk eni id not found" in events(world, "a", "PodCreateFailed")[0]
    assert world.mutating_calls() == []
    change_node(world, "node-h1", lambda node: node["metadata"]["annotations"].update(trunk))
    world.settle(8)
    assert phases(world) == {"a": Phase.BOUND}


def test_limits_are_looked_at_once_a_day(world: SimulatedWorld) -> None:
    def looks() -> int:
        return sum(call.api == "DescribeInstanceTypes" for call in world.cloud.calls())

    for name in ("a", "b"):
        world.create_pod(name)
        world.settle(5)
    assert looks() == 1
    world.advance(timedelta(days=1))
    world.create_pod("c")
    world.settle(5)
    assert looks() == 2


def test_limits_that_cannot_be_had_stop_nobody(world: SimulatedWorld) -> None:
    refuse(world, "DescribeInstanceTypes", "Forbidden.RAM")
    world.create_pod("a")
    world.settle(8)
    assert phases(world) == {"a": Phase.BOUND}
    world.settle(60)
    assert phases(world) == {"a": Phase.BOUND}


def refuse(world: SimulatedWorld, api: str, code: str) -> None:
    world.cloud.faults.put(read_fault({"kind": "error", "api": api, "code": code}))


def test_wanted_pods_of_a_replaced_node_use_its_new_facts(make: Make) -> None:
    def spare(data: dict[str, Any]) -> None:
        data["instances"].append(
            data["instances"][0]
            | {
                "id": "i-new",
                "node": "node-new",
                "private_ip": None,
                "primary_eni": "eni-new-primary",
                "trunk_eni": "eni-new-trunk",
            }
        )

    world = make(spare)
    world.create_pod("a")
    world.publish()
    world.take()
    world.work()
    (attaching,) = world.allocations()
    assert attaching.phase is Phase.WANTED
    assert attaching.place is not None
    assert attaching.place.instance_id == "i-bp1demo0h1"

    world.cloud.model.kill("i-bp1demo0h1")
    new = world.kube.get("/api/v1/nodes/node-new")
    world.kube.delete("/api/v1/nodes/node-h1", {})
    for key in ("uid", "resourceVersion", "creationTimestamp"):
        new["metadata"].pop(key)
    new["metadata"]["name"] = "node-h1"
    world.kube.create("/api/v1/nodes", new)
    world.settle(60)
    (bound,) = world.allocations()
    assert bound.phase is Phase.BOUND
    assert bound.attachment is not None
    assert bound.attachment.instance_id == "i-new"
    assert bound.attachment.trunk_eni_id == "eni-new-trunk"
    world.check_promises()


def test_pods_of_a_node_that_is_gone_with_its_enis_come_to_an_end(world: SimulatedWorld) -> None:
    world.create_pod("kept", networks=[fixed("1h")])
    world.create_pod("goes", networks=[elastic()])
    world.settle(10)
    world.cloud.model.kill("i-bp1demo0h1")
    world.kube.delete("/api/v1/nodes/node-h1", {})
    world.delete_pod("kept")
    world.delete_pod("goes")
    world.settle(60)
    assert phases(world) == {"kept": Phase.RESERVED}
    assert len(world.member_enis()) == 1
    world.create_pod("kept", node="node-h2")
    world.settle(10)
    assert phases(world) == {"kept": Phase.BOUND}
    world.check_promises()
