"""P2, P11: from the incumbent to us and back, and no Pod is without its ENI on the way."""

from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from consumers.reconciler.incumbent import why_not_master
from consumers.takeover import stopping
from consumers.takeover.backups import BackupDiffers, Backups
from consumers.takeover.returning import give_back
from consumers.takeover.steps import Steps, Unsafe
from ledger.rules.allocation import Phase
from ledger.store.brakes import read_brakes
from tests.integration.takeover.terway import (
    CONFIG_MAPS,
    DEPLOYMENT,
    GROUP,
    NI_PATH,
    WEBHOOKS,
    TerwayCluster,
)
from tests.simulation.world import CLUSTER, Crash

NAME = "terway-controlplane"


def master(cluster: TerwayCluster) -> str | None:
    return why_not_master(cluster.tools.kube, cluster.time)


def replicas(cluster: TerwayCluster) -> int:
    return int(cluster.kube.get(f"{DEPLOYMENT}/{NAME}")["spec"]["replicas"])


def registered(cluster: TerwayCluster, name: str = NAME) -> list[str]:
    found = []
    for kind in ("mutating", "validating"):
        items = cluster.kube.list(WEBHOOKS.format(kind))["items"]
        found += [kind for each in items if each["metadata"]["name"] == name]
    return found


def our_webhooks(cluster: TerwayCluster) -> None:
    """Ours, as its process registers them."""
    for kind in ("mutating", "validating"):
        [theirs] = cluster.kube.list(WEBHOOKS.format(kind))["items"]
        hooks = theirs["webhooks"]
        cluster.kube.create(
            WEBHOOKS.format(kind), {"metadata": {"name": "eni-ledger"}, "webhooks": hooks}
        )


def done(steps: Steps) -> set[str]:
    return {state for state, _ in steps.lines}


