"""What only a genuine API server can show of admission: reinvocation beside the incumbent's webhook,
failure policies and timeouts, dry runs, and the trust that the webhook writes with few rights."""

import base64
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from consumers.admission.registration import mutating_configuration, validating_configuration
from consumers.kube import wire
from consumers.kube.names import INCUMBENT
from consumers.runtime.settings import KubeSettings, Settings, WebhookSettings
from deploy.local.parts.kube_apiserver.server import GenuineKube
from deploy.local.parts.ports import LOOPBACK, free_port
from deploy.local.stack import accounts
from tests.integration.admission.ground import (
    ADMISSION,
    API,
    Stack,
    Webhook,
    make_ready,
    mutated,
    nginx,
    podnetworking,
    wait_until,
)
from tests.integration.kubernetes.webhook import WebhookServer, patch, webhook_server
from tests.unit.rules.admission_cases import FOO

pytestmark = pytest.mark.genuine("kube")

Json = dict[str, Any]
NETWORKS = "k8s.aliyun.com/pod-networks"
MUTATING = f"{ADMISSION}/mutatingwebhookconfigurations"


@pytest.fixture
def api_server(genuine_server: GenuineKube) -> GenuineKube:
    """The session's genuine one."""
    return genuine_server


@pytest.fixture
def webhook_settings(request: pytest.FixtureRequest) -> WebhookSettings:
    """Named so that the incumbent's is asked first; with the failure policy that a test asks for."""
    port = free_port()
    return WebhookSettings(
        name="zz-eni-ledger",
        port=port,
        register_url=f"https://{LOOPBACK}:{port}",
        failure_policy=getattr(request, "param", "Ignore"),
    )


@pytest.fixture
def other(tmp_path: Path) -> Iterator[WebhookServer]:
    """Somebody else's webhook."""
    with webhook_server(tmp_path) as server:
        yield server


def install(stack: Stack, name: str, hook: WebhookServer, **changes: Any) -> None:
    """A mutating configuration for Pods at CREATE, as charts install them."""
    rule = {
        "operations": ["CREATE"],
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "resources": ["pods"],
    }
    entry = {
        "name": f"{name}.example.com",
        "rules": [rule],
        "sideEffects": "None",
        "failurePolicy": "Ignore",
        "admissionReviewVersions": ["v1"],
        "clientConfig": {"url": f"https://{hook.address}/mutating", "caBundle": hook.ca_bundle},
        **changes,
    }
    stack.post(MUTATING, {"metadata": {"name": name}, "webhooks": [entry]})


def everyone(stack: Stack) -> None:
    """A PodNetworking, Ready, for Pods labelled foo=bar of every namespace."""
    stack.post(f"{API}/podnetworkings", podnetworking(selector={"podSelector": FOO}))
    make_ready(stack)
    wait_until(lambda: mutated(stack, nginx()), "the webhook to see the PodNetworking")


def named(name: str) -> Json:
    """A Pod in `default` that the PodNetworking selects."""
    pod = nginx("default")
    pod["metadata"]["name"] = name
    return pod


def create(stack: Stack, pod: Json) -> Json:
    found: Json = stack.post("/api/v1/namespaces/default/pods", pod).json()
    return found


def incumbent(request: Json) -> Json:
    """As terway-controlplane mutates a Pod that a PodNetworking matches (reference §2.1)."""
    network = {
        "interface": "eth0",
        "vSwitchOptions": ["vsw-9"],
        "securityGroupIDs": ["sg-9"],
        "allocationType": {"type": "Elastic"},
    }
    if NETWORKS in (request["object"]["metadata"].get("annotations") or {}):
        return {"allowed": False, "status": {"message": "mutually exclusive", "code": 403}}
    annotations = {
        "k8s.aliyun.com/pod-eni": "true",
        "k8s.aliyun.com/pod-networking": "theirs",
        NETWORKS: json.dumps({"podNetworks": [network]}),
    }
    one = {"aliyun/member-eni": "1"}
    resources = {"requests": one, "limits": one}
    return patch(
        {"op": "add", "path": "/metadata/annotations", "value": annotations},
        {"op": "add", "path": "/spec/containers/0/resources", "value": resources},
    )


def test_beside_the_incumbent_its_output_is_recognised(stack: Stack, other: WebhookServer) -> None:
    everyone(stack)
    other.decide = incumbent
    install(stack, INCUMBENT, other)
    wait_until(lambda: bool(other.requests) or probe(stack), "the API server to ask both")
    stored = create(stack, named("both"))
    annotations = stored["metadata"]["annotations"]
    assert annotations["k8s.aliyun.com/pod-networking"] == "theirs"
    (network,) = json.loads(annotations[NETWORKS])["podNetworks"]
    assert network["vSwitchOptions"] == ["vsw-9"]
    assert stored["spec"]["containers"][0]["resources"]["limits"] == {"aliyun/member-eni": "1"}


