"""The port spoken in the cloud's own words: parameters out, JSON bodies in.

`CloudOverApi` builds the parameters of the ECS and VPC RPC APIs, pages, reads the answers and turns
"not found" into success where the wish was absence. How a call travels is a `Transport`: the
official SDK in production (consumers/cloud/aliyun.py), the simulator's model in virtual time
(deploy/local/cloud/port_adapter.py). Neither can drift from the other in what it asks or reads.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Protocol, TypeVar

from consumers.cloud.counting import counted
from consumers.cloud.port import (
    MEMBER,
    Answer,
    CreateEni,
    Eni,
    EniQuery,
    InstanceTypeLimits,
    Refused,
    Unknown,
    VSwitch,
)

#: Limits of the ECS API: entries per page, ids per call.
PAGE_SIZE = 500
IDS_PER_CALL = 100
INSTANCE_TYPES_PER_CALL = 10

GONE_FOR_DETACH = frozenset({"InvalidEniId.NotFound", "InvalidEcsId.NotFound"})
GONE_FOR_DELETE = frozenset({"InvalidEniId.NotFound"})

Item = TypeVar("Item")
Body = Mapping[str, Any]


class Transport(Protocol):
    """One attempt at one API call."""

    def __call__(self, api: str, parameters: Mapping[str, object], subject: str) -> Body:
        """Return the JSON body of a success, or raise Throttled, Refused or Unknown.

        `parameters` are nested as the SDK's models are: {"Tag": [{"Key": …, "Value": …}], …}.
        `subject` names the object of the call in errors.
        """
        ...


class CloudOverApi:
    """Implements `consumers.cloud.port.Cloud` over a transport. Stateless; threads may share it."""

    def __init__(
        self, transport: Transport, *, region_id: str, now: Callable[[], datetime]
    ) -> None:
        self._transport = transport
        self._region_id = region_id
        self._now = now

    # --- calls that change something --------------------------------------------------------

    def create_eni(self, request: CreateEni) -> Answer[Eni]:
        """See Cloud.create_eni. The answer carries no creation time: it is our clock's."""
        subject = f"in {request.vswitch_id} (client token {request.client_token})"
        body = self._call("CreateNetworkInterface", create_parameters(request), subject)
        return Answer(read_eni(body, "CreateNetworkInterface", self._now()), _request_id(body))

    def attach_eni(
        self,
        eni_id: str,
        instance_id: str,
        trunk_eni_id: str | None,
        network_card_index: int | None,
    ) -> Answer[None]:
        """See Cloud.attach_eni."""
        parameters: dict[str, object] = {"NetworkInterfaceId": eni_id, "InstanceId": instance_id}
        if trunk_eni_id is not None:
            parameters["TrunkNetworkInstanceId"] = trunk_eni_id
        if network_card_index is not None:
            parameters["NetworkCardIndex"] = network_card_index
        body = self._call("AttachNetworkInterface", parameters, f"{eni_id} to {instance_id}")
        return Answer(None, _request_id(body))

    def detach_eni(self, eni_id: str, instance_id: str, trunk_eni_id: str | None) -> Answer[None]:
        """See Cloud.detach_eni."""
        parameters: dict[str, object] = {"NetworkInterfaceId": eni_id, "InstanceId": instance_id}
        if trunk_eni_id is not None:
            parameters["TrunkNetworkInstanceId"] = trunk_eni_id
        subject = f"{eni_id} from {instance_id}"
        return self._absent("DetachNetworkInterface", parameters, subject, GONE_FOR_DETACH)

    def delete_eni(self, eni_id: str) -> Answer[None]:
        """See Cloud.delete_eni."""
        parameters = {"NetworkInterfaceId": eni_id}
        return self._absent("DeleteNetworkInterface", parameters, eni_id, GONE_FOR_DELETE)

    def modify_eni_security_groups(
        self, eni_id: str, security_group_ids: Sequence[str]
    ) -> Answer[None]:
        """See Cloud.modify_eni_security_groups."""
        parameters = {"NetworkInterfaceId": eni_id, "SecurityGroupId": list(security_group_ids)}
        body = self._call("ModifyNetworkInterfaceAttribute", parameters, eni_id)
        return Answer(None, _request_id(body))

    # --- calls that look --------------------------------------------------------------------

    def describe_enis(
        self, query: EniQuery, before_more: Callable[[], None] = lambda: None
    ) -> Answer[tuple[Eni, ...]]:
        """See Cloud.describe_enis."""
        api = "DescribeNetworkInterfaces"
        found: list[Eni] = []
        request_id, calls = "", 0
        for group in _groups(query.eni_ids, IDS_PER_CALL):
            parameters = query_parameters(query, group)
            if calls:
                before_more()
            subject = ", ".join(group[:3]) or "by filter"
            for body in self._pages(api, parameters, subject, before_more=before_more):
                calls += 1
                request_id = _request_id(body)
                sets = _list(body, "NetworkInterfaceSets", "NetworkInterfaceSet")
                found.extend(read_eni(item, api, None) for item in sets)
        return Answer(tuple(found), request_id, calls=calls)

    def describe_vswitch(self, vswitch_id: str) -> Answer[VSwitch | None]:
        """See Cloud.describe_vswitch."""
        api = "DescribeVSwitches"
        body = self._call(api, {"VSwitchId": vswitch_id}, vswitch_id)
        listed = _list(body, "VSwitches", "VSwitch")
        # An id that the API ignored would answer with every vSwitch of the region.
        mine = [item for item in listed if item.get("VSwitchId") == vswitch_id]
        value = read_vswitch(mine[0], api) if mine else None
        return Answer(value, _request_id(body))

    def describe_instance_types(
        self, names: Sequence[str]
    ) -> Answer[tuple[InstanceTypeLimits, ...]]:
        """See Cloud.describe_instance_types."""
        api = "DescribeInstanceTypes"
        if not names:
            return Answer((), "", calls=0)
        found: list[InstanceTypeLimits] = []
        request_id, calls = "", 0
        for group in _groups(tuple(names), INSTANCE_TYPES_PER_CALL):
            parameters = {"InstanceTypes": list(group), "MaxResults": 100}
            for body in self._pages(api, parameters, ", ".join(group), with_region=False):
                calls += 1
                request_id = _request_id(body)
                listed = _list(body, "InstanceTypes", "InstanceType")
                found.extend(read_instance_type(item, api) for item in listed)
        return Answer(tuple(found), request_id, calls=calls)

    # --- how calls are made -----------------------------------------------------------------

    def _call(self, api: str, parameters: Mapping[str, object], subject: str) -> Body:
        return self._sent(api, {"RegionId": self._region_id, **parameters}, subject)

    def _sent(self, api: str, parameters: Mapping[str, object], subject: str) -> Body:
        """One request, counted."""
        with counted(api):
            return self._transport(api, parameters, subject)

    def _absent(
        self, api: str, parameters: Mapping[str, object], subject: str, gone: frozenset[str]
    ) -> Answer[None]:
        """A call whose wish is that something be absent: "not found" fulfils it."""
        try:
            body = self._call(api, parameters, subject)
        except Refused as refusal:
            if refusal.code in gone:
                return Answer(None, refusal.request_id, already_gone=True)
            raise
        return Answer(None, _request_id(body))

    def _pages(
        self,
        api: str,
        parameters: Mapping[str, object],
        subject: str,
        *,
        with_region: bool = True,
        before_more: Callable[[], None] = lambda: None,
    ) -> Iterator[Body]:
        base = {"RegionId": self._region_id, **parameters} if with_region else dict(parameters)
        token = ""
        while True:
            body = self._sent(api, base | ({"NextToken": token} if token else {}), subject)
            yield body
            following = str(body.get("NextToken") or "")
            if not following:
                return
            if following == token:
                # Asking again would never end.
                raise Unknown(
                    api,
                    "",
                    "the same NextToken came back twice",
                    _request_id(body),
                    subject=subject,
                )
            before_more()
            token = following