def test_the_way_there_and_back(cluster: TerwayCluster, tmp_path: Path) -> None:
    cluster.install_controlplane()
    backups = Backups(tmp_path / "backup")
    runs = cluster.terway_pod("runs-0")
    moves = cluster.terway_pod("moves-0")
    rests = cluster.terway_pod("rests-0", phase="Unbind", pod="gone")
    gone = cluster.terway_pod("gone-0", pod="gone")
    stuck = cluster.terway_pod("stuck-0", phase="Detaching", pod="gone")
    our_webhooks(cluster)
    assert "controllers pod, pod-eni, eni on" in str(master(cluster))

    def told() -> Steps:
        steps = Steps(dry_run=True)
        stopping.stop(cluster.source, backups, steps)
        return steps

    assert done(cluster.untouched(told)) == {"would"}
    assert not backups.directory.exists()
    stopping.stop(cluster.source, backups, Steps(False))
    assert (replicas(cluster), registered(cluster), master(cluster)) == (0, [], None)
    again = Steps(False)
    stopping.stop(cluster.source, backups, again)
    assert done(again) == {"already"}
    kept = sorted(path.name for path in backups.directory.iterdir())
    assert kept == [
        f"{NAME}.{each}.yaml"
        for each in (
            "deployments",
            "mutatingwebhookconfigurations",
            "validatingwebhookconfigurations",
        )
    ]
    stopping.cleanup(cluster.source, backups, Steps(False))
    assert cluster.kube.list(DEPLOYMENT)["items"] == []

    cluster.adopt()
    cluster.accept()
    cluster.settle(120, step=5)
    with pytest.raises(Unsafe, match="handover return"):
        stopping.restore(cluster.source, backups, Steps(False))
    # Life goes on: one moves, one is new, one reservation is claimed.
    cluster.delete_pod("moves-0")
    cluster.settle(60, step=3)
    cluster.create_pod("moves-0", node="node-h2")
    cluster.create_pod("fresh-0", node="node-h2")
    cluster.create_pod("stuck-0", node="node-h1")
    cluster.settle(60, step=3)
    made = cluster.of("fresh-0").address
    assert made is not None
    in_use = cluster.used_enis()
    assert in_use.keys() == {runs.id, moves.id, stuck.id, made.eni}

    # A Pod on its way is no moment to hand over.
    cluster.create_pod("late-0", node="node-h1")
    cluster.publish()
    cluster.take()
    cluster.tools.cloud.delete_eni(gone.id)  # behind our back: its record is to go
    with cluster.killed_at("after AttachNetworkInterface"), pytest.raises(Crash):
        cluster.work()
    back = (cluster.source, backups, Steps(False), lambda: master(cluster), "moving back")
    with pytest.raises(Unsafe, match="late-0"):
        give_back(*back, timedelta(seconds=3))
    with cluster.database.transaction() as connection:
        assert read_brakes(connection, CLUSTER) == []
    cluster.settle(150, step=5)
    used = cluster.used_enis()
    # A PodENI that does not show what the ledger holds: nothing is given back, and our work goes on.
    path = f"{GROUP}/namespaces/example/podenis/rests-0"
    shown_as = cluster.kube.get(path)
    cluster.kube.update(f"{path}/status", {**shown_as, "status": {"phase": "Detaching"}})
    with pytest.raises(Unsafe, match="rests-0 is in phase Detaching"):
        give_back(*back, timedelta(seconds=3))
    with cluster.database.transaction() as connection:
        assert read_brakes(connection, CLUSTER) == []
    cluster.settle(30, step=5)
    late_eni = cluster.of("late-0").address
    assert late_eni is not None
    assert {*in_use, late_eni.eni} == {*used}
    # The incumbent's records are as it left them: one says Detaching, one is being deleted. Acted on
    # as they stand, both would cut off a Pod that runs.
    assert cluster.kube.get(f"{NI_PATH}/{stuck.id}")["status"]["phase"] == "Detaching"
    cluster.kube.delete(f"{NI_PATH}/{moves.id}")
    assert "deletionTimestamp" in cluster.kube.get(f"{NI_PATH}/{moves.id}")["metadata"]
    due = cluster.of("rests-0").ttl_due
    calls = len(cluster.mutating_calls())
    steps = Steps(False)
    give_back(cluster.source, backups, steps, lambda: master(cluster), "moving back", timedelta(30))
    assert cluster.mutating_calls()[calls:] == []
    assert cluster.used_enis() == used
    assert (replicas(cluster), len(registered(cluster))) == (1, 2)
    assert registered(cluster, "eni-ledger") == []
    assert {a.phase for a in cluster.allocations()} == {Phase.RELEASED}
    again = Steps(False)
    cluster.create_pod("later-0")  # its request is taken in, and is no reason to begin anew
    cluster.publish()
    cluster.take()
    give_back(cluster.source, backups, again, lambda: master(cluster), "moving back", timedelta(0))
    assert done(again) == {"already"}

    # What the incumbent finds when it starts: every record in step with its PodENI, nothing to do.
    podenis = {p["metadata"]["name"]: p for p in cluster.tools.kube.list_podenis()}
    records = {r["metadata"]["name"]: r for r in cluster.kube.list(NI_PATH)["items"]}
    shown = {}
    for podeni in podenis.values():
        [item] = podeni["spec"]["allocations"]
        shown[item["eni"]["id"]] = podeni
        record = records[item["eni"]["id"]]
        assert "deletionTimestamp" not in record["metadata"]
        assert record["status"]["phase"] == podeni["status"]["phase"] in ("Bind", "Unbind")
        assert record["status"].get("instanceID", "") == podeni["status"].get("instanceID", "")
        assert record["spec"]["podENIRef"]["name"] == podeni["metadata"]["name"]
    assert records.keys() == shown.keys(), "no record is left of an ENI that is gone"
    for eni, instance in used.items():
        assert shown[eni]["status"]["instanceID"] == instance
    seen = podenis["rests-0"]["status"]["podLastSeen"]
    assert due is not None
    assert seen >= (due - timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert rests.id in shown

    # And taken again: a return's brake goes by adoption alone.
    stopping.stop(cluster.source, backups, Steps(False))
    _, applied = cluster.untouched(cluster.adopt)
    assert applied.not_recorded == ()
    cluster.accept()
    cluster.settle(60, step=5)
    later = cluster.of("later-0").address
    assert later is not None
    assert cluster.used_enis().keys() == used.keys() | {later.eni}
    cluster.check_promises()


@pytest.mark.parametrize(
    "config",
    [
        {"centralizedIPAM": True},
        {"controllers": ["node", "multi-ip-node", "multi-ip-pod", "pod", "pod-eni"]},
    ],
)
def test_where_it_runs_shared_eni_ipam_only_its_podeni_controllers_go(
    cluster: TerwayCluster, tmp_path: Path, config: dict[str, object]
) -> None:
    cluster.install_controlplane(config=config)
    backups = Backups(tmp_path)
    stopping.stop(cluster.source, backups, Steps(False))
    assert (replicas(cluster), registered(cluster), master(cluster)) == (1, [], None)
    text = cluster.kube.get(f"{CONFIG_MAPS}/{NAME}")["data"]["ctrl-config.yaml"]
    now = yaml.safe_load(text)
    assert now["controllers"][:4] == ["-pod", "-pod-eni", "-eni", "-pod-networking"]
    assert now["disableWebhook"] is True
    assert now["enableTrunk"] is True
    template = cluster.kube.get(f"{DEPLOYMENT}/{NAME}")["spec"]["template"]
    assert "kubectl.kubernetes.io/restartedAt" in template["metadata"]["annotations"]
    again = Steps(False)
    stopping.stop(cluster.source, backups, again)
    assert done(again) == {"already"}
    with pytest.raises(Unsafe, match="shared-ENI IPAM"):
        stopping.cleanup(cluster.source, backups, Steps(False))
    stopping.restore(cluster.source, backups, Steps(False))
    restored = yaml.safe_load(cluster.kube.get(f"{CONFIG_MAPS}/{NAME}")["data"]["ctrl-config.yaml"])
    assert restored.get("controllers") == config.get("controllers")
    assert "disableWebhook" not in restored
    assert len(registered(cluster)) == 2
    assert "controllers" in str(master(cluster))


def test_unsafe_steps_are_refused_and_say_what_to_do(
    cluster: TerwayCluster, tmp_path: Path
) -> None:
    backups = Backups(tmp_path)
    with pytest.raises(Unsafe, match="no terway-controlplane"):
        stopping.stop(cluster.source, backups, Steps(False))
    cluster.install_controlplane()
    with pytest.raises(Unsafe, match="handover stop"):
        stopping.cleanup(cluster.source, backups, Steps(False))
    steps = Steps(False)
    stopping.stop(cluster.source, backups, steps)
    assert any("shared network" in each for each in steps.warnings)
    with pytest.raises(Unsafe, match="backup-dir"):
        stopping.restore(cluster.source, Backups(tmp_path / "elsewhere"), Steps(False))
    stopping.restore(cluster.source, backups, Steps(False))
    path = f"{WEBHOOKS.format('mutating')}/{NAME}"
    hook = cluster.kube.get(path)
    hook["webhooks"][0]["failurePolicy"] = "Fail"
    cluster.kube.update(path, hook)
    with pytest.raises(BackupDiffers, match="move it away"):
        stopping.stop(cluster.source, backups, Steps(False))
    assert len(registered(cluster)) == 2
