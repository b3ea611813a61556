"""P1, P2, P11: what the incumbent does with a cluster that was given back, by a simulator of it.

No running Pod loses its ENI, no reservation is lost or ends too soon, no ENI in use is taken for a leak,
and no Pod has two masters.
"""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from consumers.reconciler.incumbent import why_not_master
from consumers.takeover import stopping
from consumers.takeover.backups import Backups
from consumers.takeover.returning import give_back
from consumers.takeover.steps import Steps, Unsafe
from ledger.rules.allocation import Phase
from tests.integration.takeover.incumbent import Incumbent
from tests.integration.takeover.terway import GROUP, NI_PATH, PLACES, TerwayCluster
from tests.simulation.world import CLUSTER, Crash, elastic, fixed


class Handed(TerwayCluster):
    """A terway cluster with a simulated incumbent beside it."""

    def takes_over(self, backups: Backups) -> None:
        """`handover stop`, `adopt --apply`, `verify --accept`."""
        stopping.stop(self.source, backups, Steps(False))
        _, applied = self.adopt()
        assert applied.not_recorded == ()
        self.accept()
        self.settle(90, step=5)

    def gives_back(self, backups: Backups) -> Steps:
        steps = Steps(False)
        wait = timedelta(seconds=60)
        give_back(
            self.source,
            backups,
            steps,
            lambda: why_not_master(self.tools.kube, self.time),
            "back",
            wait,
        )
        return steps

    def starts(self) -> Incumbent:
        """The incumbent's leader begins: only where its Deployment says that it runs."""
        incumbent = self.incumbent()
        assert incumbent.runs()
        incumbent.start()
        return incumbent

    def incumbent(self) -> Incumbent:
        def sleep(seconds: float) -> None:
            self.advance(timedelta(seconds=seconds))

        return Incumbent(self.kube, self.cloud, self.now, sleep, CLUSTER)

    def ours_rests(self) -> None:
        """Our processes still run: they take note, and act on nothing (no second master)."""
        calls, writes = len(self.mutating_calls()), self.kube_writes()
        self.publish()
        self.take()
        self.work()
        assert (self.mutating_calls()[calls:], self.kube_writes() - writes) == ([], 0)

    def networks(self) -> dict[str, str]:
        """Every Pod that a node agent (reference §6.10) would give its network: name -> its address.

        An address that PodENI and cloud do not agree about is a broken network.
        """
        enis = {eni.id: eni for eni in self.cloud.model.enis()}
        found: dict[str, str] = {}
        for podeni in self.kube.list(f"{GROUP}/podenis")["items"]:
            metadata, status = podeni["metadata"], podeni.get("status", {})
            pod = self._running(metadata["name"])
            uid = (metadata.get("annotations") or {}).get("k8s.aliyun.com/pod-uid")
            if pod is None or uid != pod["metadata"]["uid"] or metadata.get("deletionTimestamp"):
                continue
            if status.get("phase") != "Bind":
                continue
            [item] = podeni["spec"]["allocations"]
            eni = enis[item["eni"]["id"]]
            on = PLACES[pod["spec"]["nodeName"]]
            assert (status["instanceID"], status["trunkENIID"]) == on
            assert (eni.instance_id, eni.trunk_id, eni.status) == (*on, "InUse"), metadata["name"]
            assert (eni.ipv4, eni.vlan) == (item["ipv4"], status["eniInfos"][eni.id]["vid"])
            found[metadata["name"]] = eni.ipv4
        return found

    def _running(self, name: str) -> dict[str, Any] | None:
        pods: list[dict[str, Any]] = self.kube.list("/api/v1/namespaces/example/pods")["items"]
        return next((pod for pod in pods if pod["metadata"]["name"] == name), None)

    def exists(self, eni: str) -> bool:
        return any(each.id == eni for each in self.cloud.model.enis())


@pytest.fixture
def handed(takeover_ground: Any) -> Handed:
    takeover_ground.clear()
    return Handed(takeover_ground)


