"""A world as terway-controlplane leaves it: its ENIs and tags, PodENIs, NetworkInterfaces, Deployment,
Lease, webhooks and configuration (reference §1, §6, §9). The reconciler of ours runs in it on virtual time.
"""

import random
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import httpx2
import yaml

from consumers.cloud.port import CreateEni
from consumers.kube.objects import Objects
from consumers.takeover.adopt import Applied, apply, doubtful
from consumers.takeover.facts import look
from consumers.takeover.source import Source
from deploy.local.cloud.port_adapter import simulated_cloud
from deploy.local.kubernetes.port_adapter import CoreTransport
from ledger.rules.allocation import Allocation
from ledger.rules.takeover import Decision, plan_takeover
from ledger.store import brakes, sweeps
from ledger.store.incarnations import ACCEPTABLE
from tests.simulation.doors import KubeBoundary
from tests.simulation.world import CLUSTER, SimulatedWorld, fixed

GROUP = "/apis/network.alibabacloud.com/v1beta1"
NI_PATH = f"{GROUP}/networkinterfaces"
DEPLOYMENT = "/apis/apps/v1/namespaces/kube-system/deployments"
WEBHOOKS = "/apis/admissionregistration.k8s.io/v1/{}webhookconfigurations"
CONFIG_MAPS = "/api/v1/namespaces/kube-system/configmaps"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases"
PLACES = {
    "node-h1": ("i-bp1demo0h1", "eni-bp1trunk0h1"),
    "node-h2": ("i-bp1demo0h2", "eni-bp1trunk0h2"),
}
CREATOR = "terway-controller"
_open: dict[str, Any] = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
NI_CRD: dict[str, Any] = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "networkinterfaces.network.alibabacloud.com"},
    "spec": {
        "group": "network.alibabacloud.com",
        "scope": "Cluster",
        "names": {
            "kind": "NetworkInterface",
            "listKind": "NetworkInterfaceList",
            "plural": "networkinterfaces",
            "singular": "networkinterface",
        },
        "versions": [
            {
                "name": "v1beta1",
                "served": True,
                "storage": True,
                "subresources": {"status": {}},
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {"spec": _open, "status": _open},
                    }
                },
            }
        ],
    },
}


def _as_it_is(
    serve: Callable[[httpx2.Request], httpx2.Response], request: httpx2.Request
) -> httpx2.Response:
    return serve(request)


