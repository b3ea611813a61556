"""P5, P11: `handover stop`, `restore` and `cleanup` killed at every point, with or without the power going
too, and given again: the same end, and nothing is ever without a copy.
"""

import itertools
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from consumers.kube.port import Conflict
from consumers.kube.resources import CONFIG_MAPS as CONFIG_MAP
from consumers.kube.resources import DEPLOYMENTS, MUTATING_WEBHOOKS, VALIDATING_WEBHOOKS, Resource
from consumers.reconciler.incumbent import why_not_master
from consumers.takeover import stopping
from consumers.takeover.backups import KINDS, BackupDiffers, Backups
from consumers.takeover.controlplane import portable
from consumers.takeover.source import Source
from consumers.takeover.steps import Steps
from tests.integration.takeover.broken_off import end, killed, persisted, states_left
from tests.integration.takeover.terway import CONFIG_MAPS, DEPLOYMENT, WEBHOOKS, TerwayCluster
from tests.simulation.ground import Ground

Order = Callable[[Source, Backups, Steps], None]
NAME = "terway-controlplane"
PATHS = {
    DEPLOYMENTS: f"{DEPLOYMENT}/{NAME}",
    CONFIG_MAP: f"{CONFIG_MAPS}/{NAME}",
    MUTATING_WEBHOOKS: f"{WEBHOOKS.format('mutating')}/{NAME}",
    VALIDATING_WEBHOOKS: f"{WEBHOOKS.format('validating')}/{NAME}",
}


class Disk:
    """The directory of the backups, of which a power cut leaves what was brought to the disk.

    A file's content by fsync of the file, its name by fsync of the directory, the directory by fsync of
    the one that it is in. Each is a boundary, and so is a rename.
    """

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.directory = directory
        self.cluster: TerwayCluster | None = None
        self._begin()
        self._replace = os.replace
        monkeypatch.setattr(os, "fsync", self._fsync)
        monkeypatch.setattr(os, "replace", self._renamed)

    def _reach(self, name: str) -> None:
        if self.cluster is not None:
            self.cluster.boundary(name)

    def _begin(self) -> None:
        self._contents: dict[int, str] = {}
        self._names: dict[str, int] = {}
        self._there = False

    def empty(self) -> None:
        """As before the first command."""
        self._begin()
        self._lay({})

    def _fsync(self, descriptor: int) -> None:
        self._reach("before fsync")
        synced = os.fstat(descriptor)
        here = self._here()
        if not stat.S_ISDIR(synced.st_mode):
            self._contents |= {
                number: (self.directory / name).read_text()
                for name, number in here.items()
                if number == synced.st_ino
            }
        elif synced.st_ino == self.directory.stat().st_ino:
            self._names = here
        elif synced.st_ino == self.directory.parent.stat().st_ino:
            self._there = True
        self._reach("after fsync")

    def _renamed(self, source: Path, target: Path) -> None:
        self._reach("before a rename")
        self._replace(source, target)
        self._reach("after a rename")

    def _here(self) -> dict[str, int]:
        if not self.directory.exists():
            return {}
        return {path.name: path.stat().st_ino for path in sorted(self.directory.iterdir())}

    def seen(self) -> dict[str, str]:
        """The files as any process sees them: a kill leaves them."""
        return {name: (self.directory / name).read_text() for name in self._here()}

    def lasting(self) -> dict[str, str]:
        """The files as a power cut leaves them."""
        if not self._there:
            return {}
        return {name: self._contents.get(number, "") for name, number in self._names.items()}

    def lose_power(self) -> None:
        """What was only in memory is gone."""
        self._lay(self.lasting())

    def _lay(self, files: dict[str, str]) -> None:
        for name in self._here():
            (self.directory / name).unlink()
        if self.directory.exists() and not self._there:
            self.directory.rmdir()
        for name, content in files.items():
            (self.directory / name).write_text(content)
            self._contents[(self.directory / name).stat().st_ino] = content
        self._names = self._here()


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(tmp_path / "backup", monkeypatch)


@dataclass(frozen=True)
class Story:
    """What is there, what was commanded before, and the command that is killed.

    `nothing_kept`: as if the former were done by hand, without our files.
    """

    command: Order
    before: tuple[Order, ...] = ()
    shared_ipam: bool = False
    nothing_kept: bool = False


STORIES = {
    "stop": Story(stopping.stop),
    "stop-beside-shared-ipam": Story(stopping.stop, shared_ipam=True),
    "restore": Story(stopping.restore, (stopping.stop,)),
    "restore-beside-shared-ipam": Story(stopping.restore, (stopping.stop,), shared_ipam=True),
    "restore-what-was-removed": Story(stopping.restore, (stopping.stop, stopping.cleanup)),
    "cleanup": Story(stopping.cleanup, (stopping.stop,), nothing_kept=True),
}


def originals(cluster: TerwayCluster) -> dict[Resource, Any]:
    """The incumbent's objects that are there, without what the server adds."""
    found = {each: live(cluster, each) for each in PATHS}
    return {each: obj for each, obj in found.items() if obj is not None}


def live(cluster: TerwayCluster, resource: Resource) -> Any:
    found = cluster.kube.list(PATHS[resource].rpartition("/")[0])["items"]
    named = [portable(obj, *KINDS[resource]) for obj in found if obj["metadata"]["name"] == NAME]
    return named[0] if named else None


