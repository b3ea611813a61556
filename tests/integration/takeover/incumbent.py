"""A simulator of terway-controlplane: what it decides about PodENIs (PE) once a cluster is given back.

By the reference alone (terway-behaviour.md; the section stands at each rule), weaknesses included. It
acts on the simulated API server and cloud, on virtual time. Left out: webhooks (§2), PodNetworkings (§4),
exclusive and LingJun ENIs, shared-ENI IPAM (§7): nothing of them acts on a PodENI in these worlds.
"""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import yaml

from deploy.local.cloud.simulator import Simulator
from deploy.local.kubernetes.errors import ApiError
from deploy.local.kubernetes.port_adapter import InProcess
from tests.integration.takeover.incumbent_cloud import (
    GROUP,
    NODE_LABEL,
    Incapable,
    IncumbentCloud,
    NetworkInterfaces,
    Object,
)

PE_FINALIZERS = ("network.alibabacloud.com/pod-eni", "pod-eni")
UID = "k8s.aliyun.com/pod-uid"
#: §6.6 and §6.7, with the jitter that makes them soonest.
GC_EVERY = timedelta(minutes=1)
LEAKS_EVERY = timedelta(minutes=10)
_TRUE = ("1", "t", "T", "true", "TRUE", "True")
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_ZERO = datetime.min.replace(tzinfo=UTC)


