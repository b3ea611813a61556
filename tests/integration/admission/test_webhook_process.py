"""The webhook process over real TLS, asked by an API server and by a client of ours."""

import json

import httpx2
import pytest

from consumers.admission import main
from consumers.runtime.settings import KubeSettings, Settings, WebhookSettings
from deploy.local.parts.ports import free_port
from tests.integration.admission.ground import (
    ADMISSION,
    API,
    SECRET,
    Stack,
    Webhook,
    make_ready,
    mutated,
    nginx,
    podnetworking,
    wait_until,
)
from tests.unit.rules.admission_cases import FOO


def test_the_documents_example_from_podnetworking_to_pod(stack: Stack) -> None:
    stack.namespace("example", foo="bar")
    created = stack.post(f"{API}/podnetworkings", podnetworking())
    assert "security groups do not apply" in created.headers["warning"]
    make_ready(stack)
    wait_until(lambda: mutated(stack, nginx()), "the webhook to see the PodNetworking")

    stored = stack.post("/api/v1/namespaces/example/pods", nginx()).json()
    annotations = stored["metadata"]["annotations"]
    assert annotations["k8s.aliyun.com/pod-eni"] == "true"
    assert annotations["k8s.aliyun.com/pod-networking"] == "example"
    (network,) = json.loads(annotations["k8s.aliyun.com/pod-networks"])["podNetworks"]
    assert network["vSwitchOptions"] == ["vsw-1"]
    resources = stored["spec"]["containers"][0]["resources"]
    assert resources["limits"] == resources["requests"] == {"aliyun/member-eni": "1"}
    required = stored["spec"]["affinity"]["nodeAffinity"]
    (term,) = required["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert term["matchExpressions"][0]["values"] == ["zone-h"]

    elsewhere = stack.post("/api/v1/namespaces/default/pods", nginx("default")).json()
    assert "annotations" not in elsewhere["metadata"]


def test_a_bad_podnetworking_is_denied_on_create_and_on_update(stack: Stack) -> None:
    short = {"type": "Fixed", "releaseStrategy": "TTL", "releaseAfter": "1m"}
    denied = stack.post(f"{API}/podnetworkings", podnetworking(allocationType=short), 403).json()
    assert "minimum of 5m0s" in denied["message"]
    stored = stack.post(f"{API}/podnetworkings", podnetworking()).json()
    stored["spec"]["securityGroupIDs"] = []
    refused = stack.client.put(f"{API}/podnetworkings/example", json=stored)
    assert refused.status_code == 403
    assert "security group is not set" in refused.json()["message"]


def test_excluded_and_opted_out_namespaces_are_not_even_asked_about(stack: Stack) -> None:
    everyone = podnetworking(selector={"podSelector": {}}, allocationType=None)
    stack.post(f"{API}/podnetworkings", everyone)
    make_ready(stack)
    stack.namespace("out", **{"k8s.aliyun.com/pod-eni": "false"})
    wait_until(lambda: mutated(stack, nginx()), "the webhook to see the PodNetworking")
    for each in ("kube-system", "out"):
        stored = stack.post(f"/api/v1/namespaces/{each}/pods", nginx(each)).json()
        assert "annotations" not in stored["metadata"], each


def test_admission_goes_on_while_the_api_server_is_away(stack: Stack) -> None:
    stack.post(f"{API}/podnetworkings", podnetworking(selector={"podSelector": FOO}))
    make_ready(stack)
    wait_until(lambda: mutated(stack, nginx()), "the webhook to see the PodNetworking")
    context = stack.trusted()
    stack.kubernetes.kill()
    assert mutated(stack, nginx(), context)
    assert stack.webhook.health.is_ready


def test_a_second_replica_finds_all_in_order_and_writes_nothing(stack: Stack) -> None:
    paths = [
        SECRET,
        f"{ADMISSION}/mutatingwebhookconfigurations/eni-ledger",
        f"{ADMISSION}/validatingwebhookconfigurations/eni-ledger",
    ]

    def versions() -> list[str]:
        return [stack.client.get(path).json()["metadata"]["resourceVersion"] for path in paths]

    before = versions()
    kube = KubeSettings(kubeconfig=stack.kubernetes.kubeconfig)
    port = int(stack.url.rpartition(":")[2])
    settings = Settings(
        kube=kube,
        webhook=WebhookSettings(port=free_port(), register_url=f"https://127.0.0.1:{port}"),
    )
    replica = Webhook(settings)
    replica.start()
    replica.stop()
    assert versions() == before


def test_a_renewed_certificate_is_served_without_a_restart(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Secret that was deleted is made anew and loaded; the trust in it follows."""
    monkeypatch.setattr(main, "UPKEEP_S", 0.1)
    stack.webhook.stop()
    replica = Webhook(stack.webhook._settings)
    replica.start()
    stack.webhook = replica
    before = stack.trusted()
    assert not mutated(stack, nginx(), before)
    assert stack.client.delete(SECRET).status_code == 200
    wait_until(lambda: stack.client.get(SECRET).status_code == 200, "a new Secret")
    wait_until(lambda: stack.trusted().get_ca_certs() != before.get_ca_certs(), "new trust")
    assert not mutated(stack, nginx(), stack.trusted())
    with pytest.raises(httpx2.ConnectError):
        mutated(stack, nginx(), before)
