"""The chart in a Kubernetes API, by genuine helm: installed, running, upgraded, removed.

One story on one API server, in the order of this file. There is no kubelet: the hook's Job and the
processes are run by the test, with exactly what the chart gives their containers.
"""

import contextlib
import functools
import json
import ssl
import subprocess
import threading
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import yaml

from deploy.local.parts.child import Child, start_child
from deploy.local.parts.ports import LOOPBACK
from deploy.local.stack.plan import eni_ledger_command, part_environment
from ledger.store import migrate
from ledger.store.database import Database
from tests.integration.chart.chart import (
    EXAMPLES,
    NAMESPACE,
    PROCESSES,
    ROOT,
    Json,
    Process,
    Rendered,
    rendered,
)
from tests.integration.chart.conftest import Cluster
from tests.integration.processes.ground import fetch, wait_for

pytestmark = [pytest.mark.genuine("helm"), pytest.mark.timeout(300)]

HOOKS = ("mutatingwebhookconfiguration", "validatingwebhookconfiguration")
CRDS = ("podenis.network.alibabacloud.com", "podnetworkings.network.alibabacloud.com")
SECRET = "trunk-eni-ledger-webhook-cert"
PODNETWORKING = """
apiVersion: network.alibabacloud.com/v1beta1
kind: PodNetworking
metadata: {name: %s}
spec:
  allocationType: {type: Fixed, releaseStrategy: TTL, releaseAfter: %s}
  selector: {podSelector: {matchLabels: {foo: bar}}}
  securityGroupIDs: [sg-bpxxxx]
  vSwitchOptions: [vsw-bpxxxx]
"""


def get(cluster: Cluster, *words: str) -> Json:
    found: Json = json.loads(cluster.kubectl("get", "--namespace", NAMESPACE, "-o", "json", *words))
    return found


def play_kubelet(cluster: Cluster, dsn: str, seen: dict[str, str]) -> None:
    """Run the migration's container when its Job is there, and report what came of it."""
    jobs = functools.partial(get, cluster, "jobs")
    [job] = wait_for(lambda: jobs()["items"], "the hook's Job is there", 60)
    seen["deployments"] = cluster.kubectl("get", "deployments", "-n", NAMESPACE, "-o", "name")
    [container] = job["spec"]["template"]["spec"]["containers"]
    [variable] = container["env"]
    assert variable["valueFrom"]["secretKeyRef"] == {"name": "eni-ledger-postgres", "key": "owner"}
    done = subprocess.run(
        eni_ledger_command(*container["args"]), check=False, capture_output=True, text=True,
        env=part_environment({variable["name"]: dsn}),
    )  # fmt: skip
    seen["migration"] = done.stdout + done.stderr
    ended = "Complete" if done.returncode == 0 else "Failed"
    status = {"conditions": [{"type": ended, "status": "True"}], "succeeded": 1, "ready": 0}
    cluster.kubectl(
        "patch", "job", job["metadata"]["name"], "-n", NAMESPACE, "--subresource", "status",
        "--type", "merge", "-p", json.dumps({"status": status}),
    )  # fmt: skip


@contextlib.contextmanager
def kubelet(cluster: Cluster, dsn: str) -> Iterator[dict[str, str]]:
    seen: dict[str, str] = {}
    playing = threading.Thread(target=play_kubelet, args=(cluster, dsn, seen))
    playing.start()
    yield seen
    playing.join()


def test_a_migration_that_fails_installs_nothing(cluster: Cluster) -> None:
    with kubelet(cluster, "postgresql://nobody@127.0.0.1:1/nothing") as seen:
        cluster.helm("install", "--create-namespace", fails=True)
    assert "127.0.0.1" in seen["migration"]
    assert cluster.kubectl("get", "deployments", "-n", NAMESPACE, "-o", "name") == ""
    cluster.helm("uninstall")


