"""The whole product on a genuine API server, each process with exactly the rights of deploy/rbac."""

import json
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
import yaml
from lightkube.resources.core_v1 import Pod

from consumers.kube import wire
from consumers.runtime.settings import KubeSettings
from deploy.local.parts.ports import LOOPBACK
from deploy.local.stack.accounts import MANIFESTS, account
from deploy.local.stack.options import GENUINE, RBAC, StackOptions
from tests.integration.local.processes import listens
from tests.integration.processes.ground import (
    NAMESPACE,
    PodNetworking,
    Stack,
    running_stack,
    wait_for,
)

pytestmark = [pytest.mark.genuine("kube"), pytest.mark.timeout(300)]

#: Process, verb, API group, resource (with its subresource).
Right = tuple[str, str, str, str]

_REGISTRATION = "admissionregistration.k8s.io"
#: Rights that a quiet day does not need, and what does.
NOT_USED_HERE: dict[Right, str] = {
    ("reconciler", "get", "", "configmaps"): "the incumbent's Deployment is there",
    ("webhook", "update", _REGISTRATION, "mutatingwebhookconfigurations"): "a renewed authority",
    ("webhook", "update", _REGISTRATION, "validatingwebhookconfigurations"): "a renewed authority",
    ("console", "create", "authentication.k8s.io", "tokenreviews"): "Kubernetes' identities",
    ("console", "create", "authorization.k8s.io", "subjectaccessreviews"): "Kubernetes' identities",
}


@pytest.fixture(scope="module")
def stack(stack_directory: Path) -> Iterator[Stack]:
    with running_stack(stack_directory / "genuine-stack", StackOptions(kube=GENUINE)) as running:
        yield running


def granted(process: str) -> set[Right]:
    """What the manifests of a process give it."""
    found = set()
    for name in MANIFESTS[process]:
        for document in yaml.safe_load_all((RBAC / name).read_text()):
            for rule in document.get("rules") or ():
                for verb in rule["verbs"]:
                    found |= {
                        (process, verb, group, resource)
                        for group in rule["apiGroups"]
                        for resource in rule["resources"]
                    }
    return found


def audited(stack: Stack) -> tuple[set[Right], list[str]]:
    """What the processes were seen to use, and what they were refused, by the API server's own log."""
    used: set[Right] = set()
    refused = []
    log = stack.facts.kubeconfig.parent / "audit.log"
    for line in log.read_text().splitlines():
        event = json.loads(line)
        _, _, who = event["user"]["username"].rpartition(":eni-ledger-")
        about = event.get("objectRef")
        if not who or about is None:
            continue
        resource = "/".join(filter(None, (about["resource"], about.get("subresource"))))
        used.add((who, event["verb"], about.get("apiGroup", ""), resource))
        if event["responseStatus"]["code"] in (401, 403):
            refused.append(f"{who}: {event['verb']} {event['requestURI']}")
    return used, refused


def bound(stack: Stack, name: str) -> bool:
    podeni = stack.podeni(name)
    return podeni is not None and (podeni.status or {}).get("phase") == "Bind"


def elastic_network(stack: Stack) -> None:
    selector = {"podSelector": {"matchLabels": {"kind": "elastic"}}}
    spec = {
        "allocationType": {"type": "Elastic"},
        "selector": selector,
        "securityGroupIDs": ["sg-bpxxxx"],
        "vSwitchOptions": ["vsw-bpxxxx"],
    }
    stack.client.create(PodNetworking.from_dict({"metadata": {"name": "elastic"}, "spec": spec}))
    wait_for(
        lambda: (stack.client.get(PodNetworking, "elastic").status or {}).get("status") == "Ready",
        "the PodNetworking is Ready",
    )


def elastic_pod(stack: Stack) -> bool:
    """Create it; whether admission knew the PodNetworking by then. If not, it is taken back."""
    pod = {
        "metadata": {"name": "elastic", "namespace": NAMESPACE, "labels": {"kind": "elastic"}},
        "spec": {"containers": [{"name": "c", "image": "i"}]},
    }
    made = stack.client.create(Pod.from_dict(pod))
    if (made.metadata.annotations or {}).get("k8s.aliyun.com/pod-eni") == "true":
        return True
    stack.client.delete(Pod, "elastic", namespace=NAMESPACE, grace_period=0)
    wait_for(lambda: stack.pod("elastic") is None, "it is gone")
    return False


def test_pods_live_and_end_and_each_process_uses_what_it_was_given(stack: Stack) -> None:
    assert set().union(*listens(stack.state()).values()) == {LOOPBACK}
    stack.create_stateful_set("web")
    wait_for(lambda: stack.running("web-0"), "the Pod runs")
    assert bound(stack, "web-0")
    elastic_network(stack)
    wait_for(lambda: elastic_pod(stack), "admission knows the PodNetworking")
    wait_for(lambda: bound(stack, "elastic"), "it has a PodENI in Bind")

    headers = {"Authorization": f"Bearer {stack.facts.console_token}"}
    explained = httpx2.get(
        f"{stack.facts.console}/api/v1/pods/{NAMESPACE}/web-0/explain", headers=headers
    )
    assert explained.is_success, explained.text

    stack.client.delete(Pod, "elastic", namespace=NAMESPACE)
    wait_for(lambda: stack.podeni("elastic") is None, "the Elastic one is given back")
    stack.delete_stateful_set("web")
    wait_for(lambda: not bound(stack, "web-0"), "the Fixed one is kept, unbound")
    stack.delete_podeni("web-0")
    wait_for(lambda: stack.podeni("web-0") is None, "the user ended it")
    wait_for(lambda: stack.member_enis() == [], "the cloud holds nothing of ours")

    used, refused = audited(stack)
    given = set().union(*(granted(process) for process in MANIFESTS))
    assert refused == []
    assert used <= given
    assert given - used == set(NOT_USED_HERE), "a right that nobody needs, or one that is new"


def test_beyond_its_rights_a_process_gets_nowhere(stack: Stack) -> None:
    below = stack.facts.kubeconfig.parent
    for process, path in (
        ("watcher", "/api/v1/namespaces/kube-system/configmaps"),
        ("watcher", "/api/v1/secrets"),
        ("reconciler", "/api/v1/namespaces/kube-system/secrets"),
        ("webhook", "/api/v1/namespaces/kube-system/secrets"),
        ("webhook", "/api/v1/pods"),
        ("console", "/api/v1/pods"),
        ("intake", "/api/v1/namespaces"),
    ):
        kube = KubeSettings(kubeconfig=below / f"{account(process)}.kubeconfig")
        with wire.connect(kube) as client:
            assert client.get(path).status_code == 403, (process, path)
