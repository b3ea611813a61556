"""`eni-ledger explain pod` against a live API server."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml
from typer.testing import CliRunner, Result

from consumers.cli.errors import CommandError
from consumers.cli.main import app
from consumers.kube import wire
from consumers.runtime.settings import KubeSettings
from deploy.local.kubernetes.launch import Launched, LaunchOptions
from tests.unit.rules.admission_cases import pod_object, podnetworking_object

CRDS = Path(__file__).parents[3] / "deploy" / "crds"
PODNETWORKINGS = "/apis/network.alibabacloud.com/v1beta1/podnetworkings"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launched]:
    server = Launched(tmp_path_factory.mktemp("kubernetes"), LaunchOptions(crds=[CRDS]))
    server.start()
    try:
        with wire.connect(KubeSettings(kubeconfig=server.kubeconfig)) as client:
            furnish(client)
        yield server
    finally:
        server.stop()


def furnish(client: httpx2.Client) -> None:
    for path, obj in (
        ("/api/v1/namespaces", {"metadata": {"name": "example"}}),
        ("/api/v1/namespaces/example/pods", pod_object(labels={"foo": "bar"})),
        (PODNETWORKINGS, podnetworking_object("ready")),
        (PODNETWORKINGS, podnetworking_object("waiting")),
    ):
        assert client.post(path, json=obj).is_success
    found = client.get(f"{PODNETWORKINGS}/ready").json()
    found["status"] = {"status": "Ready", "vSwitches": [{"id": "vsw-1", "zone": "zone-h"}]}
    assert client.put(f"{PODNETWORKINGS}/ready/status", json=found).is_success


@pytest.fixture
def run(cluster: Launched, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("ENI_LEDGER_KUBE__KUBECONFIG", str(cluster.kubeconfig))
    monkeypatch.setenv("COLUMNS", "120")

    def invoke(*arguments: str) -> Result:
        return CliRunner().invoke(app, ["explain", "pod", *arguments])

    return invoke


def test_a_pod_that_exists_and_was_never_admitted(run: Any) -> None:
    result = run("example/my-nginx-0")
    assert result.exit_code == 0, result.output
    assert "was not admitted" in result.output
    assert "its status is not looked at yet" in result.output
    assert "zones of its vSwitches: zone-h" in result.output


def test_a_manifest_of_a_workload_before_it_exists(run: Any, tmp_path: Path) -> None:
    pod = pod_object(labels={"foo": "bar"})
    template = {"metadata": {"labels": {"foo": "bar"}}, "spec": pod["spec"]}
    workload = {"kind": "Deployment", "metadata": {"name": "web"}, "spec": {"template": template}}
    file = tmp_path / "web.yaml"
    file.write_text(yaml.safe_dump(workload))
    result = run("example/web-0", "--file", str(file), "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.output)
    assert found["chosen"] == "ready"
    assert found["stateful"] is False
    assert found["verdict"] == "It gets an ENI of its own from PodNetworking ready."
    assert found["networks"][0]["vSwitchOptions"] == ["vsw-1", "vsw-2"]
    assert [each["outcome"] for each in found["considered"]] == ["chosen", "not ready"]


def test_a_refusal_is_exit_code_1(run: Any, tmp_path: Path) -> None:
    pod = {"kind": "Pod", **pod_object(annotations={"k8s.aliyun.com/pod-networks": "{"})}
    file = tmp_path / "pod.yaml"
    file.write_text(yaml.safe_dump(pod))
    result = run("example/my-nginx-0", "--file", str(file))
    assert result.exit_code == 1
    assert "Admission refuses it" in result.output


def test_what_does_not_exist_is_named(run: Any, tmp_path: Path) -> None:
    result = run("example/nobody")
    assert isinstance(result.exception, CommandError)
    assert "Pod example/nobody does not exist" in str(result.exception)
    assert run("nobody").exit_code == 2
    missing = run("example/web-0", "--file", str(tmp_path / "absent.yaml"))
    assert isinstance(missing.exception, CommandError)
    service = tmp_path / "service.yaml"
    service.write_text("kind: Service\nspec: {}\n")
    wrong = run("example/web-0", "--file", str(service))
    assert "a Service has no Pod template" in str(wrong.exception)


def test_an_api_server_that_is_away_is_named(
    run: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("ENI_LEDGER_KUBE__KUBECONFIG", str(tmp_path / "absent"))
    assert "no Kubernetes connection" in str(run("example/my-nginx-0").exception)
