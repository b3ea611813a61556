"""P1, P2, P4, P11: a cluster is taken over from terway-controlplane, and nobody notices.

0 cloud mutations, 0 writes to Kubernetes, 0 Pods without their ENI; then life goes on.
"""

from dataclasses import replace
from datetime import timedelta

import pytest

from consumers.takeover.adopt import doubtful
from consumers.takeover.facts import look
from ledger.audit.health import findings
from ledger.rules.allocation import Phase
from ledger.rules.takeover import plan_takeover
from ledger.store.repairs import order_repair
from tests.integration.takeover.terway import GROUP, TerwayCluster
from tests.simulation.world import CLUSTER, elastic, fixed


def phases(cluster: TerwayCluster) -> dict[str, str]:
    return {a.pod: a.phase.value for a in cluster.allocations() if a.phase != Phase.RELEASED}


def podeni(cluster: TerwayCluster, name: str) -> str:
    return str((cluster.podeni(name) or {}).get("status", {}).get("phase"))


@pytest.mark.parametrize("heard_before", [True, False], ids=["after shadow", "at once"])
def test_a_whole_cluster_is_adopted_and_life_goes_on(
    cluster: TerwayCluster, heard_before: bool
) -> None:
    first_seen = cluster.time - timedelta(minutes=20)
    runs = cluster.terway_pod("runs-0")
    flows = cluster.terway_pod("flows-0", network=elastic(), node="node-h2")
    rests = cluster.terway_pod("rests-0", phase="Unbind", pod="gone", last_seen=first_seen)
    never = cluster.terway_pod(
        "never-0", phase="Unbind", pod="gone", network=fixed(strategy="Never")
    )
    left = cluster.terway_pod("left-0", pod="gone")
    cluster.terway_pod("ended-0", pod="finished", network=elastic())
    going = cluster.terway_pod("going-0", phase="Detaching", pod="gone")
    waits = cluster.terway_pod("waits-0", phase="")
    cluster.terway_pod("stuck-0", phase="Detaching", pod="gone", eni=None)
    specs = {
        name: (cluster.podeni(name) or {})["spec"] for name in ("runs-0", "rests-0", "flows-0")
    }
    if heard_before:
        cluster.publish()
        cluster.take()

    plan = cluster.untouched(cluster.plan)
    assert {d.pod: d.what for d in plan} == {
        "runs-0": "bound", "flows-0": "bound", "rests-0": "reserved", "never-0": "reserved",
        "left-0": "departing", "ended-0": "departing", "going-0": "departing",
        "waits-0": "serving", "stuck-0": "departing",
    }  # fmt: skip
    _, applied = cluster.untouched(cluster.adopt)
    assert (applied.decisions, applied.not_recorded) == (9, ())
    assert cluster.of("rests-0").ttl_due == first_seen + timedelta(hours=1)
    assert cluster.of("never-0").ttl_due is None
    held = {a.pod: a.address.eni for a in cluster.allocations() if a.address}
    assert held["runs-0"] == runs.id
    _, again = cluster.untouched(cluster.adopt)
    assert (again.decisions, again.entries) == (0, 0)

    # Nothing is taken away before it is accepted; what is wanted is served.
    used, calls = cluster.used_enis(), len(cluster.mutating_calls())
    cluster.settle(100, step=5)
    assert {*used, waits.id} == set(cluster.used_enis())
    assert cluster.mutating_calls()[calls:] == ["AttachNetworkInterface"]
    assert podeni(cluster, "waits-0") == "Bind"
    assert phases(cluster)["left-0"] == "bound"

    cluster.accept()
    cluster.settle(180, step=5)
    assert phases(cluster) == {
        "runs-0": "bound", "flows-0": "bound", "rests-0": "reserved", "never-0": "reserved",
        "left-0": "reserved", "going-0": "reserved", "stuck-0": "reserved", "waits-0": "bound",
    }  # fmt: skip
    assert set(cluster.used_enis()) == {runs.id, flows.id, waits.id}
    assert cluster.podeni("ended-0") is None
    assert {eni.id for eni in cluster.cloud.model.enis()} >= {never.id, left.id, going.id}
    for name, spec in specs.items():
        assert (cluster.podeni(name) or {})["spec"] == spec, "no PodENI's spec is changed"
    restored = [e for a in cluster.allocations() for e in [a.restorations] if e]
    assert restored == [], "and nothing is written back"

    # A Pod that goes and comes back finds its address; a reservation ends when it would have.
    cluster.delete_pod("runs-0")
    cluster.settle(60, step=3)
    cluster.create_pod("runs-0", node="node-h2")
    cluster.settle(60, step=3)
    assert cluster.of("runs-0").phase is Phase.BOUND
    assert cluster.used_enis()[runs.id] == "i-bp1demo0h2"
    cluster.delete_pod("flows-0")
    cluster.settle(60, step=3)
    assert flows.id not in {eni.id for eni in cluster.cloud.model.enis()}
    cluster.advance(first_seen + timedelta(minutes=59) - cluster.time)
    cluster.settle(10)
    assert rests.id in {eni.id for eni in cluster.cloud.model.enis()}
    cluster.settle(600, step=10)
    assert rests.id not in {eni.id for eni in cluster.cloud.model.enis()}
    assert cluster.podeni("rests-0") is None
    cluster.check_promises()
    with cluster.database.transaction() as connection:
        assert [f for f in findings(connection, CLUSTER) if f.what != "keeps failing"] == []


