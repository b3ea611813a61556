"""The rights of deploy/rbac for a person's commands: each request is allowed, and each right is used."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml

from consumers.doctor.facts import ClusterFacts, Unseen
from consumers.doctor.probe_cluster import look_at_cluster
from consumers.reconciler.incumbent import why_not_master
from consumers.takeover import stopping
from consumers.takeover.backups import Backups
from consumers.takeover.returning import give_back
from consumers.takeover.steps import Steps
from deploy.local.kubernetes.port_adapter import CoreTransport, InProcess
from deploy.local.stack.options import RBAC
from tests.integration.takeover.terway import NI_PATH, WEBHOOKS, TerwayCluster

#: Verb, API group, resource with its subresource; in a namespace or "", of a name or "".
Asked = tuple[str, str, str, str, str]
SYSTEM = "kube-system"


@dataclass(frozen=True)
class Right:
    """One verb on one resource, as a rule gives it. `only_in`: of a Role; `names`: empty for any."""

    verb: str
    group: str
    resource: str
    only_in: str
    names: frozenset[str]

    def allows(self, asked: Asked) -> bool:
        verb, group, resource, namespace, name = asked
        same = (verb, group, resource) == (self.verb, self.group, self.resource)
        named = not self.names or name in self.names
        return same and named and self.only_in in ("", namespace)


def granted(manifest: str) -> Iterator[Right]:
    for document in yaml.safe_load_all((RBAC / manifest).read_text()):
        only_in = SYSTEM if document["kind"] == "Role" else ""
        for rule in document.get("rules") or ():
            names = frozenset(rule.get("resourceNames") or ())
            for group in rule["apiGroups"]:
                for resource in rule["resources"]:
                    for verb in rule["verbs"]:
                        yield Right(verb, group, resource, only_in, names)


class Listening(CoreTransport):
    """Serves a client from the simulated API server, and keeps what it was asked."""

    def __init__(self, api: InProcess) -> None:
        super().__init__(api)
        self.core = api.core
        self.asked: set[Asked] = set()

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        path, options = request.url.path, dict(request.url.params)
        if path == "/version":  # of everybody who is known: no right of its own
            return httpx2.Response(200, json={"major": "1", "minor": "36"})
        found = self.core.request(request.method, path, options)
        plural = "/".join(filter(None, (found.type.plural, found.subresource)))
        self.asked.add((found.verb, found.type.group, plural, found.namespace, found.name))
        return super().handle_request(request)


def listened_to(cluster: TerwayCluster, monkeypatch: pytest.MonkeyPatch) -> Listening:
    """Every client that the cluster's commands are given from now on."""
    listening = Listening(cluster.kube)
    monkeypatch.setattr("tests.integration.takeover.terway.CoreTransport", lambda kube: listening)
    monkeypatch.setattr(cluster.tools.kube, "_client", _client(listening))
    return listening


def _client(transport: Listening) -> httpx2.Client:
    return httpx2.Client(transport=transport, base_url="http://kube")


def compare(manifest: str, asked: set[Asked], not_used: set[tuple[str, str]]) -> None:
    rights = list(granted(manifest))
    refused = [each for each in sorted(asked) if not any(r.allows(each) for r in rights)]
    assert refused == [], "a request that its manifest does not allow"
    idle = {r for r in rights if not any(r.allows(each) for each in asked)}
    assert {(r.verb, r.resource) for r in idle} == not_used, (
        "a right that nothing uses, or one that is"
    )


def test_takeover(cluster: TerwayCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backups = Backups(tmp_path / "backup")
    cluster.install_controlplane()
    cluster.terway_pod("runs-0")
    unrecorded = cluster.terway_pod("rests-0", phase="Unbind", pod="gone")
    stuck = cluster.terway_pod("flows-0")
    forgotten = cluster.terway_pod("gone-0", phase="Unbind", pod="gone")
    cluster.kube.create(WEBHOOKS.format("mutating"), {"metadata": {"name": "eni-ledger"}})
    listening = listened_to(cluster, monkeypatch)

    def master() -> str | None:
        return why_not_master(cluster.tools.kube, cluster.time)

    stopping.stop(cluster.source, backups, Steps(False))
    stopping.cleanup(cluster.source, backups, Steps(False))
    cluster.adopt()
    # What a return finds to put right: no record, one that is being deleted, one of an ENI that is gone.
    bare: dict[str, Any] = cluster.kube.get(f"{NI_PATH}/{unrecorded.id}")
    cluster.kube.update(
        f"{NI_PATH}/{unrecorded.id}", {**bare, "metadata": {**bare["metadata"], "finalizers": []}}
    )
    cluster.kube.delete(f"{NI_PATH}/{unrecorded.id}")
    cluster.kube.delete(f"{NI_PATH}/{stuck.id}")
    cluster.accept()
    cluster.kube.delete("/apis/network.alibabacloud.com/v1beta1/namespaces/example/podenis/gone-0")
    monkeypatch.undo()  # the reconciler has its own rights
    cluster.settle(60, step=5)
    assert forgotten.id not in {eni.id for eni in cluster.cloud.model.enis()}
    again = listened_to(cluster, monkeypatch)
    give_back(cluster.source, backups, Steps(False), master, "back", timedelta(seconds=60))
    # Where it also runs shared-ENI IPAM, its configuration is written.
    path = f"/api/v1/namespaces/{SYSTEM}/configmaps/terway-controlplane"
    shared = cluster.kube.get(path)
    cluster.kube.update(path, {**shared, "data": {"ctrl-config.yaml": "centralizedIPAM: true\n"}})
    stopping.stop(cluster.source, Backups(tmp_path / "shared"), Steps(False))
    compare("takeover.yaml", listening.asked | again.asked, set())


def test_doctor(cluster: TerwayCluster) -> None:
    cluster.install_controlplane()
    listening = Listening(cluster.kube)
    facts = ClusterFacts()
    with _client(listening) as client:
        look_at_cluster(client, facts)
    assert not isinstance(facts.version, Unseen)
    # Whether a Lease is held is only asked where its Deployment does not run.
    compare("doctor.yaml", listening.asked, {("get", "leases")})
