"""Several interfaces, whole ENIs, IPv6, and vSwitches that run out."""

from datetime import timedelta
from typing import Any

import pytest

from consumers.runtime.settings import PolicySettings
from deploy.local.cloud.faults import read_fault
from ledger.rules.allocation import Phase
from tests.simulation.ground import Ground
from tests.simulation.world import SimulatedWorld, ample_settings, demo_world, elastic, fixed

ETH0 = fixed("1h")
ETH1 = fixed("1h", interface="eth1", extraRoutes=[{"dst": "10.1.0.0/16"}])
ETH2 = fixed("1h", interface="eth2")


def live(world: SimulatedWorld) -> dict[str, Phase]:
    return {a.interface: a.phase for a in world.allocations() if a.phase is not Phase.RELEASED}


def shown(world: SimulatedWorld, pod: str = "a") -> dict[str, Any]:
    """Interface -> what the PodENI shows of it."""
    podeni = world.podeni(pod)
    assert podeni is not None
    assert podeni["status"]["phase"] == "Bind"
    listed = {item["interface"]: item for item in podeni["spec"]["allocations"]}
    assert set(podeni["status"]["eniInfos"]) == {item["eni"]["id"] for item in listed.values()}
    return listed


def test_several_interfaces_are_carried_into_one_podeni(world: SimulatedWorld) -> None:
    world.create_pod("a", networks=[ETH0, ETH1])
    world.settle(10)
    assert live(world) == {"eth0": Phase.BOUND, "eth1": Phase.BOUND}
    listed = shown(world)
    assert listed["eth1"]["extraRoutes"] == [{"dst": "10.1.0.0/16"}]
    assert "extraRoutes" not in listed["eth0"]
    assert listed["eth0"]["ipv4"] != listed["eth1"]["ipv4"]
    world.check_promises()


@pytest.mark.parametrize("away", [0.0, 3.0, 15.0])
@pytest.mark.parametrize(
    "after", [[ETH0], [ETH1], [ETH0, ETH1, ETH2], [ETH2]], ids=["first", "second", "more", "other"]
)
def test_a_recreated_pod_gets_exactly_what_it_asks_for(
    world: SimulatedWorld, after: list[dict[str, Any]], away: float
) -> None:
    world.create_pod("a", networks=[ETH0, ETH1])
    world.settle(10)
    before = {name: item["eni"]["id"] for name, item in shown(world).items()}
    world.delete_pod("a")
    world.settle(away)
    world.create_pod("a", node="node-h2", networks=after)
    world.settle(20)
    wanted = {network["interface"] for network in after}
    bound, kept = dict.fromkeys(wanted, Phase.BOUND), set(before) - wanted
    assert live(world) == bound | dict.fromkeys(kept, Phase.RESERVED)
    listed = shown(world)
    assert set(listed) == wanted
    for interface in wanted & set(before):
        assert listed[interface]["eni"]["id"] == before[interface], "the reservation is kept"
    assert all(world.member_enis()[before[interface]] == "Available" for interface in kept)
    world.check_promises()

    world.settle(3900, step=60)  # the reservation of what it does not ask for ends by itself
    assert live(world) == bound
    assert set(shown(world)) == wanted
    assert set(world.member_enis()) == {item["eni"]["id"] for item in listed.values()}

    world.delete_pod("a")
    world.settle(15)
    assert live(world) == dict.fromkeys(wanted, Phase.RESERVED)
    world.create_pod("a", networks=[ETH0, ETH1])
    world.settle(20)
    assert {"eth0", "eth1"} == set(shown(world))
    world.check_promises()


def test_a_dropped_interface_never_breaks_the_others_while_it_is_stuck(
    world: SimulatedWorld,
) -> None:
    world.create_pod("a", networks=[ETH0, ETH1])
    world.settle(10)
    (stuck,) = [a.address.eni for a in world.allocations() if a.interface == "eth1" and a.address]
    world.delete_pod("a")
    fault = {"kind": "error", "api": "DetachNetworkInterface", "code": "OperationConflict"}
    world.cloud.faults.put(read_fault(fault | {"parameters": {"NetworkInterfaceId": stuck}}))
    world.create_pod("a", node="node-h2", networks=[ETH0])
    world.settle(40)
    assert live(world) == {"eth0": Phase.BOUND, "eth1": Phase.LEAVING}
    assert set(shown(world)) == {"eth0"}
    world.cloud.faults.clear()
    world.settle(70)
    assert live(world) == {"eth0": Phase.BOUND, "eth1": Phase.RESERVED}
    assert set(shown(world)) == {"eth0"}
    world.check_promises()


def test_an_edit_of_a_running_pods_annotation_changes_nothing(world: SimulatedWorld) -> None:
    world.create_pod("a", networks=[ETH0])
    world.settle(10)
    pod = world.kube.get("/api/v1/namespaces/example/pods/a")
    annotations = pod["metadata"]["annotations"]
    annotations["k8s.aliyun.com/pod-networks"] = annotations["k8s.aliyun.com/pod-networks"].replace(
        '"eth0"', '"eth1"'
    )
    world.kube.update("/api/v1/namespaces/example/pods/a", pod)
    world.settle(10)
    assert live(world) == {"eth0": Phase.BOUND}
    assert set(shown(world)) == {"eth0"}


