"""The weaknesses of the incumbent that concern an address's life (reference §11b), and how we differ.

W3, W4, W9 and W11 to W13 are about policies and admission: tests/compatibility has them.
"""

import contextlib
from datetime import timedelta
from typing import Any

from consumers.reconciler.dispatch import work_once
from deploy.local.cloud.faults import read_fault
from ledger.rules.allocation import Phase
from ledger.rules.instance_types import carrier_of
from ledger.store.places import carried_by
from tests.simulation.test_nodes import change_node
from tests.simulation.test_sweep import unknown_eni
from tests.simulation.world import Crash, SimulatedWorld, elastic, fixed


def without_trunk(node: dict[str, Any]) -> None:
    node["metadata"].get("annotations", {}).pop("k8s.aliyun.com/trunk-on", None)


def test_w1_a_fixed_pod_gone_before_it_was_attached_is_stuck_nowhere(world: SimulatedWorld) -> None:
    """Deleted on a node that had no trunk yet. The incumbent's PodENI detaches for ever."""
    change_node(world, "node-h1", without_trunk)
    world.create_pod("web-0")
    world.settle(10)
    world.delete_pod("web-0")
    world.settle(20)
    world.create_pod("web-0", node="node-h2")
    world.settle(20)
    served = [a for a in world.allocations() if a.phase is not Phase.RELEASED]
    assert [a.phase for a in served] == [Phase.BOUND]
    assert len(world.member_enis()) == 1
    world.check_promises()


def test_w2_p2_downtime_longer_than_the_ttl_ends_no_reservation(world: SimulatedWorld) -> None:
    """Everything is down for three hours; the Pod goes ten minutes before it is up again."""
    world.create_pod("web-0", networks=[fixed("1h")])
    world.settle(10)
    [bound] = world.allocations()
    world.advance(timedelta(hours=3))
    world.delete_pod("web-0")
    world.advance(timedelta(minutes=10))
    up_again = world.time
    world.settle(60, step=5)
    [reserved] = world.allocations()
    assert reserved.phase is Phase.RESERVED
    assert reserved.ttl_due is not None
    assert reserved.ttl_due >= up_again + timedelta(hours=1), "absence counts from when it was seen"
    world.create_pod("web-0", networks=[fixed("1h")])
    world.settle(20)
    [back] = world.allocations()
    assert (back.phase, back.address) == (Phase.BOUND, bound.address)


def test_w2_p8_a_ttl_needs_no_write_a_minute(world: SimulatedWorld) -> None:
    for number in range(5):
        world.create_pod(f"web-{number}")
    world.settle(20)
    revision = world.kube.core.store.revision
    world.settle(1800, step=30)
    assert world.kube.core.store.revision == revision


def test_w5_p4_a_restart_right_after_a_create_finds_the_eni_it_made(world: SimulatedWorld) -> None:
    """The incumbent's token is lost with the process: a second ENI, and ten minutes until its GC."""
    world.create_pod("web-0")
    with world.killed_at("after CreateNetworkInterface") as killed, contextlib.suppress(Crash):
        world.settle(5)
    assert killed
    world.advance(timedelta(seconds=60))
    world.settle(20)
    assert [a.phase for a in world.allocations()] == [Phase.BOUND]
    assert len(world.member_enis()) == 1
    tokens = {
        call.parameters.get("ClientToken")
        for call in world.cloud.calls()
        if call.api == "CreateNetworkInterface"
    }
    assert len(tokens) == 1


def test_w6_p4_a_leak_goes_within_two_looks_and_one_in_use_is_shown(world: SimulatedWorld) -> None:
    """Only ENIs with our tags are listed; one that something uses is a person's to judge."""
    world.create_pod("web-0")
    world.settle(10)
    [(intent,)] = world.ground.rows(
        "SELECT intent FROM ledger.cloud_call WHERE api = 'CreateNetworkInterface'"
    )
    leaked = unknown_eni(world, str(intent))
    world.settle(150, step=5)
    assert leaked not in world.member_enis()
    world.settle(60, step=5)
    in_use = unknown_eni(world, str(intent), token="in-use")
    world.cloud.model.attach(in_use, "i-bp1demo0h2", "eni-bp1trunk0h2", None)
    world.settle(300, step=5)
    assert world.member_enis()[in_use] == "InUse"
    assert world.ground.rows("SELECT kind FROM ledger.quarantine") == [("leak-in-use",)]
    listed = [call for call in world.cloud.calls() if call.api == "DescribeNetworkInterfaces"]
    assert all(
        any(key.startswith(("Tag.", "NetworkInterfaceId.")) for key in call.parameters)
        for call in listed
    )


