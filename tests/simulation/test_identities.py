"""P5, P11: whose address it is, when names, uids, nodes and owners change in every order."""

from datetime import timedelta

import pytest

from consumers.contract.encode import encode_observed
from ledger.rules.allocation import Phase
from ledger.store.places import WrongCluster, confirm_cluster
from tests.simulation.world import CLUSTER, SimulatedWorld, elastic


def addresses(world: SimulatedWorld) -> dict[str, str]:
    """Namespace/Pod -> IPv4 of everything that is bound."""
    return {
        f"{a.namespace}/{a.pod}": a.address.ipv4
        for a in world.allocations()
        if a.phase is Phase.BOUND and a.address
    }


def test_a_new_uid_under_the_name_is_the_heir_in_whatever_order_it_is_heard_of(
    world: SimulatedWorld,
) -> None:
    """The successor's creation arrives before the predecessor's deletion."""
    first = world.create_pod("web-0")
    world.settle(10)
    before = addresses(world)
    world.delete_pod("web-0")
    second = world.create_pod("web-0", node="node-h2")
    world.publish()
    late = [r for r in world.unread() if r.topic == "eni-ledger.pod.v1"]
    others = [r for r in world.unread() if r not in late]
    world.take([*others, *reversed(late)])
    world.settle(30)
    assert addresses(world) == before
    [a] = world.allocations()
    assert (a.pod_uid, first != second) == (second, True)


def test_the_same_name_in_another_namespace_is_somebody_else(world: SimulatedWorld) -> None:
    world.kube.create("/api/v1/namespaces", {"metadata": {"name": "other"}})
    world.create_pod("web-0")
    world.create_pod("web-0", namespace="other")
    world.settle(15)
    before = addresses(world)
    assert len(set(before.values())) == 2
    world.delete_pod("web-0", namespace="other")
    world.settle(30)
    assert addresses(world) == {"example/web-0": before["example/web-0"]}


def test_scaled_down_and_up_and_the_set_deleted_and_made_anew(world: SimulatedWorld) -> None:
    names = [f"web-{number}" for number in range(3)]
    for name in names:
        world.create_pod(name)
    world.settle(15)
    before = addresses(world)
    world.delete_pod("web-2")
    world.settle(15)
    world.create_pod("web-2")
    world.settle(15)
    assert addresses(world) == before, "scaled down and up"
    for name in names:
        world.delete_pod(name)
    world.settle(15)
    for name in names:
        world.create_pod(name, uid_owner="another-set")
    world.settle(20)
    assert addresses(world) == before, "the names are the identity, not the StatefulSet's uid"


def test_a_pod_forced_away_from_an_unreachable_node_takes_its_address_along(
    world: SimulatedWorld,
) -> None:
    """Rescheduled before the old ENI is off: it is taken off first, and was never in two places."""
    world.create_pod("web-0", node="node-h1")
    world.settle(10)
    before = addresses(world)
    world.delete_pod("web-0")
    world.create_pod("web-0", node="node-h2")
    world.settle(30)
    assert addresses(world) == before
    order = [
        call
        for call in world.mutating_calls()
        if call in ("AttachNetworkInterface", "DetachNetworkInterface")
    ]
    assert order == [
        "AttachNetworkInterface",
        "DetachNetworkInterface",
        "AttachNetworkInterface",
    ]


def test_a_message_that_puts_a_running_pod_on_another_node_moves_nothing(
    world: SimulatedWorld,
) -> None:
    world.create_pod("web-0", node="node-h1")
    world.settle(10)
    calls, before = len(world.mutating_calls()), world.podeni("web-0")
    claimed = world.kube.get("/api/v1/namespaces/example/pods/web-0")
    claimed["spec"]["nodeName"] = "node-h2"
    claimed["metadata"]["resourceVersion"] = str(world.kube.core.store.revision + 1)
    world.append("pod", encode_observed(CLUSTER, "pod", claimed, epoch=0))
    world.settle(60, step=5)
    assert len(world.mutating_calls()) == calls
    assert world.podeni("web-0") == before


def test_elastic_pods_of_one_name_never_inherit(world: SimulatedWorld) -> None:
    world.create_pod("job-0", networks=[elastic()])
    world.settle(10)
    [first] = world.allocations()
    world.delete_pod("job-0")
    world.create_pod("job-0", networks=[elastic()])
    world.settle(30)
    [second] = [a for a in world.allocations() if a.phase is Phase.BOUND]
    assert first.address is not None
    assert second.address is not None
    assert second.address.eni != first.address.eni


def test_a_kubeconfig_of_another_cluster_is_refused(world: SimulatedWorld) -> None:
    with world.database.transaction() as connection:
        confirm_cluster(connection, CLUSTER, "uid-of-kube-system")
    world.advance(timedelta(days=1))
    with (
        pytest.raises(WrongCluster, match="correct the kubeconfig"),
        world.database.transaction() as connection,
    ):
        confirm_cluster(connection, CLUSTER, "uid-of-another")
