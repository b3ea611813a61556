"""P1, P2, P4, P11: a cluster is taken over from terway-controlplane, and nobody notices.

0 cloud mutations, 0 writes to Kubernetes, 0 Pods without their ENI; then life goes on.
"""

from datetime import timedelta

import pytest

from ledger.audit.health import findings
from ledger.rules.allocation import Phase
from tests.integration.takeover.terway import TerwayCluster
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
