"""The main job on virtual time: bound, away, back, gone for good."""

from datetime import timedelta

from ledger.rules.allocation import Phase
from tests.simulation.world import SimulatedWorld, elastic


def test_a_fixed_ip_survives_its_pod_and_ends_with_its_ttl(world: SimulatedWorld) -> None:
    world.create_pod("my-nginx-0", node="node-h1")
    world.settle(10)
    [bound] = world.allocations()
    assert bound.phase is Phase.BOUND
    podeni = world.podeni("my-nginx-0")
    assert podeni is not None
    assert podeni["status"]["phase"] == "Bind"
    assert podeni["status"]["instanceID"] == "i-bp1demo0h1"
    world.check_promises()

    world.delete_pod("my-nginx-0")
    world.settle(10)
    [reserved] = world.allocations()
    assert reserved.phase is Phase.RESERVED

    world.create_pod("my-nginx-0", node="node-h2")
    world.settle(10)
    [again] = world.allocations()
    assert again.phase is Phase.BOUND
    assert again.address == bound.address
    world.check_promises()

    world.delete_pod("my-nginx-0")
    world.settle(10)
    world.advance(timedelta(minutes=59))
    world.settle(10)
    assert world.allocations()[0].phase is Phase.RESERVED
    world.advance(timedelta(minutes=1))
    world.settle(10)
    assert world.allocations()[0].phase is Phase.RELEASED
    assert world.member_enis() == {}
    assert world.podeni("my-nginx-0") is None
    world.check_promises()


def test_an_elastic_ip_goes_back_with_its_pod(world: SimulatedWorld) -> None:
    world.create_pod("web-1", networks=[elastic()])
    world.settle(10)
    assert world.allocations()[0].phase is Phase.BOUND
    world.delete_pod("web-1")
    world.settle(10)
    assert world.allocations()[0].phase is Phase.RELEASED
    assert world.member_enis() == {}
    world.check_promises()


def test_p8_at_rest_nothing_is_written(world: SimulatedWorld) -> None:
    world.create_pod("my-nginx-0")
    world.settle(10)
    calls, version = len(world.mutating_calls()), world.kube.list("/api/v1/nodes")["metadata"]
    world.settle(30)
    assert len(world.mutating_calls()) == calls
    assert world.kube.list("/api/v1/nodes")["metadata"] == version
