"""The pages adopt, leave and restore-from-backup: each command in a fenced block, in order, given with a
login that has the role eni_ledger_reconciler and no other.

Processes are played by the simulation; migrate's commands are given over HTTP (test_over_http.py).
"""

import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import psycopg
import pytest

from consumers.kube import wire
from deploy.local.cloud.port_adapter import simulated_cloud
from deploy.local.kubernetes.port_adapter import CoreTransport
from ledger.rules.allocation import Phase
from ledger.store.brakes import read_brakes
from ledger.store.feed import stamp
from ledger.store.incarnations import begin_shadow
from ledger.store.seal import seal
from ledger.store.sweeps import begin_sweeping
from tests.integration.commands import Said, Say, shown
from tests.integration.takeover.terway import DEPLOYMENT, TerwayCluster
from tests.simulation.test_sweep import restore, snapshot, wakes_elsewhere
from tests.simulation.world import CLUSTER


@dataclass
class Operator:
    """Gives the commands of a page; `run` plays a process that the page starts."""

    cluster: TerwayCluster
    say: Say
    run: Callable[[list[str]], None]
    said: list[tuple[str, Said]] = field(default_factory=list)

    def follows(self, page: str, *, first: int = 0, last: int | None = None) -> list[int]:
        """The exit codes of the page's commands, as they stand."""
        codes = []
        for words in list(shown(page))[first:last]:
            if words[0] == "run":
                self.run(words[1:])
                codes.append(0)
                continue
            told = self.say(*words)
            self.said.append((shlex.join(words), told))
            codes.append(told.code)
        return codes


@pytest.fixture
def login(cluster: TerwayCluster) -> Iterator[str]:
    """The DSN of a person with the rights that the README says these commands need."""
    with psycopg.connect(cluster.dsn, autocommit=True) as connection:
        connection.execute("CREATE ROLE operator LOGIN PASSWORD 'of-tests'")
        connection.execute("GRANT eni_ledger_reconciler TO operator")
        # The clock of these tests is a table; a real one is a function of PostgreSQL's.
        connection.execute("GRANT SELECT ON ledger.virtual_clock TO operator")
    yield psycopg.conninfo.make_conninfo(cluster.dsn, user="operator", password="of-tests")
    with psycopg.connect(cluster.dsn, autocommit=True) as connection:
        connection.execute("DROP OWNED BY operator")
        connection.execute("DROP ROLE operator")


