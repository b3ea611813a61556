"""P5, P11: `adopt --apply` and `handover return` killed at every point, and given again: the same end."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from consumers.kube import objects
from consumers.reconciler.incumbent import why_not_master
from consumers.takeover import stopping
from consumers.takeover.backups import Backups
from consumers.takeover.returning import give_back
from consumers.takeover.steps import Steps
from tests.integration.takeover.broken_off import Command, end, killed, states_left
from tests.integration.takeover.terway import GROUP, TerwayCluster
from tests.simulation.ground import Ground
from tests.simulation.world import CLUSTER, elastic


def begun(ground: Ground) -> TerwayCluster:
    """Always the same cluster: Pods that run, one that is gone, a reservation, a dispute, a later Pod."""
    ground.clear()
    cluster = TerwayCluster(ground)
    cluster.install_controlplane()
    cluster.terway_pod("runs-0")
    cluster.terway_pod("flows-0", network=elastic())
    twin = cluster.terway_pod("twin-0", phase="Unbind", pod="gone")
    cluster.terway_pod("twin-1", phase="Unbind", pod="gone", eni=twin)
    cluster.terway_pod("left-0", pod="gone")
    cluster.terway_pod("later-0", pod="replaced", node="node-h2")
    cluster.publish()
    cluster.take()
    return cluster


def tried(ground: Ground, prepare: Command, command: Command) -> tuple[int, TerwayCluster]:
    """Kill the command at each of its states, give it again, and compare; how many there were."""

    def ready() -> TerwayCluster:
        cluster = begun(ground)
        prepare(cluster)
        return cluster

    cluster = ready()
    stops = states_left(cluster, command)
    uninterrupted = end(cluster)
    for at in stops:
        cluster = ready()
        calls = len(cluster.mutating_calls())
        killed(cluster, command, at)
        command(cluster)
        assert end(cluster) == uninterrupted, f"killed at boundary {at} of {stops}"
        assert cluster.mutating_calls()[calls:] == []
    return len(stops), cluster


def test_p5_adopt_killed_anywhere_ends_as_if_never_killed(takeover_ground: Ground) -> None:
    def adopt(cluster: TerwayCluster) -> None:
        _, applied = cluster.adopt()
        assert applied.not_recorded == ()

    number, cluster = tried(takeover_ground, lambda _: None, adopt)
    assert number > 6, "each PodENI is a transaction, and the brake one before them"
    writes = cluster.kube_writes()
    _, again = cluster.untouched(cluster.adopt)
    assert (again.decisions, again.entries) == (0, 0)
    assert cluster.kube_writes() == writes


def test_p11_a_return_killed_anywhere_ends_as_if_never_killed(
    takeover_ground: Ground, tmp_path: Path
) -> None:
    backups = Backups(tmp_path / "backup")

    def prepare(cluster: TerwayCluster) -> None:
        stopping.stop(cluster.source, backups, Steps(False))
        # What can't be given back as it is goes its way first: the dispute, the later Pod, the gone one.
        for name in ("twin-1", "later-0", "left-0"):
            path = f"{GROUP}/namespaces/example/podenis/{name}"
            seen = cluster.kube.get(path)
            cluster.kube.update(path, {**seen, "metadata": {**seen["metadata"], "finalizers": []}})
            cluster.kube.delete(path)
        cluster.delete_pod("later-0")
        cluster.publish()
        cluster.take()
        cluster.adopt()
        cluster.accept()
        cluster.settle(10, step=5)

    def give(cluster: TerwayCluster) -> None:
        def master() -> str | None:
            return why_not_master(cluster.tools.kube, cluster.time)

        give_back(
            cluster.source, backups, Steps(False), master, "moving back", timedelta(seconds=10)
        )

    number, cluster = tried(takeover_ground, prepare, give)
    assert number > 6
    assert {a.phase for a in cluster.allocations()} == {"released"}
    assert why_not_master(cluster.tools.kube, cluster.time) is not None
    [(_, scope, by)] = cluster.ground.rows("SELECT cluster, scope, pulled_by FROM ledger.brake")
    assert (scope, by) == ("all", "handover return")


def test_requests_of_an_adoption_grow_with_pages_and_not_with_pods(
    takeover_ground: Ground, monkeypatch: pytest.MonkeyPatch
) -> None:
    def requests(act: Callable[[], Any]) -> int:
        asked: list[str] = []
        cluster.boundary = asked.append
        act()
        cluster.boundary = lambda name: None
        return len([name for name in asked if name.startswith("before GET")])

    def adopt() -> None:
        assert cluster.adopt()[1].not_recorded == ()

    counted = {}
    for pods in (2, 7):
        takeover_ground.clear()
        cluster = TerwayCluster(takeover_ground)
        for number in range(pods):
            cluster.terway_pod(f"web-{number}")
        plan = requests(cluster.plan)
        monkeypatch.setattr(objects, "PAGE", 3)
        paged = requests(cluster.plan)
        monkeypatch.undo()
        counted[pods] = (plan, paged - plan, requests(adopt), requests(adopt))
    # PodENIs, NetworkInterfaces and Pods: one list each. Which cluster, and the Pods again: to record.
    assert counted[2] == (3, 0, 5, 4)
    assert counted[7] == (3, 4, 5, 4), "two lists of ours, each with two pages more"
    assert CLUSTER in {a.cluster for a in cluster.allocations()}
    # Whoever is said to be gone is looked at by itself.
    for number in range(2):
        cluster.terway_pod(f"left-{number}", pod="gone")
    assert requests(adopt) == 4 + 2
