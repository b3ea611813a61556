"""What the simulation found in our own code, each as the shortest story that shows it."""

import contextlib
from datetime import timedelta

from consumers.contract.encode import encode_listed, encode_observed
from consumers.contract.events import ListedPage
from consumers.reconciler.dispatch import work_once
from deploy.local.cloud.faults import read_fault
from ledger.rules.allocation import Phase
from ledger.store.absences import restart_every_ttl
from tests.simulation.test_messages import beat_from
from tests.simulation.world import CLUSTER, Crash, SimulatedWorld, elastic, fixed


def killed_after_creating_the_podeni(world: SimulatedWorld) -> None:
    """The reconciler dies between writing the PodENI and recording that it did."""

    def boundary(name: str) -> None:
        if name == "after POST object" and world.podeni("web-0") is not None:
            world.boundary = lambda name: None
            raise Crash(name)

    world.boundary = boundary
    world.publish()
    world.take()
    try:
        world.work()
    except Crash:
        return
    raise AssertionError("no PodENI was written")


def test_p4_a_podeni_that_was_never_recorded_goes_with_its_pod(world: SimulatedWorld) -> None:
    """Seed 1: it stayed for ever, and every later Pod of the name waited for somebody to remove it."""
    world.create_pod("web-0", networks=[elastic()])
    killed_after_creating_the_podeni(world)
    world.delete_pod("web-0")
    world.advance(timedelta(minutes=1))
    world.settle(10)
    assert [a.phase for a in world.allocations()] == [Phase.RELEASED]
    assert world.podeni("web-0") is None
    world.create_pod("web-0", networks=[elastic()])
    world.settle(10)
    assert world.allocations()[-1].phase is Phase.BOUND


def test_p4_a_podeni_that_was_never_recorded_does_not_hold_up_its_successor(
    world: SimulatedWorld,
) -> None:
    world.create_pod("web-0", networks=[elastic()])
    killed_after_creating_the_podeni(world)
    world.delete_pod("web-0")
    uid = world.create_pod("web-0", networks=[elastic()])
    world.advance(timedelta(minutes=1))
    world.settle(20)
    assert sorted(a.phase for a in world.allocations()) == [Phase.BOUND, Phase.RELEASED]
    podeni = world.podeni("web-0")
    assert podeni is not None
    assert podeni["status"]["phase"] == "Bind"
    assert podeni["metadata"]["annotations"]["k8s.aliyun.com/pod-uid"] == uid


def test_p2_a_pod_that_came_and_went_unseen_begins_the_absence_anew(world: SimulatedWorld) -> None:
    """Seed 9: everything was down while a Pod lived; only its end was seen, and the TTL went on
    from its predecessor's."""
    world.create_pod("web-0")
    world.settle(10)
    world.delete_pod("web-0")
    world.settle(10)
    world.advance(timedelta(minutes=50))
    world.create_pod("web-0")
    world.advance(timedelta(minutes=5))
    world.delete_pod("web-0")
    world.settle(10)
    world.advance(timedelta(minutes=50))
    world.settle(5)
    assert [a.phase for a in world.allocations()] == [Phase.RESERVED]
    world.advance(timedelta(minutes=10))
    world.settle(5)
    assert [a.phase for a in world.allocations()] == [Phase.RELEASED]
    world.check_promises()


def test_p10_a_call_that_was_not_sent_in_time_is_not_sent_at_all(world: SimulatedWorld) -> None:
    """Seed 21: asleep between intent and call, a process sent its delete eight minutes later, when
    another had long found the call undone and repeated it."""
    world.create_pod("web-0", networks=[elastic()])
    world.settle(10)
    world.delete_pod("web-0")
    world.publish()
    world.take()
    slept: list[str] = []

    def boundary(name: str) -> None:
        calls = world.ground.rows(
            "SELECT FROM ledger.cloud_call WHERE api = 'DetachNetworkInterface'"
        )
        if name == "after commit" and calls and not slept:
            slept.append(name)
            world.advance(timedelta(minutes=8))

    world.boundary = boundary
    world.work()
    assert slept
    world.settle(30)
    assert world.ground.rows("SELECT FROM ledger.entry WHERE kind = 'call-undone'")
    assert [a.phase for a in world.allocations()] == [Phase.RELEASED]
    assert world.mutating_calls().count("DetachNetworkInterface") == 1


