"""The PodENI: its shape is the product document's, the order of its writes the node agent's contract."""

import copy
import itertools
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest
import yaml

from ledger.rules import entries as e
from ledger.rules.allocation import Allocation
from ledger.rules.podeni import FINALIZER, ForeignPodEni, Write, next_write
from tests.unit.rules.lives import ELASTIC_TERMS, NONE, START, Life

NOW = START + timedelta(minutes=1)
Object = dict[str, Any]


class Cluster:
    """One PodENI as an API server keeps it; `default` may add what a schema's defaults would."""

    def __init__(self, default: Callable[[Object], None] = lambda obj: None) -> None:
        self.live: Object | None = None
        self.writes: list[tuple[str, str]] = []
        self._default = default
        self._numbers = itertools.count(1)

    def take(self, write: Write) -> None:
        self.writes.append((write.verb, write.obj.get("status", {}).get("phase", "")))
        obj = copy.deepcopy(write.obj)
        metadata = obj["metadata"]
        match write.verb:
            case "create":
                assert self.live is None
                metadata["uid"] = f"pe-{next(self._numbers)}"
                obj.pop("status", None)
                self.live = obj
            case "replace":
                assert self.live is not None
                obj["status"] = copy.deepcopy(self.live.get("status", {}))
                self.live = obj
                if metadata.get("deletionTimestamp") and not metadata.get("finalizers"):
                    self.live = None
            case "replace-status":
                assert self.live is not None
                self.live["status"] = obj["status"]
            case "delete":
                assert self.live is not None
                self.live["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
                if not self.live["metadata"].get("finalizers"):
                    self.live = None
        if self.live is not None:
            self._default(self.live)

    def bring(self, phase: str, *allocations: Allocation, at: Any = NOW) -> list[tuple[str, str]]:
        """Write until nothing is left to write; the writes it took."""
        before = len(self.writes)
        for _ in range(12):
            write = next_write(self.live, phase, allocations, at)
            if write is None:
                return self.writes[before:]
            self.take(write)
        raise AssertionError(f"does not come to rest: {self.writes[before:]}")


def ready() -> Life:
    return Life().created().shown("Initial", "pe-1").attached()


def bound_cluster(**options: Any) -> tuple[Cluster, Life]:
    cluster, life = Cluster(**options), ready()
    cluster.bring("Initial", life.a)
    cluster.bring("Bind", life.a)
    life.shown("Bind", "pe-1")
    return cluster, life


# ---------------------------------------------------------------------------- the shape

# The product document's FAQ, with values where it has x.
DOCUMENT = """
apiVersion: network.alibabacloud.com/v1beta1
kind: PodENI
metadata:
  finalizers:
  - pod-eni
  generation: 1
  name: your-pod-name
  namespace: default
spec:
  allocations:
  - allocationType:
      type: Elastic
    eni:
      id: eni-bp1xxxx
      mac: 00:16:3e:00:00:01
      securityGroupIDs:
      - sg-bp1xxxx
      vSwitchID: vsw-bp1xxxx
      zone: cn-hangzhou-h
    ipv4: 192.168.0.10
    ipv4CIDR: 192.168.0.0/19
    ipv6: 2408::10
    ipv6CIDR: 2408::/64
  zone: cn-hangzhou-h
status:
  eniInfos:
    eni-bp1xxxx:
      id: eni-bp1xxxx
      status: Bind
      vid: 1001
  instanceID: i-bp1xxxx
  phase: Bind
  podLastSeen: "2026-01-01T00:01:00Z"
  trunkENIID: eni-bp1trunk
"""


def as_in_the_document() -> Object:
    life = Life(
        pod="your-pod-name", node="cn-hangzhou.10.0.0.1", terms=ELASTIC_TERMS, retention=NONE
    )
    place = e.Place(
        node="cn-hangzhou.10.0.0.1",
        instance_id="i-bp1xxxx",
        zone="cn-hangzhou-h",
        trunk_eni_id="eni-bp1trunk",
    )
    address = e.Address(
        eni="eni-bp1xxxx",
        mac="00:16:3e:00:00:01",
        vpc="vpc-1",
        vswitch="vsw-bp1xxxx",
        zone="cn-hangzhou-h",
        ipv4="192.168.0.10",
        ipv4_cidr="192.168.0.0/19",
        ipv6="2408::10",
        ipv6_cidr="2408::/64",
        security_group_ids=("sg-bp1xxxx",),
    )
    life.tell(e.Placed(place=place)).call("CreateNetworkInterface", address, vswitch_id="v")
    life.shown("Initial").attached()
    cluster = Cluster()
    a = life.a.model_copy(update={"namespace": "default"})
    cluster.bring("Initial", a)
    cluster.bring("Bind", a)
    assert cluster.live is not None
    return cluster.live


def fields(obj: Any, path: str = "") -> dict[str, Any]:
    """Path -> value of every leaf."""
    if isinstance(obj, dict):
        return {p: v for k, each in obj.items() for p, v in fields(each, f"{path}.{k}").items()}
    if isinstance(obj, list):
        return {p: v for i, each in enumerate(obj) for p, v in fields(each, f"{path}[{i}]").items()}
    return {path: obj}


def test_a_bound_podeni_is_the_documents_example_field_for_field() -> None:
    ours, theirs = fields(as_in_the_document()), fields(yaml.safe_load(DOCUMENT))
    beside_the_document = {
        ".metadata.uid",  # these two the API server sets
        ".metadata.generation",
        ".metadata.finalizers[0]",  # the incumbent's second version of it (reference §1.2)
        ".metadata.labels.k8s.aliyun.com/node",  # reference §6.10
        ".metadata.annotations.k8s.aliyun.com/pod-uid",
        ".spec.allocations[0].interface",  # reference §1.2
        ".status.eniInfos.eni-bp1xxxx.type",
    }
    for path in beside_the_document:
        ours.pop(path, None)
        theirs.pop(path, None)
    assert ours == theirs


def test_what_is_beside_the_documents_example() -> None:
    ours = as_in_the_document()
    assert ours["metadata"]["finalizers"] == [FINALIZER]
    assert ours["metadata"]["labels"] == {"k8s.aliyun.com/node": "cn-hangzhou.10.0.0.1"}
    assert ours["metadata"]["annotations"] == {"k8s.aliyun.com/pod-uid": "uid-1"}
    assert ours["spec"]["allocations"][0]["interface"] == "eth0"
    assert ours["status"]["eniInfos"]["eni-bp1xxxx"]["type"] == "Member"
    assert "attachmentOptions" not in ours["spec"]["allocations"][0]["eni"]


def test_a_fixed_ip_carries_its_terms() -> None:
    cluster, _ = bound_cluster()
    assert cluster.live is not None
    [shown] = cluster.live["spec"]["allocations"]
    assert shown["allocationType"] == {
        "type": "Fixed",
        "releaseStrategy": "TTL",
        "releaseAfter": "1h",
    }
    assert "ipv6" not in shown
    assert "ipv6CIDR" not in shown


# ---------------------------------------------------------------------------- the order of writes


def test_binding_is_one_create_and_one_status_write() -> None:
    cluster, life = Cluster(), ready()
    assert cluster.bring("Initial", life.a) == [("create", "")]
    assert cluster.bring("Bind", life.a) == [("replace-status", "Bind")]


def test_bind_alone_creates_what_a_user_removed() -> None:
    assert Cluster().bring("Bind", ready().a) == [("create", ""), ("replace-status", "Bind")]


def test_rebinding_leaves_bind_then_names_the_pod_then_binds() -> None:
    """The agent never sees Bind beside half of the facts (reference §6.10)."""
    cluster, life = bound_cluster()
    life.gone().tell(e.Claimed(pod_uid="uid-2", node="node-h2"))
    assert cluster.bring("Detaching", life.a) == [("replace-status", "Detaching")]
    life.shown("Detaching", "pe-1").taken_off().placed().attached(vlan=7)
    assert cluster.bring("Bind", life.a) == [("replace", "Detaching"), ("replace-status", "Bind")]
    assert cluster.live is not None
    assert cluster.live["metadata"]["annotations"]["k8s.aliyun.com/pod-uid"] == "uid-2"
    assert cluster.live["metadata"]["labels"]["k8s.aliyun.com/node"] == "node-h2"
    assert cluster.live["status"]["instanceID"] == "i-node-h2"
    assert cluster.live["status"]["eniInfos"]["eni-1"]["vid"] == 7
    assert cluster.live["spec"]["allocations"][0]["ipv4"] == "192.168.0.10"


@pytest.mark.parametrize("phase", ["Initial", "Bind"])
def test_p11_a_podeni_bound_for_another_pod_is_not_taken_over(phase: str) -> None:
    cluster, life = bound_cluster()
    assert cluster.live is not None
    cluster.live["metadata"]["annotations"]["k8s.aliyun.com/pod-uid"] = "uid-9"
    with pytest.raises(ForeignPodEni, match="uid-9"):
        cluster.bring(phase, ready().a)
    with pytest.raises(ForeignPodEni, match="uid-9"):
        cluster.bring("Detaching", life.gone().a)


def test_away_and_reserved_keeps_the_spec_and_the_vlan() -> None:
    cluster, life = bound_cluster()
    life.gone()
    assert cluster.live is not None
    spec = copy.deepcopy(cluster.live["spec"])
    assert cluster.bring("Detaching", life.a) == [("replace-status", "Detaching")]
    assert cluster.live["status"]["instanceID"] == "i-node-h1"
    assert cluster.bring("Unbind", life.a) == [("replace-status", "Unbind")]
    status = cluster.live["status"]
    assert (status["phase"], status["instanceID"], status["trunkENIID"]) == ("Unbind", "", "")
    assert status["eniInfos"]["eni-1"] == {
        "id": "eni-1",
        "status": "Unbind",
        "type": "Member",
        "vid": 1001,
    }
    assert cluster.live["spec"] == spec


def test_pod_last_seen_is_written_at_bind_and_with_the_moment_of_absence() -> None:
    cluster, life = bound_cluster()
    assert cluster.live is not None
    assert cluster.live["status"]["podLastSeen"] == "2026-01-01T00:01:00Z"
    life.gone()
    assert life.a.absent_since is not None
    cluster.bring("Detaching", life.a, at=NOW + timedelta(hours=5))
    seen = life.a.absent_since.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert cluster.live["status"]["podLastSeen"] == seen
    cluster.bring("Unbind", life.a, at=NOW + timedelta(hours=6))
    assert cluster.live["status"]["podLastSeen"] == seen


def test_going_is_deleting_then_delete_then_the_finalizer() -> None:
    cluster, life = bound_cluster()
    life.gone().releasing("elastic")
    assert cluster.bring("Deleting", life.a) == [("replace-status", "Deleting")]
    assert cluster.bring("Gone", life.a) == [("delete", "Deleting"), ("replace", "Deleting")]
    assert cluster.live is None
    assert cluster.bring("Gone", life.a) == []


def test_both_finalizers_are_taken_off_and_others_stay() -> None:
    cluster, life = bound_cluster()
    assert cluster.live is not None
    cluster.live["metadata"]["finalizers"] = ["pod-eni", "other/x", FINALIZER]
    life.gone().releasing("elastic")
    cluster.bring("Gone", life.a)
    assert cluster.live is not None
    assert cluster.live["metadata"]["finalizers"] == ["other/x"]


def test_the_documents_finalizer_is_honoured() -> None:
    cluster, life = bound_cluster()
    assert cluster.live is not None
    cluster.live["metadata"]["finalizers"] = ["pod-eni"]
    assert cluster.bring("Bind", life.a) == []


# ---------------------------------------------------------------------------- P8


def test_p8_a_bound_podeni_is_at_rest() -> None:
    cluster, life = bound_cluster()
    for phase in ("Initial", "Bind"):
        assert cluster.bring(phase, life.a, at=NOW + timedelta(days=1)) == []


def test_p8_w2_pod_last_seen_alone_is_no_reason_to_write() -> None:
    """The incumbent rewrites every fixed PodENI each minute."""
    cluster, life = bound_cluster()
    assert cluster.live is not None
    for seen in ("2020-01-01T00:00:00Z", None):
        cluster.live["status"]["podLastSeen"] = seen
        assert cluster.bring("Bind", life.a) == []


def defaults(obj: Object) -> None:
    """What a schema with more fields and defaults than ours would fill in."""
    for item in obj["spec"]["allocations"]:
        item["allocationType"].setdefault("releaseStrategy", "TTL")
        item["eni"].setdefault("vpcID", "vpc-1")
        item["eni"].setdefault("attachmentOptions", {})
        item.setdefault("extraConfig", {})
    obj["spec"].setdefault("somethingNew", True)
    obj["metadata"].setdefault("labels", {}).setdefault("team", "a")
    obj["metadata"].setdefault("managedFields", [{"manager": "x"}])


def test_p8_defaults_of_the_server_are_no_difference() -> None:
    cluster, life = bound_cluster(default=defaults)
    assert [verb for verb, _ in cluster.writes] == ["create", "replace-status"]
    assert cluster.bring("Bind", life.a) == []
    assert cluster.live is not None
    assert cluster.live["metadata"]["labels"]["team"] == "a"


def test_a_hand_edited_spec_is_put_right_and_what_others_wrote_stays() -> None:
    cluster, life = Cluster(), ready()
    cluster.bring("Initial", life.a)
    assert cluster.live is not None
    cluster.live["spec"]["allocations"][0]["ipv4"] = "1.2.3.4"
    cluster.live["metadata"]["labels"]["team"] = "a"
    assert cluster.bring("Initial", life.a) == [("replace", "")]
    assert cluster.live["spec"]["allocations"][0]["ipv4"] == "192.168.0.10"
    assert cluster.live["metadata"]["labels"]["team"] == "a"


# ---------------------------------------------------------------------------- several, and others'


def pair() -> tuple[Life, Life]:
    return (
        Life().created().shown("Initial", "pe-1").attached(),
        Life(number=2, interface="eth1").created().shown("Initial", "pe-1").attached(1002),
    )


def test_one_podeni_carries_all_interfaces_in_order() -> None:
    cluster, (first, second) = Cluster(), pair()
    cluster.bring("Initial", first.a, second.a)
    cluster.bring("Bind", first.a, second.a)
    assert cluster.live is not None
    shown = cluster.live["spec"]["allocations"]
    assert [item["interface"] for item in shown] == ["eth0", "eth1"]
    assert {info["vid"] for info in cluster.live["status"]["eniInfos"].values()} == {1001, 1002}


def foreign() -> Cluster:
    cluster = Cluster()
    other = Life().created(eni="eni-foreign").shown("Initial").attached()
    cluster.bring("Initial", other.a)
    cluster.bring("Bind", other.a)
    assert cluster.live is not None
    cluster.live["metadata"]["uid"] = "pe-foreign"
    return cluster


@pytest.mark.parametrize("phase", ["Initial", "Bind", "Detaching", "Unbind", "Deleting"])
def test_p11_a_podeni_that_names_others_enis_is_not_touched(phase: str) -> None:
    cluster = foreign()
    with pytest.raises(ForeignPodEni, match=r"shop/web-0 names eni-foreign.*adopt it"):
        cluster.bring(phase, ready().a)


def test_p11_a_podeni_that_is_not_ours_is_not_deleted_with_ours() -> None:
    cluster, life = foreign(), ready().gone().releasing("elastic")
    assert cluster.bring("Gone", life.a) == []
    assert cluster.live is not None


def test_a_podeni_made_before_a_crash_is_known_by_its_enis() -> None:
    cluster, life = Cluster(), Life().created()
    cluster.bring("Initial", life.a)
    assert cluster.bring("Initial", life.a) == []


def test_p3_a_podeni_deleted_while_its_pod_is_being_served_is_made_anew() -> None:
    cluster, life = bound_cluster()
    life.gone().tell(e.Claimed(pod_uid="uid-2", node="node-h1"))
    cluster.bring("Detaching", life.a)
    life.shown("Detaching", "pe-1").taken_off().placed().attached()
    assert cluster.live is not None
    cluster.live["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert cluster.bring("Bind", life.a) == [
        ("replace", "Detaching"),
        ("create", ""),
        ("replace-status", "Bind"),
    ]
    assert cluster.live is not None
    assert "deletionTimestamp" not in cluster.live["metadata"]


def test_a_deleted_podeni_that_somebody_else_holds_is_waited_for() -> None:
    cluster, life = Cluster(), ready()
    cluster.bring("Initial", life.a)
    assert cluster.live is not None
    cluster.live["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    cluster.live["metadata"]["finalizers"].append("other/x")
    with pytest.raises(ForeignPodEni, match="other/x"):
        cluster.bring("Bind", life.a)


@pytest.mark.parametrize("phase", ["Detaching", "Unbind", "Deleting"])
def test_a_podeni_that_is_not_there_needs_no_leaving(phase: str) -> None:
    """W1: the Pod went before its PodENI was made."""
    assert Cluster().bring(phase, Life().created().gone().a) == []


def sequences() -> Sequence[Sequence[str]]:
    return list(itertools.permutations(["Initial", "Bind", "Detaching", "Unbind"], 3))


@pytest.mark.parametrize("phases", sequences(), ids="-".join)
def test_p8_every_phase_comes_to_rest_from_every_other(phases: Sequence[str]) -> None:
    cluster = Cluster()
    serving = ready()
    away = ready().shown("Bind", "pe-1").gone()
    for phase in phases:
        a = serving.a if phase in ("Initial", "Bind") else away.a
        cluster.bring(phase, a)
        assert next_write(cluster.live, phase, [a], NOW) is None
