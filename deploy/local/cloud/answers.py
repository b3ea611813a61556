"""The JSON bodies of the simulated cloud's answers, field for field as the real ones."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from deploy.local.cloud.enis import Eni
from deploy.local.cloud.world import Instance, InstanceType, VSwitch

Body = dict[str, Any]


def cloud_time(moment: datetime) -> str:
    """ECS writes times in UTC, in whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def created_eni(eni: Eni, vpc_id: str) -> Body:
    """CreateNetworkInterface's answer: no creation time, no attachment."""
    return {
        "NetworkInterfaceId": eni.id,
        "NetworkInterfaceName": eni.name,
        "Description": eni.description,
        "MacAddress": eni.mac,
        "Type": eni.type,
        "Status": eni.status,
        "VpcId": vpc_id,
        "VSwitchId": eni.vswitch_id,
        "ZoneId": eni.zone,
        "PrivateIpAddress": eni.ipv4,
        "PrivateIpSets": {"PrivateIpSet": [{"Primary": True, "PrivateIpAddress": eni.ipv4}]},
        "Ipv6Sets": {"Ipv6Set": [{"Ipv6Address": address} for address in eni.ipv6]},
        "SecurityGroupIds": {"SecurityGroupId": list(eni.security_group_ids)},
        "Tags": {"Tag": [{"TagKey": key, "TagValue": value} for key, value in eni.tags]},
        "ResourceGroupId": eni.resource_group_id,
        "SourceDestCheck": eni.source_dest_check,
        "ServiceManaged": False,
    }


def described_eni(eni: Eni, vpc_id: str) -> Body:
    """A NetworkInterfaceSet: with attachment, creation time and what happens on release."""
    return created_eni(eni, vpc_id) | {
        "CreationTime": cloud_time(eni.created_at),
        "DeleteOnRelease": eni.delete_on_release,
        "InstanceId": eni.instance_id or "",
        "NetworkInterfaceTrafficMode": "Standard",
        "Attachment": _attachment(eni),
    }


def _attachment(eni: Eni) -> Body:
    if eni.instance_id is None:
        return {}
    attachment: Body = {"InstanceId": eni.instance_id, "DeviceIndex": 0}
    if eni.trunk_id is not None:
        attachment["TrunkNetworkInterfaceId"] = eni.trunk_id
        # The VLAN id is told only once it holds.
        attachment["DeviceIndex"] = eni.vlan if eni.status in ("InUse", "Detaching") else 0
    if eni.network_card_index is not None:
        attachment["NetworkCardIndex"] = eni.network_card_index
    return attachment


def vswitch(switch: VSwitch, vpc_id: str, available_ips: int) -> Body:
    """A VSwitch of DescribeVSwitches."""
    return {
        "VSwitchId": switch.id,
        "VSwitchName": switch.id,
        "VpcId": vpc_id,
        "ZoneId": switch.zone,
        "CidrBlock": switch.cidr,
        "Ipv6CidrBlock": switch.ipv6_cidr or "",
        "EnabledIpv6": switch.ipv6_cidr is not None,
        "AvailableIpAddressCount": available_ips,
        "Status": "Available",
        "IsDefault": False,
    }


def instance_type(kind: InstanceType) -> Body:
    """An InstanceType of DescribeInstanceTypes."""
    return {
        "InstanceTypeId": kind.id,
        "InstanceTypeFamily": kind.id.rpartition(".")[0],
        "CpuCoreCount": kind.cpu,
        "MemorySize": kind.memory_gib,
        "EniQuantity": kind.eni_quantity,
        "EniTotalQuantity": kind.eni_total_quantity,
        "EniTrunkSupported": kind.eni_trunk_supported,
        "EniPrivateIpAddressQuantity": kind.eni_private_ip_address_quantity,
        "EniIpv6AddressQuantity": kind.eni_ipv6_address_quantity,
        "EriQuantity": 0,
        "NetworkCardQuantity": 1,
    }


def instance(ecs: Instance, region: str, vpc_id: str, enis: Iterable[Eni]) -> Body:
    """An Instance of DescribeInstances: the part that concerns the network."""
    attached = sorted(enis, key=lambda eni: eni.ordinal)
    primary = next(eni for eni in attached if eni.type == "Primary")
    return {
        "InstanceId": ecs.id,
        "InstanceName": ecs.node,
        "HostName": ecs.node,
        "InstanceType": ecs.type,
        "RegionId": region,
        "ZoneId": ecs.zone,
        "Status": "Running",
        "InstanceNetworkType": "vpc",
        "VpcAttributes": {
            "VpcId": vpc_id,
            "VSwitchId": primary.vswitch_id,
            "PrivateIpAddress": {"IpAddress": [primary.ipv4]},
        },
        "SecurityGroupIds": {"SecurityGroupId": list(primary.security_group_ids)},
        "NetworkInterfaces": {
            "NetworkInterface": [
                {
                    "NetworkInterfaceId": eni.id,
                    "MacAddress": eni.mac,
                    "PrimaryIpAddress": eni.ipv4,
                    "Type": eni.type,
                }
                for eni in attached
            ]
        },
    }
