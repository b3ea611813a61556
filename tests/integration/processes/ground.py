"""The local stack with its processes in our hands: kill them, start them again, play its users."""

import base64
import json
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import yaml
from lightkube import Client, KubeConfig
from lightkube.core.exceptions import ApiError
from lightkube.generic_resource import create_global_resource, create_namespaced_resource
from lightkube.resources.apps_v1 import StatefulSet
from lightkube.resources.core_v1 import Namespace, Node, Pod
from lightkube.types import PatchType

from deploy.local.parts.child import Child, start_child
from deploy.local.parts.ports import LOOPBACK, free_port
from deploy.local.stack import control, plan
from deploy.local.stack.options import StackFiles, StackOptions
from deploy.local.stack.state import StackFacts, StackState, read_state

NAMESPACE = "example"
DEADLINE_S = 240.0
PodEni = create_namespaced_resource("network.alibabacloud.com", "v1beta1", "PodENI", "podenis")
PodNetworking = create_global_resource(
    "network.alibabacloud.com", "v1beta1", "PodNetworking", "podnetworkings"
)

Json = dict[str, Any]
Row = tuple[Any, ...]

#: What is killed in these tests. A killed one is noticed sooner than by default.
VICTIMS = ("watcher", "intake", "reconciler", "webhook")
QUICK = {
    "ENI_LEDGER_KAFKA__SESSION_TIMEOUT_MS": "2000",
    "ENI_LEDGER_CLOUD__CONNECT_TIMEOUT_S": "1",
    "ENI_LEDGER_CLOUD__READ_TIMEOUT_S": "2",
    "ENI_LEDGER_RECONCILER__CLAIM_S": "2",
}

_http = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def wait_for(look: Callable[[], Any], what: str, deadline_s: float = DEADLINE_S) -> Any:
    """What `look` returns once it is true; fails with `what` when it never is."""
    until = time.monotonic() + deadline_s
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < until, f"not within {deadline_s:g} s: {what}"
        time.sleep(0.05)