def unkept(cluster: TerwayCluster, backups: Backups, before: dict[Resource, Any]) -> list[str]:
    """What is neither in the cluster nor in a file as it was, by name; being restarted changes nothing."""
    lost = []
    for resource, original in before.items():
        found, kept = live(cluster, resource), backups.read(resource)
        if resource is DEPLOYMENTS and found is not None:
            spec = {**found["spec"], "template": original["spec"]["template"]}
            found = {**found, "metadata": original["metadata"], "spec": spec}
        if found != original and kept != original:
            lost.append(resource.plural)
    return lost


def acts_on_old_configuration(cluster: TerwayCluster) -> bool:
    """Whether a replica runs that was started before its PodENI controllers were switched off."""
    [deployment] = cluster.kube.list(DEPLOYMENT)["items"]
    template = deployment["spec"]["template"]["metadata"]
    return deployment["spec"]["replicas"] > 0 and "annotations" not in template


@pytest.mark.parametrize("story", list(STORIES.values()), ids=list(STORIES))
def test_p11_killed_anywhere_it_ends_as_if_never_killed(
    takeover_ground: Ground, disk: Disk, story: Story
) -> None:
    backups = Backups(disk.directory)

    def command(cluster: TerwayCluster, order: Order = story.command) -> Steps:
        steps = Steps(False)
        order(cluster.source, backups, steps)
        return steps

    def begun() -> tuple[TerwayCluster, dict[Resource, Any]]:
        takeover_ground.clear()
        disk.empty()
        cluster = TerwayCluster(takeover_ground)
        disk.cluster = cluster
        config = {"centralizedIPAM": True} if story.shared_ipam else {}
        cluster.install_controlplane(replicas=2, config=config)
        before = originals(cluster)
        for order in story.before:
            command(cluster, order)
        if story.nothing_kept:
            disk.empty()
            before = originals(cluster)
        return cluster, before

    def left(cluster: TerwayCluster) -> Any:
        return persisted(cluster), disk.seen(), disk.lasting()

    cluster, _ = begun()
    stops = states_left(cluster, command, left)
    whole, files = end(cluster), disk.seen()
    assert disk.lasting() == files, "all of it would outlast a power cut"
    assert {state for state, _ in cluster.untouched(lambda: command(cluster)).lines} == {"already"}
    for at, power_too in itertools.product(stops, (False, True)):
        cluster, before = begun()
        killed(cluster, command, at)
        if power_too:
            if disk.lasting() == disk.seen():
                continue  # it would take nothing along: tried already
            disk.lose_power()
        where = f"killed at boundary {at} of {stops}, power too: {power_too}"
        assert unkept(cluster, backups, before) == [], where
        if story.command is stopping.stop and acts_on_old_configuration(cluster):
            assert why_not_master(cluster.tools.kube, cluster.time) is not None, where
        command(cluster)
        assert (end(cluster), disk.lasting()) == (whole, files), where


def test_p11_a_stop_that_was_broken_off_can_be_taken_back(
    takeover_ground: Ground, disk: Disk
) -> None:
    """Beside shared-ENI IPAM, where it goes on running: every replica has read the earlier configuration
    again, whatever it had read in between."""
    backups = Backups(disk.directory)

    def begun() -> TerwayCluster:
        takeover_ground.clear()
        disk.empty()
        cluster = TerwayCluster(takeover_ground)
        cluster.install_controlplane(config={"centralizedIPAM": True})
        return cluster

    def stop(cluster: TerwayCluster) -> None:
        stopping.stop(cluster.source, backups, Steps(False))

    stops = states_left(begun(), stop)
    for at in stops:
        cluster = begun()
        before = originals(cluster)
        killed(cluster, stop, at)
        changed = live(cluster, DEPLOYMENTS) != before[DEPLOYMENTS]
        steps = Steps(False)
        stopping.restore(cluster.source, backups, steps)
        after = originals(cluster)
        deployment, original = after.pop(DEPLOYMENTS), before.pop(DEPLOYMENTS)
        assert after == before
        assert deployment["metadata"] == original["metadata"], "no mark is left"
        restarts = [state for state, what in steps.lines if what.startswith("restart")]
        assert ("done" in restarts) == changed, f"killed at boundary {at} of {stops}"


def test_what_changed_since_it_was_kept_is_not_removed(cluster: TerwayCluster, disk: Disk) -> None:
    backups = Backups(disk.directory)
    cluster.install_controlplane()

    def meddle(name: str) -> None:
        """Somebody writes the webhook between our look and our deed."""
        if name == "before DELETE object":
            cluster.boundary = lambda name: None
            hook = cluster.kube.get(PATHS[MUTATING_WEBHOOKS])
            hook["webhooks"][0]["failurePolicy"] = "Fail"
            cluster.kube.update(PATHS[MUTATING_WEBHOOKS], hook)

    cluster.boundary = meddle
    with pytest.raises(Conflict):
        stopping.stop(cluster.source, backups, Steps(False))
    assert live(cluster, MUTATING_WEBHOOKS)["webhooks"][0]["failurePolicy"] == "Fail"
    with pytest.raises(BackupDiffers, match="move it away"):
        stopping.stop(cluster.source, backups, Steps(False))
    backups.path(MUTATING_WEBHOOKS).unlink()
    stopping.stop(cluster.source, backups, Steps(False))
    deployment = cluster.kube.get(PATHS[DEPLOYMENTS])
    deployment["spec"]["template"]["spec"]["containers"][0]["image"] = "newer"
    cluster.kube.update(PATHS[DEPLOYMENTS], deployment)
    with pytest.raises(BackupDiffers, match="kept as it is now"):
        stopping.cleanup(cluster.source, backups, Steps(False))
    assert live(cluster, DEPLOYMENTS) is not None