class Incumbent:
    """One leader. `errors` is what its reconciles ended with; each is tried again with the next turn."""

    def __init__(
        self,
        kube: InProcess,
        cloud: Simulator,
        now: Callable[[], datetime],
        sleep: Callable[[float], None],
        cluster: str,
    ) -> None:
        self.kube = kube
        self.cloud = IncumbentCloud(cloud, cluster)
        self.enis = NetworkInterfaces(kube, self.cloud, sleep)
        self.errors: list[str] = []
        self._now = now
        self._sleep = sleep
        self._gc_at = self._leaks_at = now()

    # ------------------------------------------------------------------ its life

    def runs(self) -> bool:
        """Whether it has a replica, with its PodENI controllers on (§0, §9)."""
        base = "/apis/apps/v1/namespaces/kube-system/deployments/terway-controlplane"
        found = self._get(base)
        text = self._get("/api/v1/namespaces/kube-system/configmaps/terway-controlplane") or {}
        config = yaml.safe_load(text.get("data", {}).get("ctrl-config.yaml", "")) or {}
        listed = config.get("controllers") or []
        on = next((each for each in listed if each.lstrip("-") in ("pod-eni", "*")), "pod-eni")
        return found is not None and found["spec"]["replicas"] > 0 and not on.startswith("-")

    def start(self) -> None:
        """§6.8: a record for every ENI that has none or an empty one; `pod` starts after it."""
        for pe in self.podenis():
            status = pe.get("status") or {}
            for item in pe["spec"]["allocations"]:
                ni = self.enis.get(item["eni"]["id"]) or self.enis.create(item, *_name(pe))
                if ni.get("status", {}).get("phase", "") == "" and status.get("phase"):
                    on = {k: status[k] for k in ("instanceID", "trunkENIID") if status.get(k)}
                    info = (status.get("eniInfos") or {}).get(item["eni"]["id"], {})
                    node = (pe["metadata"].get("labels") or {}).get(NODE_LABEL)
                    told = {**on, **({"nodeName": node} if on else {})}
                    self.enis.say(ni, phase=status["phase"], eniInfo=info, **told)

    def turn(self) -> None:
        """Everything that is due, once. The collectors come first: as soon as they ever could."""
        if self._now() >= self._gc_at:
            self._each(self.podenis(), self._collect)
            self._gc_at = self._now() + GC_EVERY
        if self._now() >= self._leaks_at:
            self._try("leaks", self._collect_leaks)
            self._leaks_at = self._now() + LEAKS_EVERY
        pods = {_name(pod): pod for pod in self.kube.list("/api/v1/pods")["items"]}
        for name in sorted({*pods, *(_name(pe) for pe in self.podenis())}):
            pod = pods.get(name)
            self._try(f"pod {'/'.join(name)}", partial(self._pod, name, pod))
        self._each(self.podenis(), self._podeni)
        for ni in self.enis.list():
            eni = ni["metadata"]["name"]
            self._try(f"eni {eni}", partial(self.enis.reconcile, eni))
        self._each(self.podenis(), self._podeni)

    def run(self, seconds: float, step: float = 5.0) -> None:
        """Turns, until so much time has passed."""
        until = self._now() + timedelta(seconds=seconds)
        while self._now() < until:
            self.turn()
            self._sleep(step)

    def podenis(self) -> list[Object]:
        items: list[Object] = self.kube.list(f"{GROUP}/podenis")["items"]
        return items

    def _each(self, podenis: list[Object], act: Callable[[Object], None]) -> None:
        for pe in podenis:
            self._try(f"podeni {'/'.join(_name(pe))}", partial(act, pe))

    def _try(self, what: str, act: Callable[[], None]) -> None:
        try:
            act()
        except Incapable as why:
            self.errors.append(f"{what}: {why}")

    # ------------------------------------------------------------------ pod controller (§5)

    def _pod(self, name: tuple[str, str], pod: Object | None) -> None:
        """§5.1."""
        pe = self._podeni_of(name)
        if pod is None or _terminal(pod):
            self._pod_went(pe)
            return
        if pod["metadata"].get("deletionTimestamp") or _out(pod) or not pod["spec"].get("nodeName"):
            return
        annotations = pod["metadata"].get("annotations") or {}
        if annotations.get("k8s.aliyun.com/pod-eni") not in _TRUE:
            return
        if pe is None:
            self._make(pod)
        elif not pe["metadata"].get("deletionTimestamp"):
            self._pod_came(pod, pe)

    def _pod_came(self, pod: Object, pe: Object) -> None:
        """§5.3c, §5.5: a PodENI is there already."""
        phase, metadata = pe.get("status", {}).get("phase", ""), pe["metadata"]
        uid = pod["metadata"]["uid"]
        if phase == "Bind" and (metadata.get("annotations") or {}).get(UID) != uid:
            if _fixed(pe):
                self._say(pe, phase="Detaching")
            else:
                self.kube.delete(_path(pe))
        elif phase == "Unbind":
            labels = {**(metadata.get("labels") or {}), NODE_LABEL: pod["spec"]["nodeName"]}
            annotations = {**(metadata.get("annotations") or {}), UID: uid}
            dressed = {**metadata, "labels": labels, "annotations": annotations}
            if dressed != metadata:
                self.kube.update(_path(pe), {**pe, "metadata": dressed})
            else:
                self._say(pe, phase="Binding")

    def _pod_went(self, pe: Object | None) -> None:
        """§5.4: the release strategy is not looked at here."""
        phase = (pe or {}).get("status", {}).get("phase", "")
        if pe is None or phase == "Deleting" or pe["metadata"].get("deletionTimestamp"):
            return
        if not _fixed(pe):
            self._say(pe, phase="Deleting")
        elif phase not in ("Detaching", "Unbind"):
            self._say(pe, phase="Detaching")

    def _make(self, pod: Object) -> None:
        """§5.3d, e and g: an ENI and its record for every network, then the PodENI."""
        metadata = pod["metadata"]
        _, _, zone = self._node(pod["spec"]["nodeName"])
        asked = json.loads(metadata["annotations"]["k8s.aliyun.com/pod-networks"])["podNetworks"]
        items = []
        for network in asked:
            switch = self.cloud.free_vswitch(network["vSwitchOptions"], zone)
            lifetime = network.get("allocationType") or {"type": "Elastic"}
            groups = network["securityGroupIDs"]
            made = self.cloud.create(switch["VSwitchId"], groups, lifetime["type"] == "Fixed")
            eni = {
                "id": made["NetworkInterfaceId"],
                "mac": made["MacAddress"],
                "zone": made["ZoneId"],
                "vSwitchID": made["VSwitchId"],
                "securityGroupIDs": groups,
            }
            item = {"allocationType": lifetime, "eni": eni, "ipv4": made["PrivateIpAddress"]}
            item |= {"ipv4CIDR": switch["CidrBlock"], "interface": network.get("interface", "eth0")}
            self.enis.create(item, metadata["namespace"], metadata["name"])
            items.append(item)
        dressed = {
            "namespace": metadata["namespace"],
            "name": metadata["name"],
            "finalizers": [PE_FINALIZERS[0]],
            "annotations": {UID: metadata["uid"]},
            "labels": {NODE_LABEL: pod["spec"]["nodeName"]},
        }
        whole = {
            "apiVersion": "network.alibabacloud.com/v1beta1",
            "kind": "PodENI",
            "metadata": dressed,
            "spec": {"zone": zone, "allocations": items},
        }
        self.kube.create(f"{GROUP}/namespaces/{metadata['namespace']}/podenis", whole)

    # ------------------------------------------------------------------ pod-eni controller (§6.1)

    def _podeni(self, seen: Object) -> None:
        pe = self._podeni_of(_name(seen))
        if pe is None:
            return
        if pe["metadata"].get("deletionTimestamp"):
            self._let_go(pe)
            return
        phase = pe.get("status", {}).get("phase", "")
        if phase == "Deleting":
            self.kube.delete(_path(pe))
        elif phase == "Detaching":
            self._detach(pe)
        elif phase in ("", "Binding"):
            self._attach(pe, phase)

    def _attach(self, pe: Object, phase: str) -> None:
        """§6.2."""
        namespace, name = _name(pe)
        pod = self._get(f"/api/v1/namespaces/{namespace}/pods/{name}")
        if pod is None:
            raise Incapable("its Pod does not exist")
        node = pod["spec"]["nodeName"]
        instance, trunk, _ = self._node(node)
        if phase == "Binding" and not (_fixed(pe) and _fixed_name(pod)):
            raise Incapable("found previous podENI, but pod is not using fixed ip")
        on = {"instanceID": instance, "trunkENIID": trunk}
        infos = {}
        for item in pe["spec"]["allocations"]:
            eni = item["eni"]["id"]
            ni = self.enis.get(eni)
            if ni is None:
                raise Incapable(f"there is no NetworkInterface {eni}")
            stands = ni.get("status", {}).get("phase", "")
            if stands in ("", "Unbind"):
                info = ni.get("status", {}).get("eniInfo") or {"id": eni}
                self.enis.say(ni, phase="Binding", nodeName=node, eniInfo=info, **on)
            elif stands in ("Detaching", "Deleting"):
                raise Incapable(f"NetworkInterface {eni} is {stands}")
            if stands == "Bind":
                infos[eni] = {**ni["status"]["eniInfo"], "status": "Bind"}
        if len(infos) == len(pe["spec"]["allocations"]):
            seen = {"podLastSeen": self._stamp()} if _fixed(pe) else {}
            self._say(pe, phase="Bind", eniInfos=infos, **on, **seen)

    def _detach(self, pe: Object) -> None:
        """§6.3: one after the other; what has no record is gone."""
        for item in pe["spec"]["allocations"]:
            ni = self.enis.get(item["eni"]["id"])
            phase = ni.get("status", {}).get("phase", "") if ni is not None else "Unbind"
            if phase in ("", "Bind") and ni is not None:
                self.enis.say(ni, phase="Detaching")
            elif phase in ("Binding", "Deleting"):
                raise Incapable(f"NetworkInterface {item['eni']['id']} is {phase}")
            if phase != "Unbind":
                return
        infos = pe.get("status", {}).get("eniInfos") or {}
        unbound = {eni: {**info, "status": "Unbind"} for eni, info in infos.items()}
        self._say(pe, phase="Unbind", eniInfos=unbound, instanceID=None, trunkENIID=None)

    def _let_go(self, pe: Object) -> None:
        """§6.4: whoever runs on it; then both finalizers go at once."""
        if not set(PE_FINALIZERS) & set(pe["metadata"].get("finalizers") or ()):
            return
        for item in pe["spec"]["allocations"]:
            ni = self.enis.get(item["eni"]["id"])
            if ni is not None and not ni["spec"].get("managePolicy", {}).get("unManaged"):
                self.enis.say(ni, phase="Deleting")
        left = [each for each in pe["metadata"]["finalizers"] if each not in PE_FINALIZERS]
        self.kube.update(_path(pe), {**pe, "metadata": {**pe["metadata"], "finalizers": left}})

    # ------------------------------------------------------------------ collectors (§6.6, §6.7)

    def _collect(self, pe: Object) -> None:
        """§6.6: TTL by podLastSeen, which a Pod that requires its PodENI keeps fresh."""
        namespace, name = _name(pe)
        pod = self._get(f"/api/v1/namespaces/{namespace}/pods/{name}")
        if pod is not None and self._requires(pod):
            if _fixed(pe):
                self._say(pe, podLastSeen=self._stamp())
            return
        status = pe.get("status") or {}
        if status.get("phase") in ("Detaching", "Deleting", "Binding"):
            return
        if not any(self._keeps(item, status) for item in pe["spec"]["allocations"]):
            self._say(pe, phase="Deleting")

    def _keeps(self, item: Object, status: Object) -> bool:
        lifetime = item.get("allocationType") or {}
        if lifetime.get("type", "Elastic") == "Elastic":
            return False
        if lifetime.get("releaseStrategy") != "TTL":
            return True
        after = _duration(lifetime.get("releaseAfter", ""))
        if after is None or after < timedelta(0):
            return True
        # Absent, it is the zero time of a Go client: long past.
        seen = status.get("podLastSeen")
        return (datetime.fromisoformat(seen) if seen else _ZERO) + after > self._now()

    def _requires(self, pod: Object) -> bool:
        if _terminal(pod) or _out(pod):
            return False
        annotations = pod["metadata"].get("annotations") or {}
        return annotations.get("k8s.aliyun.com/pod-eni") in _TRUE or not pod["spec"].get("nodeName")

    def _collect_leaks(self) -> None:
        """§6.7: the whole VPC, its own two tags, 10 minutes old, and in no PodENI."""
        found = self.cloud.describe(Type="Secondary", Status="Available")
        found += self.cloud.describe(Type="Member", Status="InUse")
        named = {item["eni"]["id"] for pe in self.podenis() for item in pe["spec"]["allocations"]}
        for eni in found:
            tags = {tag["TagKey"]: tag["TagValue"] for tag in eni["Tags"]["Tag"]}
            made = datetime.strptime(eni["CreationTime"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
            id_ = eni["NetworkInterfaceId"]
            old = self._now() - made > timedelta(minutes=10)
            if id_ in named or not old or not self.cloud.tags.items() <= tags.items():
                continue
            if eni["Status"] == "Available":
                self.cloud.delete(id_)
            else:
                on = eni["Attachment"]
                self.cloud.detach(id_, on["InstanceId"], on["TrunkNetworkInterfaceId"])

    # ------------------------------------------------------------------ looks and writes

    def _node(self, name: str) -> tuple[str, str, str]:
        """§7.1: instance, trunk ENI and zone."""
        node = self.kube.get(f"/api/v1/nodes/{name}")
        _, _, instance = node["spec"]["providerID"].partition(".")
        trunk = (node["metadata"].get("annotations") or {}).get("k8s.aliyun.com/trunk-on", "")
        if not instance or not trunk:
            raise Incapable("trunk eni id not found, this may due to terway agent is not started")
        return instance, trunk, node["metadata"]["labels"]["topology.kubernetes.io/zone"]

    def _podeni_of(self, name: tuple[str, str]) -> Object | None:
        return self._get(f"{GROUP}/namespaces/{name[0]}/podenis/{name[1]}")

    def _get(self, path: str) -> Object | None:
        try:
            return self.kube.get(path)
        except ApiError as error:
            if error.code == 404:
                return None
            raise

    def _say(self, pe: Object, **status: Any) -> None:
        told = {**(pe.get("status") or {}), **status}
        told = {key: value for key, value in told.items() if value is not None}
        self.kube.update(f"{_path(pe)}/status", {**pe, "status": told})

    def _stamp(self) -> str:
        return self._now().strftime("%Y-%m-%dT%H:%M:%SZ")


def _name(obj: Object) -> tuple[str, str]:
    return obj["metadata"]["namespace"], obj["metadata"]["name"]


def _path(pe: Object) -> str:
    return f"{GROUP}/namespaces/{pe['metadata']['namespace']}/podenis/{pe['metadata']['name']}"


def _terminal(pod: Object) -> bool:
    return pod.get("status", {}).get("phase") in ("Succeeded", "Failed")


def _out(pod: Object) -> bool:
    labels = pod["metadata"].get("labels") or {}
    return bool(pod["spec"].get("hostNetwork")) or (
        labels.get("k8s.aliyun.com/ignore-by-terway") == "true"
    )


def _fixed(pe: Object) -> bool:
    """HaveFixedIP (§1.2)."""
    items = pe["spec"]["allocations"]
    return any((item.get("allocationType") or {}).get("type") == "Fixed" for item in items)


def _fixed_name(pod: Object) -> bool:
    """§2.2."""
    owners = pod["metadata"].get("ownerReferences") or []
    return not owners or any(owner["kind"] == "StatefulSet" for owner in owners)


def _duration(text: str) -> timedelta | None:
    """A Go duration; None where it is none."""
    if not re.fullmatch(r"[-+]?(\d+(\.\d+)?(ns|us|µs|ms|s|m|h))+", text):
        return None
    parts = re.findall(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)", text)
    seconds = sum(float(number) * _UNITS[unit] for number, unit in parts)
    return timedelta(seconds=-seconds if text.startswith("-") else seconds)