def test_w7_an_attach_that_hangs_holds_up_nobody(world: SimulatedWorld) -> None:
    """One worker only: the incumbent's ten each wait up to minutes for one ENI."""
    stuck = {"kind": "stuck", "state": "Attaching", "times": 1}
    world.cloud.faults.put(read_fault(stuck))
    world.create_pod("stuck-0")
    world.settle(5)
    for number in range(8):
        world.create_pod(f"web-{number}", node=("node-h1", "node-h2")[number % 2])
    world.settle(15)
    phases = {a.pod: a.phase for a in world.allocations()}
    assert phases.pop("stuck-0") is Phase.WANTED
    assert set(phases.values()) == {Phase.BOUND}


def test_w8_an_attach_is_looked_at_before_it_is_asked_for_again(world: SimulatedWorld) -> None:
    world.create_pod("web-0")
    with world.killed_at("after AttachNetworkInterface") as killed, contextlib.suppress(Crash):
        world.settle(5)
    assert killed
    world.advance(timedelta(seconds=60))
    world.settle(20)
    assert [a.phase for a in world.allocations()] == [Phase.BOUND]
    assert world.mutating_calls().count("AttachNetworkInterface") == 1


def test_w8_an_eni_is_off_its_old_node_before_it_is_asked_onto_the_new_one(
    world: SimulatedWorld,
) -> None:
    world.create_pod("web-0", node="node-h1")
    world.settle(10)
    world.delete_pod("web-0")
    world.create_pod("web-0", node="node-h2")
    world.settle(30)
    [a] = world.allocations()
    assert a.phase is Phase.BOUND
    assert world.mutating_calls() == [
        "CreateNetworkInterface",
        "AttachNetworkInterface",
        "DetachNetworkInterface",
        "AttachNetworkInterface",
    ]


def test_w14_what_a_node_carries_is_known_after_a_restart(world: SimulatedWorld) -> None:
    for number in range(3):
        world.create_pod(f"web-{number}")
    world.settle(15)
    [first, *_] = world.allocations()
    assert first.place is not None
    carrier = carrier_of(first)
    assert carrier is not None
    restarted = world.another_reconciler()
    with restarted.database.transaction() as connection:
        assert carried_by(connection, first.cluster, "node-h1", carrier) == 3


def test_w15_a_podeni_stays_until_its_eni_is_gone(world: SimulatedWorld) -> None:
    world.create_pod("web-0", networks=[elastic()])
    world.settle(10)
    world.delete_pod("web-0")
    early: list[str] = []

    def boundary(name: str) -> None:
        if world.podeni("web-0") is None and world.member_enis():
            early.append(name)

    world.boundary = boundary
    world.settle(30)
    world.boundary = lambda name: None
    assert (world.podeni("web-0"), world.member_enis(), early) == (None, {}, [])
    assert [a.phase for a in world.allocations()] == [Phase.RELEASED]


def test_w16_pods_of_a_dead_node_come_to_an_end(world: SimulatedWorld) -> None:
    """The instance is released under a fixed and an elastic Pod; both are deleted by force."""
    world.create_pod("fixed-0")
    world.create_pod("elastic-0", networks=[elastic()])
    world.settle(10)
    world.cloud.model.kill("i-bp1demo0h1")
    world.kube.delete("/api/v1/nodes/node-h1", {})
    for name in ("fixed-0", "elastic-0"):
        world.delete_pod(name)
    world.settle(150, step=3)
    phases = {a.pod: a.phase for a in world.allocations()}
    assert phases["elastic-0"] is Phase.RELEASED
    assert phases["fixed-0"] in (Phase.RESERVED, Phase.RELEASED)
    world.create_pod("fixed-0", node="node-h2")
    world.settle(60, step=3)
    assert Phase.BOUND in {a.phase for a in world.allocations() if a.pod == "fixed-0"}
    assert not work_once(world.tools)
    world.check_promises()