def test_p11_a_bind_that_was_never_recorded_holds_up_no_later_pod(world: SimulatedWorld) -> None:
    """Seed 40: killed between writing Bind and recording it; the Pod was replaced, and its PodENI
    stayed in Bind for a uid that the ledger no longer knew it had found gone."""
    world.create_pod("web-0")

    def boundary(name: str) -> None:
        podeni = world.podeni("web-0") or {}
        if name == "after PUT status" and podeni["status"].get("phase") == "Bind":
            world.boundary = lambda name: None
            raise Crash(name)

    world.boundary = boundary
    with contextlib.suppress(Crash):
        world.settle(10)
    world.delete_pod("web-0")
    uid = world.create_pod("web-0", node="node-h2")
    world.advance(timedelta(minutes=1))
    world.settle(20)
    assert [a.phase for a in world.allocations()] == [Phase.BOUND]
    podeni = world.podeni("web-0")
    assert podeni is not None
    assert podeni["metadata"]["annotations"]["k8s.aliyun.com/pod-uid"] == uid
    assert podeni["status"]["instanceID"] == "i-bp1demo0h2"


def test_p10_a_podeni_created_after_the_claim_was_lost_is_taken_back(world: SimulatedWorld) -> None:
    """Seed 9: asleep right before the create, a process wrote the PodENI of an ENI that was long
    released, and every later Pod of the name waited for somebody to remove it."""
    world.create_pod("web-0", networks=[elastic()])
    world.publish()
    world.take()
    other = world.another_reconciler()
    slept: list[str] = []

    def boundary(name: str) -> None:
        known = world.ground.rows("SELECT FROM ledger.allocation WHERE eni IS NOT NULL")
        if name == "before POST object" and known and not slept and world.podeni("web-0") is None:
            slept.append(name)
            world.delete_pod("web-0")
            for _ in range(90):
                world.publish()
                world.take()
                while work_once(other):
                    pass
                world.advance(timedelta(seconds=1))

    world.boundary = boundary
    world.work()
    assert slept
    assert [a.phase for a in world.allocations()] == [Phase.RELEASED]
    assert world.podeni("web-0") is None
    world.create_pod("web-0", networks=[elastic()])
    world.settle(20)
    assert world.allocations()[-1].phase is Phase.BOUND


def test_p11_an_empty_list_hides_nobody_for_ever(world: SimulatedWorld) -> None:
    """Seed 238: a list that held nobody came in together with the first event of a Pod, which was
    older than the list, so taken for stale; the Pod waited for ever."""
    world.create_pod("web-0")
    world.publish()
    world.kube.create("/api/v1/namespaces", {"metadata": {"name": "later"}})
    version = world.kube.core.store.revision
    page = ListedPage("", None, ())
    world.append("pod", encode_listed(CLUSTER, "pod", page, epoch=0, resource_version=version))
    world.settle(10)
    assert [a.phase for a in world.allocations()] == [Phase.BOUND]


def test_p2_an_empty_list_keeps_no_pod_from_its_reservation(world: SimulatedWorld) -> None:
    world.create_pod("web-0", networks=[fixed(strategy="Never")])
    world.settle(10)
    [bound] = world.allocations()
    world.delete_pod("web-0")
    world.settle(10)
    world.create_pod("web-0", networks=[fixed(strategy="Never")])
    world.publish()
    world.kube.create("/api/v1/namespaces", {"metadata": {"name": "later"}})
    version = world.kube.core.store.revision
    page = ListedPage("", None, ())
    world.append("pod", encode_listed(CLUSTER, "pod", page, epoch=0, resource_version=version))
    world.settle(10)
    [again] = world.allocations()
    assert again.phase is Phase.BOUND
    assert again.address == bound.address


