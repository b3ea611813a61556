"""The rights of a person's commands on a genuine API server, by its own audit log: nothing is refused,
nothing that was given is idle.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml

from consumers.kube import wire
from consumers.runtime.settings import KubeSettings
from deploy.local.cloud.port_adapter import simulated_cloud
from deploy.local.kubernetes.port_adapter import InProcess
from deploy.local.kubernetes.requests import Answer
from deploy.local.parts.kube_apiserver.server import GenuineKube, GenuineOptions, running
from deploy.local.stack.accounts import NAMESPACE, account, kubeconfig_of
from deploy.local.stack.options import CRDS, RBAC
from tests.integration.commands import Say
from tests.integration.takeover.terway import NI_CRD, NI_PATH, TerwayCluster
from tests.integration.takeover.test_rights import SYSTEM, Asked, compare
from tests.simulation.world import CLUSTER

pytestmark = [pytest.mark.genuine("kube"), pytest.mark.timeout(300)]


class OverHttp(InProcess):
    """The same calls on another server, as its administrator."""

    def __init__(self, simulated: InProcess, client: httpx2.Client) -> None:
        super().__init__(simulated.core)
        self._client = client

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        options: Mapping[str, str] | None = None,
        patch_type: str = "",
        user: str = "admin",
    ) -> Answer:
        answer = self._client.request(method, path, json=body, params=dict(options or {}))
        assert answer.is_success, answer.text
        return Answer(answer.json(), answer.status_code)


def audited(server: GenuineKube, command: str) -> tuple[set[Asked], list[str]]:
    """What an account asked for, and what of it was refused."""
    asked: set[Asked] = set()
    refused = []
    for line in server.audit_log.read_text().splitlines():
        event = json.loads(line)
        about = event.get("objectRef")
        if event["user"]["username"] != f"system:serviceaccount:{NAMESPACE}:{account(command)}":
            continue
        if event["responseStatus"]["code"] in (401, 403):
            refused.append(f"{event['verb']} {event['requestURI']}")
        if about is not None:
            plural = "/".join(filter(None, (about["resource"], about.get("subresource"))))
            where = "" if plural == "namespaces" else about.get("namespace", "")
            asked.add(
                (event["verb"], about.get("apiGroup", ""), plural, where, about.get("name", ""))
            )
    return asked, refused


def test_commands_use_what_they_were_given_and_need_no_more(
    cluster: TerwayCluster, say: Say, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in {
        "POSTGRES__DSN": cluster.dsn,
        "CLUSTER_ID": CLUSTER,
        "LOCAL_STACK": "true",
        "CLOUD__REGION_ID": "cn-hangzhou",
    }.items():
        monkeypatch.setenv(f"ENI_LEDGER_{name}", value)
    # The doctor's name first: imported for that here, it would otherwise keep the replaced function.
    for name in ("consumers.doctor.looking.aliyun_cloud", "consumers.cloud.aliyun.aliyun_cloud"):
        monkeypatch.setattr(name, lambda _: simulated_cloud(cluster.cloud, now=cluster.now))
    records = tmp_path / "networkinterfaces.yaml"
    records.write_text(yaml.safe_dump(NI_CRD))
    options = GenuineOptions(crds=[CRDS, records], audit=True)
    with running(tmp_path / "genuine", options) as server:
        server.kubectl("create", "namespace", NAMESPACE)
        accounts = {}
        for command in ("takeover", "doctor"):
            server.kubectl("apply", "-f", str(RBAC / f"{command}.yaml"))
            accounts[command] = kubeconfig_of(server, command, tmp_path)

        def give(command: str, *words: str) -> str:
            monkeypatch.setenv("ENI_LEDGER_KUBE__KUBECONFIG", str(accounts[command]))
            told = say(*words)
            assert told.code == (1 if command == "doctor" else 0), told
            return told.out

        with wire.connect(KubeSettings(kubeconfig=server.kubeconfig)) as administrator:
            cluster.kube = OverHttp(cluster.kube, administrator)
            story(cluster, give)
        for command in accounts:
            asked, refused = audited(server, command)
            assert refused == []
            compare(f"{command}.yaml", asked, set())
        with wire.connect(KubeSettings(kubeconfig=accounts["takeover"])) as person:
            assert person.get(f"/api/v1/namespaces/{SYSTEM}/secrets").status_code == 403
            assert person.get("/apis/apps/v1/deployments").status_code == 403


def story(cluster: TerwayCluster, give: Any) -> None:
    """There and back; what a return finds to put right is there: a NetworkInterface that is missing, and
    one that is being deleted."""
    cluster.kube.create("/api/v1/namespaces", {"metadata": {"name": "example"}})
    cluster.install_controlplane()
    cluster.terway_pod("runs-0")
    unrecorded = cluster.terway_pod("rests-0", phase="Unbind", pod="gone")
    stuck = cluster.terway_pod("flows-0")
    give("takeover", "handover", "stop", "--backup-dir", "backup")
    told = give("doctor", "doctor", "--only", "cluster,nodes")
    assert "could not look" not in told.replace("0 could not look", "")
    give("takeover", "handover", "restore", "--backup-dir", "backup")
    give("takeover", "handover", "stop", "--backup-dir", "backup")
    give("takeover", "handover", "cleanup", "--backup-dir", "backup")
    assert "recorded: 3 decisions" in give("takeover", "adopt", "--apply", "--reason", "there")
    cluster.accept()
    bare = cluster.kube.get(f"{NI_PATH}/{unrecorded.id}")
    metadata = {**bare["metadata"], "finalizers": []}
    cluster.kube.update(f"{NI_PATH}/{unrecorded.id}", {**bare, "metadata": metadata})
    for eni in (unrecorded.id, stuck.id):
        cluster.kube.delete(f"{NI_PATH}/{eni}")
    give("takeover", "handover", "return", "--reason", "back", "--backup-dir", "backup")
    # Where it also runs shared-ENI IPAM, its configuration is written.
    path = f"/api/v1/namespaces/{SYSTEM}/configmaps/terway-controlplane"
    shared = cluster.kube.get(path)
    cluster.kube.update(path, {**shared, "data": {"ctrl-config.yaml": "centralizedIPAM: true\n"}})
    give("takeover", "handover", "stop", "--backup-dir", "shared")