# --- what is sent -------------------------------------------------------------------------------


def create_parameters(request: CreateEni) -> dict[str, object]:
    """CreateNetworkInterface's parameters (reference §8.2), without the region.

    Tags are sorted: the cloud compares a repeated client token's parameters with the first ones.
    """
    parameters: dict[str, object] = {
        "VSwitchId": request.vswitch_id,
        "SecurityGroupIds": list(request.security_group_ids),
        "InstanceType": "Secondary",
        "ClientToken": request.client_token,
        "DeleteOnRelease": request.delete_on_release,
        "SourceDestCheck": False,
        "Description": request.description,
    }
    if request.tags:
        parameters["Tag"] = _tags(request.tags)
    if request.ipv6_count:
        parameters["Ipv6AddressCount"] = request.ipv6_count
    if request.resource_group_id:
        parameters["ResourceGroupId"] = request.resource_group_id
    if request.traffic_mode:
        parameters["NetworkInterfaceTrafficMode"] = request.traffic_mode
    return parameters


def query_parameters(query: EniQuery, eni_ids: Sequence[str]) -> dict[str, object]:
    """DescribeNetworkInterfaces' parameters for one group of ids, without the region."""
    parameters: dict[str, object] = {"MaxResults": PAGE_SIZE}
    if eni_ids:
        parameters["NetworkInterfaceId"] = list(eni_ids)
    if query.tags:
        parameters["Tag"] = _tags(query.tags)
    named = {
        "VpcId": query.vpc_id,
        "Type": query.type,
        "Status": query.status,
        "InstanceId": query.instance_id,
    }
    parameters.update({name: value for name, value in named.items() if value})
    return parameters


