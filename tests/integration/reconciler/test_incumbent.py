"""P11: Beside terway-controlplane we act only where its PodENI controllers are off."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest
import yaml

from consumers.kube.lightkube_adapter import LightkubeAdapter
from consumers.reconciler.incumbent import why_not_master
from deploy.local.kubernetes.core import Core
from deploy.local.kubernetes.port_adapter import CoreTransport, InProcess
from deploy.local.kubernetes.sources import Sources

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SWITCHED_OFF = ["-pod", "-pod-eni", "-eni", "-pod-networking"]


@pytest.fixture
def api() -> InProcess:
    served = InProcess(Core(Sources.seeded(1, lambda: NOW)))
    served.core.create_default_namespaces()
    return served


def judged(api: InProcess) -> str | None:
    client = httpx2.Client(transport=CoreTransport(api), base_url="http://kube")
    return why_not_master(LightkubeAdapter(client), NOW)


def deploy(api: InProcess, replicas: int, controllers: Any = None) -> None:
    labels = {"app": "terway-controlplane"}
    api.create(
        "/apis/apps/v1/namespaces/kube-system/deployments",
        {
            "metadata": {"name": "terway-controlplane", "namespace": "kube-system"},
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {"labels": labels},
                    "spec": {
                        "containers": [{"name": "c", "image": "i"}],
                        "volumes": [{"name": "config", "configMap": {"name": "terway-config"}}],
                    },
                },
            },
        },
    )
    if controllers is not None:
        text = yaml.safe_dump({"controllers": controllers})
        api.create(
            "/api/v1/namespaces/kube-system/configmaps",
            {"metadata": {"name": "terway-config"}, "data": {"ctrl-config.yaml": text}},
        )


def lease(api: InProcess, renewed: datetime) -> None:
    api.create(
        "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases",
        {
            "metadata": {"name": "terway-controlplane"},
            "spec": {
                "holderIdentity": "a",
                "leaseDurationSeconds": 15,
                "renewTime": renewed.isoformat().replace("+00:00", "Z"),
            },
        },
    )


def test_alone_we_act(api: InProcess) -> None:
    assert judged(api) is None


def test_beside_a_running_incumbent_we_do_not(api: InProcess) -> None:
    deploy(api, 1)
    why = judged(api)
    assert why is not None
    assert "pod, pod-eni, eni" in why


@pytest.mark.parametrize(
    ("controllers", "acts"),
    [
        (SWITCHED_OFF, True),
        (["node", *SWITCHED_OFF], True),
        (["-pod", "-pod-eni"], False),
        (["*", *SWITCHED_OFF], False),
        ([], False),
    ],
)
def test_its_configuration_decides(api: InProcess, controllers: list[str], acts: bool) -> None:
    deploy(api, 1, controllers)
    assert (judged(api) is None) is acts


def test_while_it_is_restarted_its_earlier_configuration_still_acts(api: InProcess) -> None:
    deploy(api, 1, SWITCHED_OFF)
    path = "/apis/apps/v1/namespaces/kube-system/deployments/terway-controlplane"
    found = api.get(path)
    api.update(f"{path}/status", {**found, "status": {"replicas": 2, "updatedReplicas": 1}})
    assert "being restarted" in str(judged(api))
    status = {"replicas": 1, "updatedReplicas": 1, "observedGeneration": 0}
    api.update(f"{path}/status", {**api.get(path), "status": status})
    assert "being restarted" in str(judged(api)), "its controller has not seen the change yet"
    status["observedGeneration"] = found["metadata"]["generation"]
    api.update(f"{path}/status", {**api.get(path), "status": status})
    assert judged(api) is None


def test_scaled_to_zero_it_is_no_master_once_its_lease_ran_out(api: InProcess) -> None:
    deploy(api, 0)
    lease(api, NOW - timedelta(seconds=10))
    why = judged(api)
    assert why is not None
    assert "Lease" in why


def test_an_old_lease_stops_nobody(api: InProcess) -> None:
    deploy(api, 0)
    lease(api, NOW - timedelta(minutes=5))
    assert judged(api) is None


def test_what_cannot_be_looked_at_counts_as_a_master(api: InProcess) -> None:
    class Refusing(httpx2.BaseTransport):
        def handle_request(self, request: httpx2.Request) -> httpx2.Response:
            return httpx2.Response(403, json={"kind": "Status", "reason": "Forbidden", "code": 403})

    client = httpx2.Client(transport=Refusing(), base_url="http://kube")
    why = why_not_master(LightkubeAdapter(client), NOW)
    assert why is not None
    assert "can't be looked at" in why