def test_a_pod_that_no_longer_takes_part_lets_its_reservation_end(world: SimulatedWorld) -> None:
    world.create_pod("a", networks=[fixed("5m")])
    world.settle(10)
    world.delete_pod("a")
    world.settle(10)
    plain = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "a", "namespace": "example"},
        "spec": {"nodeName": "node-h1", "containers": [{"name": "c", "image": "i"}]},
    }
    world.kube.create("/api/v1/namespaces/example/pods", plain)
    world.settle(310, step=5)
    assert live(world) == {}
    assert world.member_enis() == {}


def test_the_default_route_is_dropped_as_the_incumbent_does(world: SimulatedWorld) -> None:
    world.create_pod("a", networks=[ETH0, ETH1 | {"defaultRoute": True}])
    world.settle(10)
    assert not any("defaultRoute" in item for item in shown(world).values())


def test_one_default_route_is_carried_where_the_setting_says_so(ground: Ground) -> None:
    world = with_policy(ground, carry_default_route=True)
    world.create_pod("a", networks=[ETH0, ETH1 | {"defaultRoute": True}])
    world.settle(10)
    carried = {name: item.get("defaultRoute") for name, item in shown(world).items()}
    assert carried == {"eth0": None, "eth1": True}
    written = podeni_version(world)
    world.settle(60)
    assert podeni_version(world) == written, "the server's form of it is no difference"


def test_dual_stack_addresses_and_the_resource_group_are_shown(ground: Ground) -> None:
    world = with_policy(ground, ip_stack="dual", resource_group_id="rg-cluster")
    world.create_pod("a", networks=[ETH0, ETH1 | {"resourceGroupID": "rg-pod"}])
    world.settle(10)
    listed = shown(world)
    assert listed["eth0"]["ipv6"].startswith("2408:4005:3aa:1100:")
    assert listed["eth0"]["ipv6CIDR"] == "2408:4005:3aa:1100::/64"
    assert listed["eth0"]["eni"]["resourceGroupID"] == "rg-cluster"
    assert listed["eth1"]["eni"]["resourceGroupID"] == "rg-pod"
    world.check_promises()


def test_an_exclusive_node_gives_each_pod_a_whole_eni(world: SimulatedWorld) -> None:
    make_exclusive(world, "node-h1")
    traffic = {"networkInterfaceTrafficMode": "Standard"}
    for name, eni_type in (("default", "Default"), ("whole", "ENI")):
        options = {"eniOptions": {"eniType": eni_type}}
        world.create_pod(name, networks=[elastic(**options, **traffic)])
    world.settle(10)
    for name in ("default", "whole"):
        podeni = world.podeni(name)
        assert podeni is not None
        assert podeni["status"]["phase"] == "Bind"
        assert podeni["status"]["trunkENIID"] == ""
        (info,) = podeni["status"]["eniInfos"].values()
        assert info["type"] == "Secondary"
        assert "vid" not in info
    creates = [call for call in world.cloud.calls() if call.api == "CreateNetworkInterface"]
    assert {call.parameters["NetworkInterfaceTrafficMode"] for call in creates} == {"Standard"}
    world.check_promises()


@pytest.mark.parametrize(
    ("eni_type", "exclusive", "says"),
    [("Trunk", True, "gives each Pod a whole ENI"), ("ENI", False, "has a trunk")],
)
def test_what_a_node_cannot_give_is_told_and_costs_no_call(
    world: SimulatedWorld, eni_type: str, exclusive: bool, says: str
) -> None:
    if exclusive:
        make_exclusive(world, "node-h1")
    world.create_pod("a", networks=[elastic(eniOptions={"eniType": eni_type})])
    world.settle(5)
    found = world.kube.list("/apis/events.k8s.io/v1/namespaces/example/events")["items"]
    (note,) = [item["note"] for item in found if item["reason"] == "PodCreateFailed"]
    assert says in note
    assert world.mutating_calls() == []


def test_an_exclusive_node_has_room_for_what_its_type_allows(world: SimulatedWorld) -> None:
    make_exclusive(world, "node-h1")
    for name in ("a", "b", "c", "d"):  # the type allows 4 ENIs; the node has its primary one
        world.create_pod(name, networks=[elastic()])
        world.settle(6)
    waiting = [a.pod for a in world.allocations() if a.phase is Phase.WANTED]
    assert waiting == ["d"]
    assert world.mutating_calls().count("CreateNetworkInterface") == 3


def make_exclusive(world: SimulatedWorld, name: str) -> None:
    """Label the node and take its trunk away, as if it had never had one."""
    node = world.kube.get(f"/api/v1/nodes/{name}")
    node["metadata"]["labels"]["k8s.aliyun.com/exclusive-mode-eni-type"] = "eniOnly"
    trunk = node["metadata"]["annotations"].pop("k8s.aliyun.com/trunk-on")
    world.kube.update(f"/api/v1/nodes/{name}", node)
    instance = next(i.id for i in world.cloud.model.instances() if i.node == name)
    world.cloud.model.detach(trunk, instance, None)
    world.advance(timedelta(seconds=5))


def with_policy(ground: Ground, **policy: Any) -> SimulatedWorld:
    ground.clear()
    ample = ample_settings(demo_world())
    return SimulatedWorld(
        ground, settings=ample.model_copy(update={"policy": PolicySettings(**policy)})
    )


def podeni_version(world: SimulatedWorld) -> str:
    podeni = world.podeni("a")
    assert podeni is not None
    version: str = podeni["metadata"]["resourceVersion"]
    return version