def _tags(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": tags[key]} for key in sorted(tags)]


def _groups(ids: tuple[str, ...], size: int) -> Iterator[tuple[str, ...]]:
    """Groups of at most `size`; one empty group where there are no ids (a query by filter)."""
    if not ids:
        yield ()
        return
    rest = iter(dict.fromkeys(ids))
    while group := tuple(islice(rest, size)):
        yield group


# --- what is read -------------------------------------------------------------------------------


def read_eni(body: Body, api: str, created_at: datetime | None) -> Eni:
    """An ENI from a CreateNetworkInterface body or a NetworkInterfaceSet.

    Args:
        created_at: used where the body has no CreationTime.

    Raises:
        Unknown: a field that every ENI has is missing: whatever this is, it is not an answer.
    """
    attachment = body.get("Attachment") or {}
    eni_type = _text(body, "Type", api)
    tags = _list(body, "Tags", "Tag")
    return Eni(
        id=_text(body, "NetworkInterfaceId", api),
        mac=_text(body, "MacAddress", api),
        status=_text(body, "Status", api),
        type=eni_type,
        vpc_id=str(body.get("VpcId") or ""),
        vswitch_id=_text(body, "VSwitchId", api),
        zone=_text(body, "ZoneId", api),
        ipv4=_text(body, "PrivateIpAddress", api),
        ipv6=_first_ipv6(body),
        security_group_ids=tuple(_list(body, "SecurityGroupIds", "SecurityGroupId")),
        instance_id=body.get("InstanceId") or attachment.get("InstanceId") or None,
        trunk_eni_id=attachment.get("TrunkNetworkInterfaceId") or None,
        vlan=_vlan(attachment) if eni_type == MEMBER else None,
        network_card_index=attachment.get("NetworkCardIndex"),
        tags={str(tag["TagKey"]): str(tag.get("TagValue") or "") for tag in tags},
        created_at=_created_at(body, api, created_at),
        resource_group_id=str(body.get("ResourceGroupId") or ""),
    )


def read_vswitch(body: Body, api: str) -> VSwitch:
    """A vSwitch from DescribeVSwitches. Raises Unknown where it is not one."""
    return VSwitch(
        id=_text(body, "VSwitchId", api),
        vpc_id=str(body.get("VpcId") or ""),
        zone=_text(body, "ZoneId", api),
        cidr=_text(body, "CidrBlock", api),
        ipv6_cidr=body.get("Ipv6CidrBlock") or None,
        available_ips=int(body.get("AvailableIpAddressCount") or 0),
    )


def read_instance_type(body: Body, api: str) -> InstanceTypeLimits:
    """An instance type's limits from DescribeInstanceTypes. Raises Unknown where it is not one."""
    return InstanceTypeLimits(
        instance_type=_text(body, "InstanceTypeId", api),
        eni_quantity=int(body.get("EniQuantity") or 0),
        eni_total_quantity=int(body.get("EniTotalQuantity") or 0),
        trunk_supported=bool(body.get("EniTrunkSupported")),
        ipv4_per_eni=int(body.get("EniPrivateIpAddressQuantity") or 0),
        ipv6_per_eni=int(body.get("EniIpv6AddressQuantity") or 0),
    )


def _request_id(body: Body) -> str:
    return str(body.get("RequestId") or "")


def _text(body: Body, name: str, api: str) -> str:
    value = body.get(name)
    if not value:
        raise Unknown(api, "", f"the answer lacks {name}", _request_id(body))
    return str(value)


def _list(body: Body, outer: str, inner: str) -> list[Any]:
    """The RPC style wraps each list: {"Tags": {"Tag": […]}}; either may be absent."""
    return list((body.get(outer) or {}).get(inner) or [])


def _first_ipv6(body: Body) -> str | None:
    for entry in _list(body, "Ipv6Sets", "Ipv6Set"):
        return str(entry["Ipv6Address"])
    return None


def _vlan(attachment: Body) -> int | None:
    """A member's VLAN id; 0 or absent while it is being attached and none was chosen yet."""
    index = attachment.get("DeviceIndex")
    return int(index) if index else None


def _created_at(body: Body, api: str, otherwise: datetime | None) -> datetime:
    text = body.get("CreationTime")
    if not text:
        if otherwise is None:
            raise Unknown(api, "", "the answer lacks CreationTime", _request_id(body))
        return otherwise
    return datetime.fromisoformat(str(text).replace("Z", "+00:00")).astimezone(UTC)
