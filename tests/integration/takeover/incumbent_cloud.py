"""Part of the simulated incumbent: its cloud calls, and the controller of its NetworkInterfaces (NI).

By the reference alone (terway-behaviour.md; the section stands at each rule). Nothing of ours is used
but the simulated servers' own doors.
"""

import uuid
from collections.abc import Callable, Mapping
from typing import Any

from deploy.local.cloud.parameters import flatten
from deploy.local.cloud.simulator import Simulator
from deploy.local.kubernetes.errors import ApiError
from deploy.local.kubernetes.port_adapter import InProcess

Object = dict[str, Any]
GROUP = "/apis/network.alibabacloud.com/v1beta1"
NI_PATH = f"{GROUP}/networkinterfaces"
NI_FINALIZER = "network.alibabacloud.com/eni"
NODE_LABEL = "k8s.aliyun.com/node"


class Incapable(Exception):
    """A reconcile of one object that can't go on now."""


class Refused(Incapable):
    """The cloud refused; `code` as in its answer."""

    def __init__(self, api: str, code: str, message: str) -> None:
        super().__init__(f"{api}: errCode: {code}, msg: {message}")
        self.code = code


class IncumbentCloud:
    """Its calls (§8), made at once: the limits of §8.1 are never reached here."""

    def __init__(self, cloud: Simulator, cluster: str) -> None:
        self._cloud = cloud
        self.tags = {"ack.aliyun.com": cluster, "creator": "terway-controller"}
        self.made: list[str] = []

    def call(self, api: str, parameters: Mapping[str, object]) -> Any:
        """One call; raises Refused."""
        region = {"RegionId": self._cloud.world.region}
        outcome = self._cloud.call(api, flatten({**region, **parameters}))
        if outcome.status >= 400:
            raise Refused(api, str(outcome.body["Code"]), str(outcome.body["Message"]))
        return outcome.body

    def create(self, vswitch: str, groups: list[str], fixed: bool) -> Object:
        """§8.2; DeleteOnRelease by §5.3e."""
        wanted = {
            "VSwitchId": vswitch,
            "InstanceType": "Secondary",
            "SecurityGroupIds": groups,
            "Description": "interface create by terway",
            "DeleteOnRelease": not fixed,
            "SourceDestCheck": False,
            "Tag": [{"Key": key, "Value": value} for key, value in self.tags.items()],
            "ClientToken": str(uuid.uuid5(uuid.NAMESPACE_OID, f"terway {len(self.made)}")),
        }
        made: Object = self.call("CreateNetworkInterface", wanted)
        self.made.append(made["NetworkInterfaceId"])
        return made

    def describe(self, **filters: object) -> list[Object]:
        """§8.6: 500 a page; it stops at the last page."""
        found: list[Object] = []
        asked = {"VpcId": self._cloud.world.vpc.id, "MaxResults": 500, **filters}
        while True:
            body = self.call("DescribeNetworkInterfaces", asked)
            found += body["NetworkInterfaceSets"]["NetworkInterfaceSet"]
            if not body.get("NextToken"):
                return found
            asked["NextToken"] = body["NextToken"]

    def detach(self, eni: str, instance: str, trunk: str) -> None:
        """§8.4: not found is success."""
        on = {"NetworkInterfaceId": eni, "InstanceId": instance}
        on |= {"TrunkNetworkInstanceId": trunk} if trunk else {}
        try:
            self.call("DetachNetworkInterface", on)
        except Refused as refused:
            if refused.code not in ("InvalidEniId.NotFound", "InvalidEcsId.NotFound"):
                raise

    def delete(self, eni: str) -> None:
        """§8.5: not found is success."""
        try:
            self.call("DeleteNetworkInterface", {"NetworkInterfaceId": eni})
        except Refused as refused:
            if refused.code != "InvalidEniId.NotFound":
                raise

    def free_vswitch(self, ids: list[str], zone: str) -> Object:
        """§5.2, policy `ordered`: the first of the zone that has an IP."""
        for id_ in ids:
            found = self.call("DescribeVSwitches", {"VSwitchId": id_})["VSwitches"]["VSwitch"]
            for switch in found[:1]:
                if switch["ZoneId"] == zone and switch["AvailableIpAddressCount"] != 0:
                    return dict(switch)
        raise Incapable(f"no available vSwitch for zone {zone}")