@pytest.mark.parametrize("pause", [timedelta(0), timedelta(days=3)], ids=["at once", "in 3 days"])
def test_a_cluster_given_back_lives_on(handed: Handed, tmp_path: Path, pause: timedelta) -> None:
    handed.install_controlplane()
    long = fixed("100h")
    handed.terway_pod("runs-0")
    handed.terway_pod("flows-0", network=elastic(), node="node-h2")
    handed.terway_pod("moves-0")
    ended = handed.time - timedelta(minutes=20)
    rests = handed.terway_pod("rests-0", phase="Unbind", pod="gone", last_seen=ended)
    short = handed.terway_pod("short-0", phase="Unbind", pod="gone", network=fixed("1m"))
    keeps = handed.terway_pod("keeps-0", phase="Unbind", pod="gone", network=long)
    never = handed.terway_pod("never-0", phase="Unbind", pod="gone", network=fixed(None, "Never"))
    gone = handed.terway_pod("gone-0", pod="gone", network=long)
    backups = Backups(tmp_path / "backup")
    handed.takes_over(backups)
    # We run: Pods come, go, move, and are reserved.
    for name in ("moves-0", "flows-0"):
        handed.delete_pod(name)
    handed.create_pod("fresh-0", node="node-h2")
    handed.create_pod("away-0", networks=[long])
    handed.settle(60, step=3)
    handed.create_pod("moves-0", node="node-h2")
    handed.delete_pod("away-0")
    handed.settle(60, step=3)
    away = handed.of("away-0")
    assert away.phase is Phase.RESERVED
    assert away.address is not None
    before = handed.networks()
    assert before.keys() == {"runs-0", "moves-0", "fresh-0"}
    kept = {"keeps-0": keeps.id, "gone-0": gone.id, "away-0": away.address.eni}
    dues = {a.pod: a.ttl_due for a in handed.allocations() if a.ttl_due is not None}
    assert dues.keys() >= {"rests-0", *kept}

    handed.gives_back(backups)
    handed.advance(pause)
    handed.ours_rests()
    incumbent = handed.starts()
    # The first looks of its collectors, at once and again, the sweep for leaks twice.
    for _ in range(11):
        incumbent.run(120, step=20)
        handed.ours_rests()
        assert handed.networks() == before
        assert all(handed.exists(eni) for eni in (*kept.values(), never.id))
        assert handed.exists(rests.id) or handed.time >= dues["rests-0"]
        assert handed.exists(short.id) or "short-0" not in dues or handed.time >= dues["short-0"]
    assert incumbent.errors == []
    assert incumbent.cloud.made == []

    # Its life goes on: a reserved name comes back to its address, also on another node; a new one is
    # served; the end of an Elastic one of ours is its end in the cloud.
    addresses = {eni.id: eni.ipv4 for eni in handed.cloud.model.enis()}
    handed.create_pod("away-0", node="node-h2", networks=[long])
    handed.create_pod("gone-0", networks=[long])
    handed.create_pod("new-0", networks=[elastic()])
    handed.delete_pod("runs-0")
    incumbent.run(90, step=5)
    now = handed.networks()
    assert now.keys() == {"moves-0", "fresh-0", "away-0", "gone-0", "new-0"}
    assert now["away-0"] == addresses[away.address.eni]
    assert now["gone-0"] == addresses[gone.id]
    handed.delete_pod("new-0")
    incumbent.run(60, step=5)
    assert not handed.exists(incumbent.cloud.made[0])
    # And reservations do end: nothing of ours keeps them for ever, and nothing is left behind.
    handed.advance(max(dues.values()) - handed.time + timedelta(hours=2))
    incumbent.run(150, step=5)
    assert handed.networks().keys() == {"moves-0", "fresh-0", "away-0", "gone-0"}
    left = {eni for eni in (keeps.id, rests.id, short.id) if handed.exists(eni)}
    assert left == set()
    assert handed.exists(never.id)
    assert len(handed.used_enis()) == 4
    handed.ours_rests()


def deleted_podeni(handed: Handed) -> Callable[[], None]:
    """A user deleted the PodENI of a running Pod: we wait for the Pod's end, the incumbent does not."""
    handed.kube.delete(f"{GROUP}/namespaces/example/podenis/web-0")
    handed.settle(30, step=5)
    return lambda: handed.delete_pod("web-0")


def another_uid(handed: Handed) -> Callable[[], None]:
    """A hand has put a uid of nobody's, and our work, which puts it right, is not asked again."""
    path = f"{GROUP}/namespaces/example/podenis/web-0"
    seen = handed.kube.get(path)
    seen["metadata"]["annotations"]["k8s.aliyun.com/pod-uid"] = "nobody"
    handed.kube.update(path, seen)
    return lambda: handed.settle(30, step=5)


def no_annotation(handed: Handed) -> Callable[[], None]:
    """A hand took the annotation off an Elastic Pod that runs."""
    path = "/api/v1/namespaces/example/pods/flow-0"
    seen = handed.kube.get(path)
    asked = seen["metadata"]["annotations"].pop("k8s.aliyun.com/pod-eni")
    handed.kube.update(path, seen)

    def mend() -> None:
        again = handed.kube.get(path)
        again["metadata"]["annotations"]["k8s.aliyun.com/pod-eni"] = asked
        handed.kube.update(path, again)

    return mend