class TerwayCluster(SimulatedWorld):
    """`SimulatedWorld` with the incumbent's things in it, and the commands of the take-over."""

    def _install(self) -> None:
        super()._install()
        self.kube.create("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", NI_CRD)

    @property
    def source(self) -> Source:
        """What a command works with."""
        dice = random.Random(7)
        client = httpx2.Client(
            transport=KubeBoundary(CoreTransport(self.kube), self._reach, _as_it_is),
            base_url="http://kube",
        )
        return Source(
            self.database,
            self.tools.kube,
            Objects(client),
            simulated_cloud(self.cloud, now=self.now),
            self.settings,
            self.tools.new_id,
            lambda seconds: self.advance(timedelta(seconds=seconds * dice.uniform(1.0, 1.1))),
            "ann@host",
        )

    # ---------------------------------------------------------------------- the incumbent's doing

    def incumbent_eni(
        self, tags: dict[str, str] | None = None, groups: tuple[str, ...] = ("sg-bpxxxx",)
    ) -> Any:
        """An ENI as its CreateNetworkInterface leaves it."""
        wanted = CreateEni(
            vswitch_id="vsw-bpxxxx",
            security_group_ids=groups,
            client_token=str(self.tools.new_id()),
            tags=tags or {"ack.aliyun.com": CLUSTER, "creator": CREATOR},
            delete_on_release=False,
            ipv6_count=0,
            resource_group_id="",
            traffic_mode="",
        )
        return self.tools.cloud.create_eni(wanted).value

    def attach(self, eni: str, node: str) -> int:
        """Under the node's trunk, to its end; the VLAN id."""
        self.tools.cloud.attach_eni(eni, *PLACES[node], None)
        self.advance(timedelta(seconds=30))
        [found] = [each for each in self.cloud.model.enis() if each.id == eni]
        assert found.status == "InUse"
        assert found.vlan is not None
        return found.vlan

    def terway_pod(
        self,
        name: str,
        *,
        phase: str = "Bind",
        pod: str = "runs",
        node: str = "node-h1",
        network: dict[str, Any] | None = None,
        last_seen: datetime | None = None,
        eni: Any = None,
        **metadata: Any,
    ) -> Any:
        """A Pod of the incumbent's with its ENI, NetworkInterface and PodENI; returns the ENI.

        `pod`: runs, gone, finished or replaced (by a later Pod of its name).
        """
        network = network or fixed("1h")
        uid = self.create_pod(name, node=node, networks=[network])
        eni = eni or self.incumbent_eni()
        bound = phase in ("Bind", "Detaching")
        [now] = [each for each in self.cloud.model.enis() if each.id == eni.id]
        vlan = now.vlan or 0
        if bound and now.status == "Available":
            vlan = self.attach(eni.id, node)
        if pod != "runs":
            self._end(name, pod)
        made = self._podeni(name, uid, node, eni, network, metadata)
        status = self._status(phase, node, eni.id, vlan)
        if network["allocationType"]["type"] == "Fixed" and phase in (
            "Bind",
            "Unbind",
            "Detaching",
        ):
            status["podLastSeen"] = (last_seen or self.time).strftime("%Y-%m-%dT%H:%M:%SZ")
        path = f"{GROUP}/namespaces/example/podenis/{name}"
        self.kube.update(f"{path}/status", {**made, "status": status})
        self._record(name, eni, made["spec"]["allocations"][0], status)
        if pod == "replaced":
            self.create_pod(name, node=node, networks=[network])
        return eni

    def _end(self, name: str, how: str) -> None:
        path = f"/api/v1/namespaces/example/pods/{name}"
        if how == "finished":
            seen = self.kube.get(path)
            self.kube.update(f"{path}/status", {**seen, "status": {"phase": "Succeeded"}})
        else:
            self.delete_pod(name)

    def _podeni(
        self,
        name: str,
        uid: str,
        node: str,
        eni: Any,
        network: dict[str, Any],
        metadata: dict[str, Any],
    ) -> dict[str, Any]:
        item = {
            "allocationType": network["allocationType"],
            "eni": {
                "id": eni.id,
                "mac": eni.mac,
                "vpcID": eni.vpc_id,
                "zone": eni.zone,
                "vSwitchID": eni.vswitch_id,
                "securityGroupIDs": list(eni.security_group_ids),
            },
            "ipv4": eni.ipv4,
            "ipv4CIDR": "192.168.0.0/19",
        }
        if network.get("interface") != "eth0":
            item["interface"] = network["interface"]
        whole = {
            "apiVersion": "network.alibabacloud.com/v1beta1",
            "kind": "PodENI",
            "metadata": {
                "name": name,
                "namespace": "example",
                "finalizers": ["network.alibabacloud.com/pod-eni"],
                "labels": {"k8s.aliyun.com/node": node},
                "annotations": {"k8s.aliyun.com/pod-uid": uid},
                **metadata,
            },
            "spec": {"zone": eni.zone, "allocations": [item]},
        }
        return self.kube.create(f"{GROUP}/namespaces/example/podenis", whole)

    def _status(self, phase: str, node: str, eni: str, vlan: int) -> dict[str, Any]:
        if phase == "":
            return {}
        if phase == "Unbind":
            return {
                "phase": "Unbind",
                "eniInfos": {eni: {"id": eni, "type": "Member", "vid": 1001, "status": "Unbind"}},
            }
        instance, trunk = PLACES[node]
        info = {"id": eni, "type": "Member", "vid": vlan, "status": "Bind"}
        on = {"instanceID": instance, "trunkENIID": trunk}
        return {"phase": phase, **on, "eniInfos": {eni: info}}

    def _record(self, name: str, eni: Any, item: dict[str, Any], status: dict[str, Any]) -> None:
        """The incumbent's NetworkInterface, in step with the PodENI; one an ENI, whoever names it."""
        if any(each["metadata"]["name"] == eni.id for each in self.kube.list(NI_PATH)["items"]):
            return
        made = self.kube.create(
            NI_PATH,
            {
                "apiVersion": "network.alibabacloud.com/v1beta1",
                "kind": "NetworkInterface",
                "metadata": {
                    "name": eni.id,
                    "finalizers": ["network.alibabacloud.com/eni"],
                },
                "spec": {
                    "eni": item["eni"],
                    "ipv4": item["ipv4"],
                    "ipv4CIDR": item["ipv4CIDR"],
                    "podENIRef": {"kind": "Pod", "namespace": "example", "name": name},
                },
            },
        )
        info = status.get("eniInfos", {}).get(eni.id, {"id": eni.id})
        kept: dict[str, Any] = {
            key: status[key] for key in ("phase", "instanceID", "trunkENIID") if key in status
        }
        told = {"phase": "", **kept, "eniInfo": info}
        self.kube.update(f"{NI_PATH}/{eni.id}/status", {**made, "status": told})

    def install_controlplane(
        self, *, replicas: int = 1, config: dict[str, Any] | None = None
    ) -> None:
        """Its Deployment, ConfigMap, Lease and both webhook configurations, as its chart has them."""
        text = yaml.safe_dump({"leaderElection": True, "enableTrunk": True, **(config or {})})
        name = {"name": "terway-controlplane", "namespace": "kube-system"}
        self.kube.create(CONFIG_MAPS, {"metadata": name, "data": {"ctrl-config.yaml": text}})
        labels = {"app": "terway-controlplane"}
        volume = {"name": "config", "configMap": {"name": "terway-controlplane"}}
        template = {
            "metadata": {"labels": labels},
            "spec": {
                "containers": [{"name": "terway-controlplane", "image": "i"}],
                "volumes": [volume],
            },
        }
        spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
        self.kube.create(DEPLOYMENT, {"metadata": name, "spec": spec})
        for kind, path in (("mutating", "/mutating"), ("validating", "/validate")):
            service = {"name": "terway-controlplane", "namespace": "kube-system", "path": path}
            rule = {
                "apiGroups": [""],
                "apiVersions": ["v1"],
                "operations": ["CREATE"],
                "resources": ["pods"],
            }
            hook = {
                "name": "terway-controlplane.k8s.io",
                "admissionReviewVersions": ["v1"],
                "sideEffects": "None",
                "failurePolicy": "Ignore",
                "clientConfig": {"service": service, "caBundle": "Cg=="},
                "rules": [rule],
                "namespaceSelector": {
                    "matchExpressions": [
                        {"key": "k8s.aliyun.com/pod-eni", "operator": "NotIn", "values": ["false"]}
                    ]
                },
            }
            self.kube.create(
                WEBHOOKS.format(kind), {"metadata": {"name": name["name"]}, "webhooks": [hook]}
            )

    # ---------------------------------------------------------------------- the commands

    def plan(self) -> list[Decision]:
        facts = look(self.source)
        return plan_takeover(facts, self.tools.new_id)

    def adopt(self) -> tuple[dict[str, Decision], Applied]:
        """`adopt --apply`: decisions by Pod name, and what was recorded."""
        source = self.source
        facts = look(source)
        decisions = plan_takeover(facts, source.new_id)
        assert doubtful(facts, decisions) is None
        applied = apply(source, facts, decisions, "a test")
        return {d.pod or d.eni: d for d in decisions}, applied

    def accept(self) -> None:
        """`verify --accept`."""
        with self.database.transaction() as connection:
            sweeps.accept(connection, CLUSTER, "ann@host", self.time)
            for brake in brakes.read_brakes(connection, CLUSTER):
                assert brake.pulled_by in ACCEPTABLE
                brakes.release(connection, CLUSTER, brake.scope, "ann@host", self.time, {})

    def kube_writes(self) -> int:
        """How many requests for a change the API server has had."""
        return self.kube.core.faults.mutations()

    def untouched(self, act: Callable[[], Any]) -> Any:
        """Does something, and makes sure that it changes neither cloud nor cluster."""
        calls, writes = len(self.mutating_calls()), self.kube_writes()
        done = act()
        assert self.mutating_calls()[calls:] == []
        assert self.kube_writes() == writes
        return done

    def of(self, name: str) -> Allocation:
        """The live allocation under a Pod's name."""
        [found] = [a for a in self.allocations() if a.pod == name and a.phase != "released"]
        return found

    def used_enis(self) -> dict[str, str]:
        """Every ENI attached under a trunk, by the cloud's truth: id -> instance."""
        used: dict[str, str] = {}
        for eni in self.cloud.model.enis():
            if eni.type == "Member" and eni.status == "InUse" and eni.instance_id:
                used[eni.id] = eni.instance_id
        return used
