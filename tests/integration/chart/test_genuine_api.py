"""The chart on a genuine kube-apiserver: accepted whole, with the rights that were proven there."""

import json
from collections.abc import Iterator

import pytest
import yaml

from deploy.local.parts.kube_apiserver.server import GenuineOptions, running
from deploy.local.stack.options import CRDS
from tests.integration.chart.chart import (
    EXAMPLES,
    NAMESPACE,
    PROCESSES,
    ROOT,
    grants,
    rendered,
    rules_of,
)
from tests.integration.chart.conftest import Cluster

pytestmark = [pytest.mark.genuine("helm", "kube"), pytest.mark.timeout(300)]

#: Kinds of operators that are not installed there.
FOREIGN = {"Certificate", "Issuer", "KafkaTopic", "KafkaUser", "PrometheusRule", "ServiceMonitor"}


@pytest.fixture(scope="module")
def genuine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One of its own, since a release takes over nobody else's objects; with the CRDs already there,
    as beside the incumbent."""
    options = GenuineOptions(crds=[CRDS])
    with running(tmp_path_factory.mktemp("genuine"), options) as server:
        home = tmp_path_factory.mktemp("home")
        cluster = Cluster(server.kubeconfig, home, {"webhook.port": 19445})
        cluster.kubectl("create", "namespace", NAMESPACE)
        cluster.kubectl("create", "namespace", "eni-ledger-data")
        yield cluster


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_object_is_accepted(genuine: Cluster, example: str) -> None:
    """By server-side dry run: schemas, validation and admission of the real one, nothing stored."""
    known = [each for each in rendered(example).objects if each["kind"] not in FOREIGN]
    told = genuine.kubectl(
        "apply", "--server-side", "--dry-run=server", "-f", "-", stdin=yaml.safe_dump_all(known)
    )  # fmt: skip
    assert told.count("serverside-applied (server dry run)") == len(known)


def test_installed_upgraded_and_removed(genuine: Cluster) -> None:
    """For real, but for the hook: there is no kubelet. CRDs stay what they were, all the time."""
    crds = genuine.kubectl("get", "crd", "-o", "jsonpath={.items[*].metadata.resourceVersion}")
    no_hook = ("--skip-crds", "--set", "migrations.enabled=false")
    genuine.helm("install", *no_hook)
    secret = ("get", "secret", "trunk-eni-ledger-webhook-cert", "-n", NAMESPACE, "-o", "json")
    patch = json.dumps({"stringData": {"tls.crt": "written by the webhook"}})
    genuine.kubectl("patch", "secret", secret[2], "-n", NAMESPACE, "-p", patch)
    written = json.loads(genuine.kubectl(*secret))["data"]
    genuine.helm("upgrade", *no_hook, "--set", "image.tag=0.2.0")
    assert json.loads(genuine.kubectl(*secret))["data"] == written
    for process in PROCESSES:
        account = f"system:serviceaccount:{NAMESPACE}:eni-ledger-{process}"
        words = ("auth", "can-i", "create", "podenis.network.alibabacloud.com", "--as", account)
        answer = genuine.kubectl(*words, fails=process != "reconciler")
        assert process == "reconciler" or "yes" not in answer
    genuine.helm("uninstall")
    assert crds == genuine.kubectl(
        "get", "crd", "-o", "jsonpath={.items[*].metadata.resourceVersion}"
    )
    assert genuine.kubectl("get", "deployments", "-n", NAMESPACE, "-o", "name") == ""


@pytest.mark.parametrize("process", ["watcher", "intake", "reconciler", "webhook", "console"])
def test_rights_are_those_that_were_proven(process: str) -> None:
    """deploy/rbac is what the processes ran with against a genuine API server."""
    proven = [
        rule
        for each in yaml.safe_load_all((ROOT / f"deploy/rbac/{process}.yaml").read_text())
        if each["kind"] in ("ClusterRole", "Role")
        for rule in each["rules"]
    ]
    ours = rules_of(rendered("minimal"), f"eni-ledger-{process}")
    assert grants(ours) == grants(proven)