def test_p2_a_look_that_was_slept_over_ends_no_reservation(world: SimulatedWorld) -> None:
    """Between look and record the process slept, the Pod came back, and its event lagged behind."""
    world.create_pod("web-0")
    world.settle(10)
    world.delete_pod("web-0")
    world.settle(10)
    world.advance(timedelta(hours=1))
    world.publish()
    world.take()
    slept: list[str] = []

    def boundary(name: str) -> None:
        looking = world.ground.rows(
            "SELECT FROM ledger.work WHERE kind = 'pod' AND claim_token IS NOT NULL"
        )
        if name == "after GET object" and looking and not slept:
            slept.append(name)
            world.create_pod("web-0")
            world.advance(timedelta(seconds=40))

    world.boundary = boundary
    world.work()
    assert slept
    assert [a.phase for a in world.allocations()] != [Phase.RELEASING]
    world.settle(10)
    assert [a.phase for a in world.allocations()] == [Phase.BOUND]


def test_an_open_call_past_its_deadline_is_no_hot_loop(world: SimulatedWorld) -> None:
    """Seed 255: the outcome of a call was open, its deadline past, and the cloud could not be
    asked: the work was due again at once, over and over."""
    world.create_pod("web-0", networks=[elastic()])
    timeout = {"kind": "timeout", "effect": "before", "api": "AttachNetworkInterface", "times": 1}
    world.cloud.faults.put(read_fault(timeout))
    world.publish()
    world.take()
    world.work()
    world.cloud.faults.put(read_fault({"kind": "throttle", "api": "DescribeNetworkInterfaces"}))
    world.advance(timedelta(minutes=1))
    world.work(limit=20)
    world.cloud.clear_faults()
    world.settle(20)
    assert [a.phase for a in world.allocations()] == [Phase.BOUND]


def test_p2_a_look_at_its_end_makes_no_life_look_stale_that_is_still_on_its_way(
    world: SimulatedWorld,
) -> None:
    """Seed 10073: everybody was down when its hour ended; a Pod came back late and went again. The
    first look found nobody, and the messages about that Pod were stale when they came in."""
    world.create_pod("web-0", networks=[fixed("1h")])
    world.settle(10)
    world.delete_pod("web-0")
    world.settle(10)
    world.advance(timedelta(minutes=61))
    world.create_pod("web-0", networks=[fixed("1h")])
    world.advance(timedelta(minutes=1))
    world.delete_pod("web-0")
    gone = world.time
    world.work()
    world.settle(120, step=5)
    [kept] = world.allocations()
    assert kept.phase is Phase.RESERVED
    assert kept.ttl_due is not None
    assert kept.ttl_due >= gone + timedelta(hours=1)
    world.check_promises()


def test_p2_a_new_eni_is_not_taken_for_deleted_by_a_look_from_before_it(
    world: SimulatedWorld,
) -> None:
    """Seed 50397: Describe showed how things stood before the ENI was made. Deleted seconds later, and
    stuck in Deleting, it was taken for gone at the first look."""
    world.create_pod("web-0", networks=[elastic()])
    world.cloud.faults.put(read_fault({"kind": "describe_lag", "seconds": 20}))
    world.cloud.faults.put(read_fault({"kind": "stuck", "state": "Deleting", "seconds": 15}))
    world.cloud.faults.put(read_fault({"kind": "throttle", "api": "AttachNetworkInterface"}))
    world.settle(1)
    assert world.member_enis()
    world.delete_pod("web-0")
    for _ in range(90):
        world.settle(1)
        gone = world.ground.rows("SELECT FROM ledger.entry WHERE kind = 'eni-gone'")
        assert not (gone and world.member_enis()), "recorded as gone, and it is there"
    assert gone
    assert [a.phase for a in world.allocations()] == [Phase.RELEASED]


