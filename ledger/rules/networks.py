"""What one Pod interface asks for, and the annotations that carry it.

`k8s.aliyun.com/pod-networks` holds `{"podNetworks": [...]}` and is what the allocation is made
from; `k8s.aliyun.com/pod-networks-request` holds `[...]` and names PodNetworkings (reference §2.1,
§2.4).
Keys are read without regard to case, as Go's JSON decoder reads them, and written exactly as the
incumbent writes them.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from ledger.rules.durations import DurationError, parse_go_duration
from ledger.rules.objects import KubeObject, ObjectError, list_at, mapping_at, text_at, texts_at

DEFAULT_INTERFACE = "eth0"
INTERFACE_LENGTH_MAX = 5
SECURITY_GROUPS_MAX = 10
SECURITY_GROUPS_DOCUMENTED = 5  # the product document's older limit; beyond it we only warn
MINIMUM_RELEASE_AFTER = timedelta(minutes=5)

ELASTIC, FIXED = "Elastic", "Fixed"
TTL, NEVER = "TTL", "Never"
ENI_TYPES = ("Default", "Trunk", "ENI")
SELECTION_POLICIES = ("ordered", "random", "most")


class NetworksError(ValueError):
    """A network annotation can't be honoured: names the annotation, the element and the cause."""


@dataclass(frozen=True, slots=True)
class AllocationType:
    """How long an IP stays with a Pod's name.

    `release_after` is None when `release_after_text` is empty or not a Go duration; the text is
    kept so that what the user wrote can be shown and carried on unchanged.
    """

    type: str = ELASTIC
    release_strategy: str = ""
    release_after: timedelta | None = None
    release_after_text: str = ""

    @classmethod
    def from_object(cls, obj: KubeObject) -> "AllocationType":
        """Read `{type, releaseStrategy, releaseAfter}`; an absent type is Elastic."""
        text = text_at(obj, "releaseAfter")
        return cls(
            type=text_at(obj, "type") or ELASTIC,
            release_strategy=text_at(obj, "releaseStrategy"),
            release_after=duration_or_none(text),
            release_after_text=text,
        )

    def to_object(self) -> dict[str, str]:
        """The Kubernetes form; empty fields are left out."""
        found = {"type": self.type}
        if self.release_strategy:
            found["releaseStrategy"] = self.release_strategy
        if self.release_after_text:
            found["releaseAfter"] = self.release_after_text
        return found

    @property
    def fixed(self) -> bool:
        return self.type == FIXED


ELASTIC_ALLOCATION = AllocationType()


@dataclass(frozen=True, slots=True)
class NetworkRequest:
    """One interface of one Pod. Empty text and empty tuples mean "not said"."""

    interface: str = DEFAULT_INTERFACE
    vswitch_ids: tuple[str, ...] = ()
    security_group_ids: tuple[str, ...] = ()
    eni_type: str = ""
    selection_policy: str = ""
    resource_group_id: str = ""
    traffic_mode: str = ""
    default_route: bool | None = None
    extra_routes: tuple[str, ...] = ()
    allocation: AllocationType = ELASTIC_ALLOCATION

    def to_object(self) -> dict[str, Any]:
        """The element of `podNetworks`, keys in the incumbent's order, empty ones left out."""
        parts: dict[str, Any] = {
            "vSwitchOptions": list(self.vswitch_ids),
            "securityGroupIDs": list(self.security_group_ids),
            "interface": self.interface,
            "extraRoutes": [{"dst": destination} for destination in self.extra_routes],
            "eniOptions": {"eniType": self.eni_type} if self.eni_type else None,
            "vSwitchSelectOptions": (
                {"vSwitchSelectionPolicy": self.selection_policy} if self.selection_policy else None
            ),
            "resourceGroupID": self.resource_group_id,
            "networkInterfaceTrafficMode": self.traffic_mode,
            "defaultRoute": self.default_route,
            "allocationType": self.allocation.to_object(),
        }
        return {key: value for key, value in parts.items() if value not in (None, "", [])}


@dataclass(frozen=True, slots=True)
class NetworkReference:
    """One element of pod-networks-request: an interface and the PodNetworking that describes it."""

    podnetworking: str
    interface: str = DEFAULT_INTERFACE
    default_route: bool = False
    extra_routes: tuple[str, ...] = ()


def parse_pod_networks(annotation_text: str) -> tuple[NetworkRequest, ...]:
    """Read the pod-networks annotation as it stands; empty text is no networks.

    `interface` is "" where the element has none: admission refuses that, `networks_to_allocate`
    takes eth0. Raises NetworksError for what is not JSON or has the wrong shape.
    """
    if not annotation_text:
        return ()
    document = _decoded(annotation_text, "pod-networks")
    if document is None:
        return ()
    if not isinstance(document, Mapping):
        raise NetworksError('pod-networks: a JSON object {"podNetworks": [...]} is needed')
    try:
        elements = list_at(document, "podnetworks")
    except ObjectError as wrong:
        raise NetworksError(f"pod-networks: {wrong}") from wrong
    return tuple(_network(each, f"pod-networks[{at}]") for at, each in enumerate(elements))


