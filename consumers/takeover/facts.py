"""Looks at everything that an adoption is decided by: PodENIs, NetworkInterfaces, ENIs, Pods, ledger."""

from collections.abc import Iterable

from consumers.cloud.port import Eni, EniQuery
from consumers.kube.port import KubeObject
from consumers.kube.resources import NETWORK_INTERFACES, PODS
from consumers.takeover.source import Source
from ledger.rules.entries import Address
from ledger.rules.found_podenis import CLUSTER_TAG, INCUMBENT_CREATOR, CloudEni, PodSeen
from ledger.rules.podeni import Object
from ledger.rules.pods import POD_NETWORKS, PodFacts
from ledger.rules.takeover import Facts, Name
from ledger.store.database import ledger_now
from ledger.store.returns import live_allocations


def look(source: Source) -> Facts:
    """One look at everything; nothing is written anywhere. Raises KubeError and CloudError."""
    podenis = sorted(source.kube.list_podenis(), key=name_of)
    records = {each["metadata"]["name"]: each for each in source.objects.list(NETWORK_INTERFACES)}
    enis = look_at_enis(source, named_enis(podenis) | set(records))
    found = list_pods(source, (name_of(each) for each in podenis))
    pods = {name: pod_seen(pod) for name, pod in found.items()}
    with source.database.transaction() as connection:
        held = live_allocations(connection, source.cluster)
        now = ledger_now(connection)
    return Facts(source.cluster, now, podenis, records, enis, pods, held)


def list_pods(source: Source, names: Iterable[Name]) -> dict[Name, KubeObject | None]:
    """Those Pods out of one list, page by page, from a quorum read; None where there is no such Pod.

    A list names no version of an absence that it would be safe to act on: whoever records that a Pod is
    gone looks at it by itself (P11).
    """
    found: dict[Name, KubeObject | None] = dict.fromkeys(names)
    if found:
        for pod in source.objects.list(PODS):
            if name_of(pod) in found:
                found[name_of(pod)] = pod
    return found


def look_at_enis(source: Source, named: Iterable[str]) -> dict[str, CloudEni]:
    """The incumbent's ENIs by their tags, and those named that the tags don't show, by their ids."""
    tags = {CLUSTER_TAG: source.cluster, "creator": INCUMBENT_CREATOR}
    source.await_permit()
    found = list(source.cloud.describe_enis(EniQuery(tags=tags), source.await_permit).value)
    unseen = sorted(set(named) - {eni.id for eni in found})
    if unseen:
        source.await_permit()
        by_id = EniQuery(eni_ids=tuple(unseen))
        found += source.cloud.describe_enis(by_id, source.await_permit).value
    return {eni.id: _cloud_eni(eni) for eni in found}


def named_enis(podenis: Iterable[Object]) -> set[str]:
    """Every ENI that a PodENI names."""
    items = [item for each in podenis for item in each.get("spec", {}).get("allocations") or ()]
    return {item["eni"]["id"] for item in items if (item.get("eni") or {}).get("id")}


def pod_seen(found: KubeObject | None) -> PodSeen | None:
    """What a Pod means for its network; None where there is no such Pod."""
    if found is None:
        return None
    pod = PodFacts.from_object(found)
    status = found.get("status") or {}
    ips = {status.get("podIP"), *(each.get("ip") for each in status.get("podIPs") or ())}
    runs = not pod.sandbox_exited
    asked = pod.annotations.get(POD_NETWORKS, "")
    reported = tuple(sorted(ip for ip in ips if ip))
    return PodSeen(pod.uid, pod.node_name, runs, reported, asked, pod.wants_pod_eni)


def name_of(obj: Object) -> Name:
    """Namespace and name."""
    return obj["metadata"]["namespace"], obj["metadata"]["name"]


def _cloud_eni(eni: Eni) -> CloudEni:
    address = Address(
        eni=eni.id,
        mac=eni.mac,
        vpc=eni.vpc_id,
        vswitch=eni.vswitch_id,
        zone=eni.zone,
        ipv4=eni.ipv4,
        ipv6=eni.ipv6,
        security_group_ids=eni.security_group_ids,
        resource_group_id=eni.resource_group_id,
    )
    on = (eni.instance_id, eni.trunk_eni_id, eni.vlan)
    return CloudEni(address, eni.status, *on, eni.type, dict(eni.tags))