def probe(stack: Stack) -> bool:
    """A dry run: configurations take effect some time after they are written. Never true."""
    path = "/api/v1/namespaces/default/pods?dryRun=All"
    stack.post(path, named("probe"))
    return False


def test_it_is_asked_again_when_a_later_webhook_changed_the_pod(
    stack: Stack, other: WebhookServer
) -> None:
    everyone(stack)
    other.decide = lambda _request: patch(
        {"op": "add", "path": "/metadata/labels", "value": {"foo": "bar"}}
    )
    install(stack, "zzz-labels", other)
    wait_until(lambda: bool(other.requests) or probe(stack), "the API server to ask both")
    pod = named("labelled-later")
    pod["metadata"].pop("labels")
    stored = create(stack, pod)
    assert stored["metadata"]["annotations"]["k8s.aliyun.com/pod-networking"] == "example"


def test_a_dry_run_is_answered_and_leaves_nothing(
    stack: Stack, genuine_server: GenuineKube, tmp_path: Path
) -> None:
    everyone(stack)
    manifest = tmp_path / "pod.json"
    manifest.write_text(json.dumps(named("dry")))
    words = ("apply", "--dry-run=server", "-o", "json", "-f", str(manifest))
    shown = json.loads(genuine_server.kubectl(*words))
    assert shown["metadata"]["annotations"]["k8s.aliyun.com/pod-eni"] == "true"
    assert stack.client.get("/api/v1/namespaces/default/pods/dry").status_code == 404


@pytest.mark.parametrize("webhook_settings", ["Ignore", "Fail"], indirect=True)
def test_what_happens_without_the_webhook_is_what_the_policy_says(
    stack: Stack, webhook_settings: WebhookSettings
) -> None:
    everyone(stack)
    name = f"without-{webhook_settings.failure_policy.lower()}"
    stack.webhook.stop()
    if webhook_settings.failure_policy == "Fail":
        refused = stack.post("/api/v1/namespaces/default/pods", named(name), 500)
        assert "mutating.zz-eni-ledger.io" in refused.json()["message"]
    else:
        assert "annotations" not in create(stack, named(name))["metadata"]
    # A PodNetworking that nobody checked is never taken, whatever the policy for Pods.
    body = podnetworking("unchecked")
    refused = stack.client.post(f"{API}/podnetworkings", json=body)
    assert refused.status_code == 500, refused.text


def test_a_webhook_that_hangs_holds_a_pod_up_for_its_timeout_only(
    stack: Stack, other: WebhookServer
) -> None:
    everyone(stack)
    released = threading.Event()

    def hang(_request: Json) -> Json:
        released.wait(30)
        return {"allowed": True}

    other.decide = hang
    install(stack, "zzz-hangs", other, timeoutSeconds=1)
    try:
        wait_until(lambda: bool(other.requests) or probe(stack), "the API server to ask both")
        stored = create(stack, named("patient"))
    finally:
        released.set()
    assert stored["metadata"]["annotations"]["k8s.aliyun.com/pod-eni"] == "true"


def test_with_the_rights_of_webhook_yaml_it_writes_the_trust_into_what_a_chart_installed(
    genuine_server: GenuineKube, tmp_path: Path
) -> None:
    """No right to create a Secret or a configuration: an empty Secret and an empty caBundle wait."""
    server, port = genuine_server, free_port()
    url = f"https://localhost:{port}"  # as the Service is called here: the certificate is for it
    accounts.grant(server, "webhook", registering=False)
    own = KubeSettings(kubeconfig=accounts.kubeconfig_of(server, "webhook", tmp_path))
    with wire.connect(KubeSettings(kubeconfig=server.kubeconfig)) as client:
        installed = WebhookSettings(register_url=url)
        webhook = Webhook(
            Settings(kube=own, webhook=WebhookSettings(port=port, service_name="localhost"))
        )
        stack = Stack(server, client, webhook, url)
        try:
            for path, body in (
                (MUTATING, mutating_configuration(installed, b"")),
                (
                    f"{ADMISSION}/validatingwebhookconfigurations",
                    validating_configuration(installed, b""),
                ),
            ):
                stack.post(path, body)
            webhook.start()
            found = client.get(f"{MUTATING}/eni-ledger").json()["webhooks"][0]["clientConfig"]
            assert b"BEGIN CERTIFICATE" in base64.b64decode(found["caBundle"])
            everyone(stack)
            stored = create(stack, named("trusted"))
            assert stored["metadata"]["annotations"]["k8s.aliyun.com/pod-eni"] == "true"
        finally:
            webhook.stop()
            stack.clean()