def test_install_migrates_first(cluster: Cluster, empty_database: str) -> None:
    with kubelet(cluster, empty_database) as seen:
        told = cluster.helm("install")
    assert "removes no CustomResourceDefinition" in told
    assert seen["deployments"] == "", "processes would have started on the old schema"
    with Database(empty_database, pool_size=1).session() as connection:
        assert migrate.current(connection) == migrate.head()
    assert set(CRDS) <= {each["metadata"]["name"] for each in get(cluster, "crd")["items"]}
    installed = {each["metadata"]["name"] for each in get(cluster, "deployments")["items"]}
    assert installed == {f"eni-ledger-{name}" for name in PROCESSES}


def as_installed(cluster: Cluster) -> Rendered:
    """What the API server holds, in the shape of a rendering."""
    return Rendered(tuple(get(cluster, "deployments,configmaps")["items"]))


@contextlib.contextmanager
def running(
    cluster: Cluster, process: Process, secrets: Mapping[str, str], tmp_path: Path
) -> Iterator[Child]:
    """The process with the container's own environment, and this machine's kubeconfig."""
    directory = tmp_path / process.name
    directory.mkdir()
    environment = process.environment(directory, secrets, LOOPBACK)
    environment["ENI_LEDGER_KUBE__KUBECONFIG"] = str(cluster.kubeconfig)
    child = start_child(
        process.name, eni_ledger_command(*process.container["args"]),
        log=directory / "log", environment=part_environment(environment) | environment,
    )  # fmt: skip
    try:
        yield child
    finally:
        child.kill()


def test_each_process_listens_where_its_probes_ask(
    cluster: Cluster, database: str, tmp_path: Path
) -> None:
    """All five at once; what they need and can't reach here is waited for, and said on /readyz."""
    secrets = {f"eni-ledger-postgres/{name}": database for name in PROCESSES}
    with contextlib.ExitStack() as stack:
        children = {}
        for process in as_installed(cluster).processes():
            children[process.name] = stack.enter_context(
                running(cluster, process, secrets, tmp_path)
            )
        for process in as_installed(cluster).processes():
            asked = process.container["startupProbe"]["httpGet"]
            assert asked["port"] == "http"
            health = f"http://{asked.get('host', LOOPBACK)}:{process.port('http')}"
            children[process.name].wait_ready(
                functools.partial(answers, f"{health}{asked['path']}"), 120, "it answered"
            )
            path = process.container["readinessProbe"]["httpGet"]["path"]
            assert fetch(f"{health}{path}")[0] in (200, 503)
            if process.name == "console":
                page = f"http://{LOOPBACK}:{process.port('console')}"
                wait_for(functools.partial(answers, page), "the page is served", 60)
                assert fetch(f"{page}/api/v1/overview")[0] == 401
            if process.name == "webhook":
                ready = f"{health}/readyz"
                wait_for(functools.partial(answers, ready), "it has its certificate", 60)
                assert tls_answers(process.port("admission"))


def answers(url: str) -> bool:
    return fetch(url)[0] == 200


