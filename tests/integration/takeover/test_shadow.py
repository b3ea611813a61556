"""P11: a shadow records and reports, and writes nothing to Kubernetes or the cloud; its ledger goes live
by adoption alone."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from consumers.admission.main import run as run_webhook
from consumers.reconciler.shadow import ShadowWrite, looking_only
from consumers.runtime.errors import OperatorError
from consumers.runtime.health import Health
from consumers.takeover.facts import look
from ledger.rules.allocation import Phase
from ledger.rules.shadowing import compare
from ledger.rules.takeover import plan_takeover
from ledger.store.incarnations import begin_shadow, not_the_truth
from tests.integration.takeover.terway import TerwayCluster
from tests.simulation.world import CLUSTER, elastic, fixed


def shadowed(cluster: TerwayCluster) -> None:
    """From here on the reconciler is a shadow's."""
    settings = cluster.settings.model_copy(update={"shadow": True})
    cluster.tools = looking_only(replace(cluster.tools, settings=settings))
    with cluster.database.transaction() as connection:
        assert begin_shadow(connection, CLUSTER) is None


def test_a_shadow_writes_nothing_and_tells_what_it_would_do(cluster: TerwayCluster) -> None:
    live = cluster.tools
    cluster.terway_pod("runs-0")
    cluster.terway_pod("flows-0", network=elastic())
    cluster.terway_pod("rests-0", phase="Unbind", pod="gone")
    cluster.terway_pod("odd-0", phase="Detaching")
    shadowed(cluster)

    def live_on() -> None:
        cluster.settle(30, step=5)

    cluster.untouched(live_on)
    # The users' doing is none of ours.
    cluster.create_pod("asks-0")
    cluster.delete_pod("flows-0")
    cluster.untouched(live_on)
    rows = "SELECT name, waiting_for FROM ledger.work WHERE kind = 'pod' ORDER BY name"
    would = dict(cluster.ground.rows(rows))
    assert would["asks-0"] == "shadow: would place the Pod on node-h1 and give it an ENI"
    assert (
        would["flows-0"] == "shadow: would look whether its Pod is gone, and take the ENI off if so"
    )

    def report() -> Any:
        facts = look(cluster.source)
        return compare(facts, plan_takeover(facts, cluster.tools.new_id))

    told = {each.pod: each for each in cluster.untouched(report)}
    assert {name for name, each in told.items() if each.same} == {"runs-0", "rests-0", "flows-0"}
    assert "while its Pod runs" in told["odd-0"].differences[0]
    assert "has made no PodENI" in told["asks-0"].differences[0]
    with pytest.raises(ShadowWrite):
        cluster.tools.cloud.delete_eni("eni-1")
    with pytest.raises(ShadowWrite):
        cluster.tools.kube.publish_event(None)  # type: ignore[arg-type]

    # A live reconciler on a shadow's ledger stands still, until it is adopted.
    cluster.tools = live
    cluster.untouched(lambda: cluster.settle(20, step=5))
    with cluster.database.transaction() as connection:
        assert "adopt --apply" in str(not_the_truth(connection, CLUSTER))
    cluster.adopt()
    with cluster.database.transaction() as connection:
        assert not_the_truth(connection, CLUSTER) is None
        assert "database of its own" in str(begin_shadow(connection, CLUSTER))
    cluster.accept()
    cluster.settle(90, step=5)
    assert cluster.of("asks-0").phase is Phase.BOUND
    assert cluster.of("runs-0").phase is Phase.BOUND


def test_where_a_shadow_would_read_a_pod_otherwise_it_says_so(cluster: TerwayCluster) -> None:
    grouped = cluster.incumbent_eni(groups=("sg-bpyyyy", "sg-bpxxxx"))
    cluster.terway_pod("runs-0", network=fixed("1h"), eni=grouped)
    podeni = cluster.podeni("runs-0")
    assert podeni is not None
    podeni["spec"]["allocations"][0]["allocationType"]["releaseAfter"] = "2h"
    cluster.kube.update(
        "/apis/network.alibabacloud.com/v1beta1/namespaces/example/podenis/runs-0", podeni
    )
    facts = look(cluster.source)
    [told] = compare(facts, plan_takeover(facts, cluster.tools.new_id))
    differences = " ".join(told.differences)
    assert "2h" in differences
    assert "sg-bpyyyy" in differences, "the Pod asks for one group, the incumbent gave it two"


def test_a_shadow_registers_no_webhook(cluster: TerwayCluster) -> None:
    settings = cluster.settings.model_copy(update={"shadow": True})
    with pytest.raises(OperatorError, match="shadow"):
        asyncio.run(run_webhook(settings, asyncio.Event(), Health()))