def test_what_is_not_plainly_so_is_listed_with_its_decision(cluster: TerwayCluster) -> None:
    def deleted(eni: str) -> None:
        cluster.tools.cloud.delete_eni(eni)
        cluster.advance(timedelta(seconds=30))

    twin = cluster.terway_pod("twin-0")
    cluster.terway_pod("twin-1", phase="Unbind", pod="gone", eni=twin)
    lost = cluster.terway_pod("lost-0", phase="Unbind", pod="gone")
    deleted(lost.id)
    other = cluster.incumbent_eni({"ack.aliyun.com": "c-other", "creator": "terway-controller"})
    cluster.terway_pod("foreign-0", eni=other)
    hand = cluster.incumbent_eni({"ack.aliyun.com": CLUSTER, "creator": "ann"})
    cluster.terway_pod("hand-0", eni=hand)
    seen = cluster.time - timedelta(minutes=3)
    short = fixed("1m")
    cluster.terway_pod("short-0", phase="Unbind", pod="gone", network=short, last_seen=seen)
    both = ["pod-eni", "network.alibabacloud.com/pod-eni"]
    cluster.terway_pod("both-0", finalizers=both)
    cluster.terway_pod("odd-0", phase="Melting")
    cluster.terway_pod("bare-0", annotations={})
    went = cluster.terway_pod("went-0", pod="gone")
    cluster.kube.delete(f"{GROUP}/namespaces/example/podenis/went-0")
    cut = cluster.terway_pod("cut-0")
    cluster.tools.cloud.detach_eni(cut.id, "i-bp1demo0h1", "eni-bp1trunk0h1")
    later = cluster.terway_pod("later-0", pod="replaced", node="node-h2")
    swift = cluster.terway_pod("swift-0", pod="replaced", node="node-h2", network=elastic())
    orphan = cluster.incumbent_eni()
    cluster.advance(timedelta(seconds=30))
    cluster.publish()
    cluster.take()

    decided, applied = cluster.untouched(cluster.adopt)
    assert {name: d.what for name, d in decided.items()} == {
        "twin-0": "bound", "twin-1": "disputed", "lost-0": "missing", "foreign-0": "foreign",
        "hand-0": "foreign", "short-0": "reserved", "both-0": "bound", "odd-0": "unclear",
        "bare-0": "unclear", "went-0": "releasing", "cut-0": "lost", "later-0": "serving",
        "swift-0": "departing",
        orphan.id: "orphan",
    }  # fmt: skip
    assert applied.not_recorded == ()
    assert decided["short-0"].due == seen + timedelta(minutes=5), "never shortened, and not below"
    assert "minimum of 5 minutes" in " ".join(decided["short-0"].notes)
    assert "both finalizers" in " ".join(decided["both-0"].notes)
    assert "c-other" in decided["foreign-0"].why
    assert "creator=ann" in decided["hand-0"].why
    disputed = cluster.of("twin-1")
    assert disputed.address is None
    assert str(cluster.of("twin-0").id) in str(disputed.parked)
    assert "example/twin-0" in str(disputed.parked)
    assert {a.pod for a in cluster.allocations() if a.parked} == {"twin-1", "lost-0", "cut-0"}
    _, again = cluster.untouched(cluster.adopt)
    assert (again.decisions, again.entries) == (0, 0)

    used = cluster.used_enis()
    cluster.settle(100, step=5)
    assert cluster.used_enis() == used, "nothing is taken away before it is accepted"
    cluster.accept()
    cluster.settle(150, step=5)
    assert went.id not in {eni.id for eni in cluster.cloud.model.enis()}
    assert cluster.podeni("went-0") is None
    assert cluster.of("later-0").phase is Phase.BOUND
    assert cluster.of("swift-0").phase is Phase.BOUND
    own = cluster.of("swift-0").address
    assert own is not None
    kept = used.keys() - {went.id, swift.id}
    assert cluster.used_enis().keys() == kept | {own.eni}, "later-0 took its ENI over, swift-0 not"
    assert swift.id not in {eni.id for eni in cluster.cloud.model.enis()}
    assert later.id in cluster.used_enis()
    for untouched in (other, hand, orphan, twin):
        assert untouched.id in {eni.id for eni in cluster.cloud.model.enis()}
    # The Pod that lost its ENI goes, and its successor has its address again.
    cluster.delete_pod("cut-0")
    cluster.settle(60, step=3)
    cluster.create_pod("cut-0")
    # A person has made sure, and lets the lost and the disputed ones go.
    cluster.kube.delete(f"{GROUP}/namespaces/example/podenis/twin-1")
    with cluster.database.transaction() as connection:
        order_repair(connection, CLUSTER, set(), "ann@host", cluster.time)
        found = {f.work for f in findings(connection, CLUSTER) if f.work is not None}
        order_repair(connection, CLUSTER, found, "ann@host", cluster.time)
    cluster.settle(90, step=3)
    assert cluster.of("cut-0").phase is Phase.BOUND
    assert cluster.used_enis()[cut.id] == "i-bp1demo0h1"
    assert cluster.podeni("lost-0") is None
    assert cluster.podeni("twin-1") is None
    assert twin.id in cluster.used_enis()
    cluster.check_promises()


def test_a_look_that_can_not_be_right_is_not_recorded(cluster: TerwayCluster) -> None:
    cluster.terway_pod("web-0")
    source = cluster.source
    facts = look(source)
    nothing = replace(facts, enis={})
    assert "region" in str(doubtful(nothing, plan_takeover(nothing, source.new_id)))
    elsewhere = replace(facts, cluster="c-elsewhere")
    assert "cluster id" in str(doubtful(elsewhere, plan_takeover(elsewhere, source.new_id)))