def render_pod_networks(networks: Sequence[NetworkRequest]) -> str:
    """The text of the pod-networks annotation: compact JSON, the same for the same networks."""
    document = {"podNetworks": [network.to_object() for network in networks]}
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False)


def parse_pod_networks_request(annotation_text: str) -> tuple[NetworkReference, ...]:
    """Read the pod-networks-request annotation; empty text is no references.

    Raises NetworksError for what is not JSON, has the wrong shape or names no PodNetworking.
    """
    if not annotation_text:
        return ()
    document = _decoded(annotation_text, "pod-networks-request")
    if document is None:
        return ()
    if not isinstance(document, list):
        raise NetworksError('pod-networks-request: a JSON list [{"network": ...}] is needed')
    return tuple(
        _reference(each, f"pod-networks-request[{at}]") for at, each in enumerate(document)
    )


def networks_to_allocate(annotation_text: str) -> tuple[NetworkRequest, ...]:
    """The interfaces to allocate for an admitted Pod, complete and free of contradictions.

    Raises NetworksError when an interface has no vSwitch or security group, two share a name, or
    two want the default route: nothing is created for such a Pod (reference §5.3d, §6.10).
    """
    networks = tuple(_with_interface(each) for each in parse_pod_networks(annotation_text))
    seen: set[str] = set()
    for network in networks:
        if network.interface in seen:
            raise NetworksError(f"pod-networks: interface {network.interface} appears twice")
        seen.add(network.interface)
        if not network.vswitch_ids or not network.security_group_ids:
            absent = "securityGroupIDs" if network.vswitch_ids else "vSwitchOptions"
            raise NetworksError(
                f"pod-networks: interface {network.interface} has no {absent}; "
                f"name them in the annotation or in its PodNetworking and recreate the Pod"
            )
    if sum(network.default_route is True for network in networks) > 1:
        raise NetworksError("pod-networks: only one interface can have the default route")
    return networks


def duration_or_none(text: str) -> timedelta | None:
    """A Go duration, or None when the text is not one."""
    try:
        return parse_go_duration(text)
    except DurationError:
        return None


def _with_interface(network: NetworkRequest) -> NetworkRequest:
    if network.interface:
        return network
    parts = {name: getattr(network, name) for name in NetworkRequest.__slots__}
    return NetworkRequest(**(parts | {"interface": DEFAULT_INTERFACE}))


def _network(element: Any, where: str) -> NetworkRequest:
    if not isinstance(element, Mapping):
        raise NetworksError(f"{where}: a JSON object is needed")
    try:
        return NetworkRequest(
            interface=text_at(element, "interface"),
            vswitch_ids=texts_at(element, "vswitchoptions"),
            security_group_ids=texts_at(element, "securitygroupids"),
            eni_type=text_at(element, "enioptions", "enitype"),
            selection_policy=text_at(element, "vswitchselectoptions", "vswitchselectionpolicy"),
            resource_group_id=text_at(element, "resourcegroupid"),
            traffic_mode=text_at(element, "networkinterfacetrafficmode"),
            default_route=_optional_flag(element, "defaultroute"),
            extra_routes=_destinations(element, "extraroutes"),
            allocation=_allocation(mapping_at(element, "allocationtype")),
        )
    except ObjectError as wrong:
        raise NetworksError(f"{where}: {wrong}") from wrong


def _allocation(lowered: KubeObject) -> AllocationType:
    return AllocationType.from_object(
        {
            "type": lowered.get("type"),
            "releaseStrategy": lowered.get("releasestrategy"),
            "releaseAfter": lowered.get("releaseafter"),
        }
    )


def _reference(element: Any, where: str) -> NetworkReference:
    if not isinstance(element, Mapping):
        raise NetworksError(f"{where}: a JSON object is needed")
    try:
        podnetworking = text_at(element, "network")
        if not podnetworking:
            raise NetworksError(f"{where}: network is empty; name a PodNetworking")
        return NetworkReference(
            podnetworking=podnetworking,
            interface=text_at(element, "interfacename") or DEFAULT_INTERFACE,
            default_route=_optional_flag(element, "defaultroute") or False,
            extra_routes=_destinations(element, "routes"),
        )
    except ObjectError as wrong:
        raise NetworksError(f"{where}: {wrong}") from wrong


def _destinations(element: KubeObject, key: str) -> tuple[str, ...]:
    routes = list_at(element, key)
    if not all(isinstance(route, Mapping) for route in routes):
        raise ObjectError(f'{key}: a list of {{"dst": "<CIDR>"}} is needed')
    return tuple(text_at(route, "dst") for route in routes)


def _optional_flag(element: KubeObject, key: str) -> bool | None:
    value = element.get(key)
    if value is not None and not isinstance(value, bool):
        raise ObjectError(f"{key}: true or false is needed")
    return value


def _decoded(text: str, annotation: str) -> Any:
    """JSON with every key of every object in lower case: Go's decoder ignores their case."""
    try:
        return json.loads(text, object_pairs_hook=_lower_keys)
    except (ValueError, RecursionError) as wrong:
        raise NetworksError(f"{annotation}: not JSON ({wrong}); correct the annotation") from wrong


def _lower_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return {key.lower(): value for key, value in pairs}