@pytest.fixture
def operator(
    cluster: TerwayCluster, login: str, say: Say, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Operator:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ENI_LEDGER_POSTGRES__DSN", login)
    monkeypatch.setenv("ENI_LEDGER_CLUSTER_ID", CLUSTER)
    monkeypatch.setenv("ENI_LEDGER_LOCAL_STACK", "true")
    monkeypatch.setenv("ENI_LEDGER_CLOUD__REGION_ID", "cn-hangzhou")
    monkeypatch.setattr(
        wire,
        "connect",
        lambda _: httpx2.Client(transport=CoreTransport(cluster.kube), base_url="http://kube"),
    )
    monkeypatch.setattr(
        "consumers.cloud.aliyun.aliyun_cloud",
        lambda _: simulated_cloud(cluster.cloud, now=cluster.now),
    )
    return Operator(cluster, say, lambda _: cluster.settle(90, step=5))


def test_the_page_adopt(operator: Operator) -> None:
    cluster = operator.cluster
    cluster.install_controlplane()
    runs = cluster.terway_pod("runs-0")
    cluster.terway_pod("rests-0", phase="Unbind", pod="gone")
    cluster.terway_pod("left-0", pod="gone")
    used = cluster.used_enis()

    def run(process: list[str]) -> None:
        if "--shadow" in process:
            with cluster.database.transaction() as connection:
                assert begin_shadow(connection, CLUSTER) is None
        elif process == ["reconciler"]:
            cluster.settle(90, step=5)
        else:
            cluster.publish()
            cluster.take()

    operator.run = run
    codes = cluster.untouched(lambda: operator.follows("adopt.md", last=6))
    assert codes == [0] * 6, operator.said
    assert "3 interfaces: 0 differ" in operator.said[0][1].out
    table = operator.said[1][1]
    assert "1 bound, 1 departing, 1 reserved" in table.out
    assert "eni-ledger handover stop" in table.err
    refused = operator.say("adopt", "--apply", "--reason", "too early")
    assert (refused.code, "terway-controlplane runs" in refused.err) == (1, True)
    assert operator.say("resume", "all").code == 1, "a shadow's ledger goes live by adopt alone"

    codes = operator.follows("adopt.md", first=6)
    assert codes == [0, 0, 0, 1, 1], operator.said
    assert "recorded: 3 decisions" in operator.said[4][1].out
    assert "verify --accept" in operator.said[5][1].out
    assert cluster.used_enis() == used
    cluster.settle(60, step=5)
    assert cluster.used_enis().keys() == {runs.id}
    assert operator.say("verify").code == 0
    assert operator.say("adopt", "--apply", "--reason", "again").code == 0


def test_the_page_leave(operator: Operator) -> None:
    cluster = operator.cluster
    cluster.install_controlplane()
    cluster.terway_pod("runs-0")
    cluster.terway_pod("rests-0", phase="Unbind", pod="gone")
    assert operator.say("handover", "stop", "--backup-dir", "backup").code == 0
    cluster.adopt()
    cluster.accept()
    cluster.settle(90, step=5)
    used = cluster.used_enis()
    told = cluster.untouched(lambda: operator.follows("leave.md", last=1))
    assert told == [0], operator.said
    assert "would: podLastSeen of example/runs-0" in operator.said[0][1].out
    assert operator.follows("leave.md", first=1, last=2) == [0], operator.said
    running = cluster.kube.get(f"{DEPLOYMENT}/terway-controlplane")["spec"]["replicas"]
    assert (running, cluster.used_enis()) == (1, used)
    again = operator.say("resume", "all")
    assert (again.code, "eni-ledger adopt" in again.err) == (1, True)
    assert operator.follows("leave.md", first=2) == [0, 0, 0], operator.said
    cluster.settle(60, step=5)
    assert cluster.used_enis() == used
    with cluster.database.transaction() as connection:
        assert read_brakes(connection, CLUSTER) == []


def test_the_page_restore_from_backup(operator: Operator) -> None:
    cluster = operator.cluster
    cluster.create_pod("before-0")
    cluster.settle(90, step=5)
    backup = snapshot(cluster)
    cluster.create_pod("after-0", node="node-h2")
    cluster.settle(30)
    used = cluster.used_enis()
    restore(cluster, backup)
    wakes_elsewhere(cluster)
    cluster.settle(120, step=5)
    assert operator.follows("restore-from-backup.md", last=2) == [1, 1], operator.said
    assert "take it into the book" in operator.said[0][1].out
    cluster.settle(90, step=5)
    assert operator.follows("restore-from-backup.md", first=2, last=4) == [1, 0], operator.said
    with cluster.database.transaction() as connection:
        stamp(connection)
        seal(connection)
    assert operator.follows("restore-from-backup.md", first=4) == [0, 0], operator.said
    assert {a.pod: a.phase for a in cluster.allocations()} == {
        "before-0": Phase.BOUND,
        "after-0": Phase.BOUND,
    }
    assert cluster.used_enis() == used


def test_an_empty_ledger_adopts_what_we_made_ourselves(operator: Operator) -> None:
    """The database is lost altogether; the last part of the page."""
    cluster = operator.cluster
    cluster.create_pod("web-0")
    cluster.create_pod("gone-0")
    cluster.settle(60, step=5)
    cluster.delete_pod("gone-0")
    cluster.settle(30, step=5)
    used = cluster.used_enis()
    restore(cluster, {name: [] for name in snapshot(cluster)})
    with psycopg.connect(cluster.dsn) as connection:
        connection.execute("DELETE FROM ledger.vswitch")
    with cluster.database.transaction() as book:
        begin_sweeping(book, CLUSTER)
    adopted = cluster.untouched(lambda: operator.say("adopt", "--apply", "--reason", "disk lost"))
    assert adopted.code == 0, adopted
    assert "1 bound, 1 reserved" in adopted.out
    shown_before = cluster.podeni("web-0")
    operator.say("verify", "--accept")
    cluster.settle(120, step=5)
    assert cluster.used_enis() == used
    assert cluster.podeni("web-0") == shown_before, "the CIDR too, of a vSwitch never looked at"
    cluster.check_promises()