def tls_answers(port: int) -> bool:
    """Whether our own health route answers there over TLS; whose certificate it is, the API server
    checks in the next test."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with urllib.request.urlopen(f"https://{LOOPBACK}:{port}/healthz", context=context) as answer:
        return bool(answer.status == 200)


def test_the_api_server_trusts_and_asks_our_service(cluster: Cluster, tmp_path: Path) -> None:
    """Registered by the chart, trusted by what the process wrote: a wrong object is refused by us."""
    webhook = as_installed(cluster).process("webhook")
    assert webhook is not None
    with running(cluster, webhook, {}, tmp_path) as child:
        ready = f"http://{LOOPBACK}:{webhook.port('http')}/readyz"
        child.wait_ready(lambda: fetch(ready)[0] == 200, 120, "it was ready")
        refused = cluster.kubectl(
            "create", "-f", "-", stdin=PODNETWORKING % ("short", "1m"), fails=True
        )
        assert "releaseAfter" in refused
        cluster.kubectl("create", "-f", "-", stdin=PODNETWORKING % ("example", "1h"))


def kept(cluster: Cluster) -> tuple[object, ...]:
    """What belongs to the running system, not to the release: versions of CRDs, certificate, trust."""
    bundles = [
        get(cluster, hook)["items"][0]["webhooks"][0]["clientConfig"]["caBundle"] for hook in HOOKS
    ]
    versions = [get(cluster, "crd", name)["metadata"]["resourceVersion"] for name in CRDS]
    return (get(cluster, "secret", SECRET)["data"], bundles, versions)


def test_an_upgrade_keeps_certificate_trust_and_crds(cluster: Cluster, database: str) -> None:
    """Whoever installed the CRDs last keeps them: the incumbent marks its own with a version."""
    mark = "crd.network.alibabacloud.com/version=v9.9.9"
    cluster.kubectl("annotate", "crd", *CRDS, mark, "--overwrite")
    before = kept(cluster)
    with kubelet(cluster, database):
        cluster.helm("upgrade", "--set", "image.tag=0.2.0")
    assert kept(cluster) == before
    pods = [each["spec"]["template"]["spec"] for each in get(cluster, "deployments")["items"]]
    assert {pod["containers"][0]["image"] for pod in pods} == {"eni-ledger:0.2.0"}


def test_uninstalling_leaves_what_pods_live_by(cluster: Cluster) -> None:
    before = kept(cluster)[2]
    cluster.helm("uninstall")
    assert get(cluster, "podnetworkings")["items"][0]["metadata"]["name"] == "example"
    assert [get(cluster, "crd", name)["metadata"]["resourceVersion"] for name in CRDS] == before
    ours = get(cluster, "all,secrets,clusterroles," + ",".join(HOOKS))["items"]
    assert [
        each["metadata"]["name"] for each in ours if "eni-ledger" in each["metadata"]["name"]
    ] == []


def test_crds_that_are_there_are_left_as_they_are(cluster: Cluster) -> None:
    """Beside the incumbent's, which differ. Helm 4 would apply ours over them: it is refused by the API
    server and changes nothing; with --skip-crds, as the page has it, it does not try."""
    for name in CRDS:
        cluster.kubectl("delete", "crd", name, "--ignore-not-found")
        kind = name.partition(".")[0]
        theirs = yaml.safe_load((ROOT / f"deploy/crds/{kind}.yaml").read_text())
        theirs["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["description"] = "theirs"
        cluster.kubectl("create", "-f", "-", stdin=yaml.safe_dump(theirs))
    before = [get(cluster, "crd", name) for name in CRDS]
    no_hook = ("--create-namespace", "--set", "migrations.enabled=false")
    assert "conflict" in cluster.helm("install", *no_hook, fails=True)
    assert [get(cluster, "crd", name) for name in CRDS] == before
    cluster.helm("install", "--skip-crds", *no_hook)
    assert [get(cluster, "crd", name) for name in CRDS] == before
    cluster.helm("uninstall")
    assert [get(cluster, "crd", name) for name in CRDS] == before


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_object_is_accepted(cluster: Cluster, example: str) -> None:
    """Server-side dry run; of operators' own kinds only those whose CRDs are installed here."""
    served = cluster.kubectl("api-resources", "-o", "name").split()
    groups = {name.partition(".")[2] for name in served}
    known = [
        each
        for each in rendered(example).objects
        if each["apiVersion"].partition("/")[0] in groups or "/" not in each["apiVersion"]
    ]
    foreign = {each["kind"] for each in rendered(example).objects} - {
        each["kind"] for each in known
    }
    assert foreign <= {"Certificate", "Issuer", "KafkaTopic", "KafkaUser", "ServiceMonitor"}
    told = cluster.kubectl(
        "apply", "--server-side", "--dry-run=server", "-f", "-", stdin=yaml.safe_dump_all(known)
    )  # fmt: skip
    assert told.count("serverside-applied (server dry run)") == len(known)