def fetch(url: str, body: Json | None = None, method: str | None = None) -> tuple[int, str]:
    """(status, text) of a GET, or of a POST of `body`; status 0 while nothing listens."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, method=method)
    try:
        with _http.open(request, timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.read().decode()
    except OSError:
        return 0, ""


@dataclass
class Stack:
    """One local stack. `children` are the processes that we started in place of its own."""

    directory: Path
    facts: StackFacts
    settings: Mapping[str, str]
    client: Any  # lightkube's overloads ask for kinds known to the type checker
    children: dict[str, Child] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)

    # ------------------------------------------------------------------ processes

    def state(self) -> StackState:
        found = read_state(StackFiles(self.directory).state)
        assert found is not None
        return found

    def start(self, name: str) -> None:
        """As the stack's keeper starts it; returns at once."""
        self.ports[name] = free_port()
        self.children[name] = start_child(
            name,
            plan.eni_ledger_command("run", name),
            log=self.facts.logs / f"{name}-again.log",
            environment=plan.part_environment(self.settings, self.ports[name]),
        )

    def url(self, name: str, path: str) -> str:
        return f"http://{LOOPBACK}:{self.ports[name]}{path}"

    def wait_ready(self, name: str) -> None:
        child = self.children[name]
        child.wait_ready(
            lambda: fetch(self.url(name, "/readyz"))[0] == 200, DEADLINE_S, "it was ready"
        )

    def kill(self, name: str) -> None:
        """SIGKILL, and a new one at once."""
        self.children[name].kill()
        self.start(name)
        if name == "webhook":
            # Admission that is down lets Pods through as they are: not what is tried here.
            self.wait_ready(name)

    def eni_ledger(self, *words: str) -> str:
        done = subprocess.run(
            plan.eni_ledger_command(*words),
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env=plan.part_environment(self.settings),
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    # ------------------------------------------------------------------ the cluster

    def pod(self, name: str) -> Any:
        """The Pod, or None."""
        return self._get(Pod, name)

    def podeni(self, name: str) -> Any:
        """The PodENI, or None."""
        return self._get(PodEni, name)

    def running(self, name: str, not_uid: str = "") -> Any:
        """The Pod once it runs and is not the one of that uid; None before."""
        pod = self.pod(name)
        if pod is None or pod.metadata.uid == not_uid or pod.status is None:
            return None
        return pod if pod.status.phase == "Running" else None

    def create_stateful_set(self, name: str) -> None:
        """One replica, matched by the PodNetworking `example`."""
        labels = {"app": name, "foo": "bar"}
        self.client.create(
            StatefulSet.from_dict(
                {
                    "metadata": {"name": name, "namespace": NAMESPACE},
                    "spec": {
                        "serviceName": name,
                        "replicas": 1,
                        "selector": {"matchLabels": labels},
                        "template": {
                            "metadata": {"labels": labels},
                            "spec": {"containers": [{"name": "c", "image": "i"}]},
                        },
                    },
                }
            )
        )

    def delete_stateful_set(self, name: str) -> None:
        self.client.delete(StatefulSet, name, namespace=NAMESPACE)

    def keep_for_ever(self) -> None:
        """From now on the PodNetworking's addresses are kept until somebody gives them up."""
        never = {
            "allocationType": {"type": "Fixed", "releaseStrategy": "Never", "releaseAfter": None}
        }
        self.client.patch(PodNetworking, "example", {"spec": never}, patch_type=PatchType.MERGE)
        wait_for(
            lambda: (
                (self.client.get(PodNetworking, "example").status or {}).get("status") == "Ready"
            ),
            "the PodNetworking is Ready again",
        )

    def delete_podeni(self, name: str) -> None:
        self.client.delete(PodEni, name, namespace=NAMESPACE)

    def kube_changes(self) -> int:
        """How many requests for a change the API server has had, by its own count."""
        cluster = yaml.safe_load(self.facts.kubeconfig.read_text())["clusters"][0]["cluster"]
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}),
            urllib.request.HTTPSHandler(context=ssl.create_default_context(cadata=authority)),
        )
        with opener.open(f"{cluster['server']}/_sim/requests", timeout=10) as answer:
            return int(json.loads(answer.read())["mutating"])

    def cordon(self, node: str, unschedulable: bool) -> None:
        self.client.patch(Node, node, {"spec": {"unschedulable": unschedulable}})

    def _get(self, resource: Any, name: str) -> Any:
        try:
            return self.client.get(resource, name, namespace=NAMESPACE)
        except ApiError as refused:
            if refused.status.code == 404:
                return None
            raise

    # ------------------------------------------------------------------ the cloud and the ledger

    def member_enis(self) -> list[Json]:
        """Every ENI of ours that the cloud holds."""
        found: list[Json] = json.loads(fetch(f"{self.facts.cloud_control}/enis")[1])["enis"]
        return [eni for eni in found if eni["tags"].get("creator") == "eni-ledger"]

    def effects(self, since: int, eni: str | None = None) -> list[str]:
        """The APIs of the calls after `since` that took effect; about one ENI where it is named."""
        calls = json.loads(fetch(f"{self.facts.cloud_control}/calls?since={since}")[1])["calls"]
        return [
            call["api"]
            for call in calls
            if call["effect"]
            and (eni is None or call["parameters"].get("NetworkInterfaceId") in (None, eni))
        ]

    def last_call(self) -> int:
        """The sequence number of the newest call."""
        calls = json.loads(fetch(f"{self.facts.cloud_control}/calls")[1])["calls"]
        return int(calls[-1]["sequence"]) if calls else 0

    def fault(self, **fault: Any) -> None:
        status, text = fetch(f"{self.facts.cloud_control}/faults", fault)
        assert status in (200, 201), text

    def rows(self, query: str, *parameters: Any) -> list[Row]:
        with psycopg.connect(self.facts.postgres) as connection:
            return connection.execute(query, parameters).fetchall()


@contextmanager
def running_stack(directory: Path, options: StackOptions | None = None) -> Iterator[Stack]:
    """A stack of its own, with the demonstration's namespace and PodNetworking."""
    facts = control.up(options or StackOptions(), directory, tied=True)
    config = KubeConfig.from_file(str(facts.kubeconfig)).get()
    settings = {**plan.read_environment(facts.environment), **QUICK}
    stack = Stack(directory, facts, settings, Client(config))
    stack.client.create(
        Namespace.from_dict({"metadata": {"name": NAMESPACE, "labels": {"foo": "bar"}}})
    )
    selector = {"matchLabels": {"foo": "bar"}}
    spec = {
        "allocationType": {"type": "Fixed", "releaseStrategy": "TTL", "releaseAfter": "1h"},
        "selector": {"podSelector": selector, "namespaceSelector": selector},
        "securityGroupIDs": ["sg-bpxxxx"],
        "vSwitchOptions": ["vsw-bpxxxx"],
    }
    stack.client.create(PodNetworking.from_dict({"metadata": {"name": "example"}, "spec": spec}))
    try:
        wait_for(
            lambda: (
                (stack.client.get(PodNetworking, "example").status or {}).get("status") == "Ready"
            ),
            "the PodNetworking is Ready",
        )
        yield stack
    finally:
        for child in stack.children.values():
            child.kill()
        control.down(directory)
        stack.client.close()