@pytest.mark.parametrize(
    ("hazard", "said", "pod"),
    [
        (deleted_podeni, "was deleted while its Pod runs", "web-0"),
        (another_uid, "is for Pod uid nobody", "web-0"),
        (no_annotation, "without annotation", "flow-0"),
    ],
)
def test_what_it_would_take_from_a_running_pod_is_not_given_back(
    handed: Handed,
    tmp_path: Path,
    hazard: Callable[[Handed], Callable[[], None]],
    said: str,
    pod: str,
) -> None:
    handed.install_controlplane()
    handed.terway_pod("web-0")
    handed.terway_pod("flow-0", network=elastic())
    backups = Backups(tmp_path / "backup")
    handed.takes_over(backups)
    before = handed.networks()
    mend = hazard(handed)
    used = handed.used_enis()
    with pytest.raises(Unsafe, match=said):
        handed.gives_back(backups)
    assert handed.used_enis() == used
    mend()
    handed.settle(60, step=5)
    handed.gives_back(backups)
    handed.starts().run(180, step=10)
    left = {name: ip for name, ip in before.items() if name in handed.networks()}
    assert handed.networks() == left
    assert ("web-0" in left) == (hazard is not deleted_podeni)


def test_without_the_refusal_it_does_the_harm(handed: Handed) -> None:
    """The refusals are no superstition: started by hand on the same things, it cuts running Pods off."""
    handed.install_controlplane()
    handed.terway_pod("web-0")
    handed.terway_pod("flow-0", network=elastic())
    twin = handed.terway_pod("twin-0")
    ended = handed.time - timedelta(hours=3)
    handed.terway_pod("twin-1", phase="Unbind", pod="gone", eni=twin, last_seen=ended)
    handed.terway_pod("safe-0", node="node-h2")
    stuck = handed.terway_pod("stuck-0", node="node-h2")
    record = handed.kube.get(f"{NI_PATH}/{stuck.id}")
    record["status"]["phase"] = "Detaching"
    handed.kube.update(f"{NI_PATH}/{stuck.id}/status", record)
    assert len(handed.networks()) == 5
    handed.kube.delete(f"{GROUP}/namespaces/example/podenis/web-0")
    no_annotation(handed)
    handed.starts().run(180, step=10)
    assert len(handed.used_enis()) < 5
    with pytest.raises(AssertionError):
        handed.networks()  # Bind is said of ENIs that are not there
    assert not handed.exists(twin.id)


def test_one_eni_of_two_podenis_is_not_given_back(handed: Handed, tmp_path: Path) -> None:
    """The record of an ENI is one: whoever of the two ends first deletes it for both (§6.4, §6.6)."""
    handed.install_controlplane()
    twin = handed.terway_pod("twin-0")
    ended = handed.time - timedelta(hours=3)
    handed.terway_pod("twin-1", phase="Unbind", pod="gone", eni=twin, last_seen=ended)
    backups = Backups(tmp_path / "backup")
    stopping.stop(handed.source, backups, Steps(False))
    handed.adopt()
    handed.accept()
    with pytest.raises(Unsafe, match="named by PodENIs example/twin-0 and example/twin-1"):
        handed.gives_back(backups)
    # Somebody puts it right by hand, as it says; the dispute in the ledger is given back as it is.
    path = f"{GROUP}/namespaces/example/podenis/twin-1"
    bare = handed.kube.get(path)
    handed.kube.update(path, {**bare, "metadata": {**bare["metadata"], "finalizers": []}})
    handed.kube.delete(path)
    steps = handed.gives_back(backups)
    assert any("twin-1 is given back as it is" in each for each in steps.warnings)
    handed.starts().run(180, step=10)
    assert handed.networks().keys() == {"twin-0"}


def test_broken_off_before_it_came_back_nobody_pays_for_the_time_between(
    handed: Handed, tmp_path: Path
) -> None:
    """W2 of the incumbent: what was last seen at the first attempt would have no TTL left."""
    handed.install_controlplane()
    runs = handed.terway_pod("runs-0")
    backups = Backups(tmp_path / "backup")
    handed.takes_over(backups)
    with handed.killed_at("before POST object") as killed, pytest.raises(Crash):
        handed.gives_back(backups)
    assert killed, "it dies where the incumbent's first webhook would come back"
    assert {a.phase for a in handed.allocations()} == {Phase.RELEASED}
    handed.advance(timedelta(hours=5))
    handed.delete_pod("runs-0")
    handed.gives_back(backups)
    handed.starts().run(600, step=30)
    assert handed.exists(runs.id), "its TTL of an hour begins when it can be seen to be gone"
    handed.advance(timedelta(hours=1))
    handed.incumbent().run(150, step=10)
    assert not handed.exists(runs.id)