def test_p2_the_end_of_a_life_is_counted_once(world: SimulatedWorld) -> None:
    """Seed 50848: a Pod came and went unseen, then the log had a gap. The look at the reservation's
    end decided about that Pod again, and the TTL counted anew."""
    world.create_pod("web-0", networks=[fixed("1h")])
    world.settle(10)
    world.delete_pod("web-0")
    world.settle(10)
    world.create_pod("web-0", networks=[fixed("1h")])
    world.advance(timedelta(seconds=10))
    world.delete_pod("web-0")
    world.settle(10)
    with world.ground.shared.transaction() as connection:
        assert restart_every_ttl(connection, CLUSTER, "epoch 0 version 1 to 2", {}) == 1
    world.advance(timedelta(hours=1))
    world.kube.create("/api/v1/namespaces", {"metadata": {"name": "later"}})
    world.work()  # the look is ahead of what was taken in, so the end is not decided yet
    world.settle(30)
    assert [a.phase for a in world.allocations()] == [Phase.RELEASED]
    restarted = world.ground.rows("SELECT FROM ledger.entry WHERE kind = 'ttl-restarted'")
    assert len(restarted) == 2


def test_p11_a_forged_pod_on_a_node_that_nobody_knows_comes_to_an_end(
    world: SimulatedWorld,
) -> None:
    """Seed 50783: it waited for its node for ever, because nobody tells the end of a Pod that never was."""
    world.create_pod("ghost-0", node="node-x")
    forged = world.kube.get("/api/v1/namespaces/example/pods/ghost-0")
    world.delete_pod("ghost-0")
    world.publish()
    world.log.clear()
    world.append("pod", encode_observed(CLUSTER, "pod", forged, epoch=0))
    world.settle(60, step=10)
    assert [a.phase for a in world.allocations()] == [Phase.WANTED]
    world.settle(600, step=10)
    assert [a.phase for a in world.allocations()] == [Phase.RELEASED]


def test_a_pod_that_waits_long_for_its_node_is_served_when_it_comes(world: SimulatedWorld) -> None:
    node = world.kube.get("/api/v1/nodes/node-h1")
    trunk = node["metadata"]["annotations"].pop("k8s.aliyun.com/trunk-on")
    world.kube.update("/api/v1/nodes/node-h1", node)
    world.create_pod("web-0", networks=[elastic()])
    world.settle(900, step=15)
    [waiting] = world.allocations()
    assert (waiting.phase, waiting.version) == (Phase.WANTED, 1)
    node = world.kube.get("/api/v1/nodes/node-h1")
    node["metadata"]["annotations"]["k8s.aliyun.com/trunk-on"] = trunk
    world.kube.update("/api/v1/nodes/node-h1", node)
    world.settle(120, step=5)
    assert [a.phase for a in world.allocations()] == [Phase.BOUND]


def test_p2_a_gap_between_two_heartbeats_of_one_poll_restarts_the_ttl(
    world: SimulatedWorld,
) -> None:
    """Seed 60691: what came in after an outage began with a heartbeat from before the gap, and only the
    first one of a poll was looked at; a Pod that had lived in the gap did not count."""
    world.create_pod("web-0", networks=[fixed("1h")])
    world.settle(10)
    world.delete_pod("web-0")
    world.settle(10)
    world.heartbeat("pod")
    world.advance(timedelta(minutes=5))
    world.kube.create("/api/v1/namespaces", {"metadata": {"name": "later"}})
    beat_from(world, continuous_from=world.kube.core.store.revision)
    world.take()
    [kept] = world.allocations()
    assert kept.ttl_due == world.time + timedelta(hours=1)