class NetworkInterfaces:
    """The `eni` controller (§6.5): the only one that attaches, detaches and deletes in the normal way."""

    def __init__(
        self, kube: InProcess, cloud: IncumbentCloud, sleep: Callable[[float], None]
    ) -> None:
        self._kube = kube
        self._cloud = cloud
        self._sleep = sleep

    def list(self) -> list[Object]:
        items: list[Object] = self._kube.list(NI_PATH)["items"]
        return items

    def get(self, eni: str) -> Object | None:
        """None: not there."""
        try:
            return self._kube.get(f"{NI_PATH}/{eni}")
        except ApiError as error:
            if error.code == 404:
                return None
            raise

    def create(self, item: Object, namespace: str, name: str) -> Object:
        """§5.3e, §6.8: with its finalizer, and the Pod that it is for."""
        reference = {"kind": "Pod", "namespace": namespace, "name": name}
        shown = ("eni", "ipv4", "ipv6", "ipv4CIDR", "ipv6CIDR")
        spec = {key: item[key] for key in shown if item.get(key)}
        made = {
            "apiVersion": "network.alibabacloud.com/v1beta1",
            "kind": "NetworkInterface",
            "metadata": {"name": item["eni"]["id"], "finalizers": [NI_FINALIZER]},
            "spec": {**spec, "podENIRef": reference},
        }
        return self._kube.create(NI_PATH, made)

    def say(self, ni: Object, **status: object) -> Object:
        """Write its status; a value of None takes a key out."""
        told = {**(ni.get("status") or {"eniInfo": {}}), **status}
        told = {key: value for key, value in told.items() if value is not None}
        path = f"{NI_PATH}/{ni['metadata']['name']}/status"
        return self._kube.update(path, {**ni, "status": told})

    def reconcile(self, eni: str) -> None:
        """§6.5, in its order. Raises Incapable."""
        ni = self.get(eni)
        if ni is None:
            return
        deleting = bool(ni["metadata"].get("deletionTimestamp"))
        phase = ni.get("status", {}).get("phase", "")
        if phase == "Deleting" and not deleting:
            self._kube.delete(f"{NI_PATH}/{eni}")
        elif deleting or phase in ("Detaching", "Deleting"):
            ni = self._detach(ni)
            if deleting:
                self._cloud.delete(eni)
                self._sleep(1)
                if self._cloud.describe(NetworkInterfaceId=[eni]):
                    raise Incapable(f"{eni} is not gone yet")
                metadata = {**ni["metadata"], "finalizers": []}
                self._kube.update(f"{NI_PATH}/{eni}", {**ni, "metadata": metadata})
        elif phase == "Binding":
            self._attach(ni)

    def _attach(self, ni: Object) -> None:
        eni, status = ni["metadata"]["name"], ni["status"]
        if not status.get("instanceID"):
            return
        on = {"NetworkInterfaceId": eni, "InstanceId": status["instanceID"]}
        if status.get("trunkENIID"):
            on["TrunkNetworkInstanceId"] = status["trunkENIID"]
        self._cloud.call("AttachNetworkInterface", on)
        self._sleep(2)
        found = self._cloud.describe(NetworkInterfaceId=[eni])
        if len(found) != 1 or found[0]["Status"] != "InUse":
            raise Incapable(f"{eni} is not InUse yet")
        vid = found[0]["Attachment"]["DeviceIndex"]
        info = {"id": eni, "type": found[0]["Type"], "vid": vid, "status": "Bind"}
        ni = self.say(ni, phase="Bind", eniInfo=info)
        labels = {**(ni["metadata"].get("labels") or {}), NODE_LABEL: status["nodeName"]}
        self._kube.update(
            f"{NI_PATH}/{eni}", {**ni, "metadata": {**ni["metadata"], "labels": labels}}
        )

    def _detach(self, ni: Object) -> Object:
        """Where it has no instance, nothing is written: it stays as it is for ever (W1)."""
        eni, status = ni["metadata"]["name"], ni.get("status") or {}
        if not status.get("instanceID"):
            return ni
        self._cloud.detach(eni, status["instanceID"], status.get("trunkENIID", ""))
        self._sleep(2)
        found = self._cloud.describe(NetworkInterfaceId=[eni])
        if found and found[0]["Status"] != "Available":
            raise Incapable(f"{eni} is not Available yet")
        none = {"instanceID": None, "trunkENIID": None, "nodeName": None, "networkCardIndex": None}
        info = {**status.get("eniInfo", {}), "status": "Unbind", "vid": 0}
        ni = self.say(ni, phase="Unbind", eniInfo=info, **none)
        labels = {k: v for k, v in (ni["metadata"].get("labels") or {}).items() if k != NODE_LABEL}
        path = f"{NI_PATH}/{eni}"
        return self._kube.update(path, {**ni, "metadata": {**ni["metadata"], "labels": labels}})
