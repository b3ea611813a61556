"""The world file: what the simulated cloud holds, and which Nodes a cluster on it has.

YAML, read by `load_world`; `world.schema.json` beside the worlds is generated from these models
(`python -m deploy.local.cloud.world > deploy/local/worlds/world.schema.json`). Something wrong in
the file is an error with its path and the values that would be allowed.
"""

import ipaddress
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from deploy.local.cloud.apis import API_NAMES, ApiName
from deploy.local.cloud.faults import Fault, IpExhaustion
from deploy.local.cloud.strict import Strict, problems

#: Of each vSwitch the cloud keeps the first address and the last three for itself.
RESERVED_FIRST = 1
RESERVED_LAST = 3

Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$")]
Seconds = Annotated[float, Field(ge=0, le=3600)]


class WorldError(Exception):
    """A world file that can't be used. The message names the file and each path in it."""


class Vpc(Strict):
    """The one VPC of the world."""

    id: Id
    cidr: str
    _cidr = field_validator("cidr")(lambda value: _network(value, 4))


class VSwitch(Strict):
    """A vSwitch. Addresses of ENIs come from its CIDRs."""

    id: Id
    zone: Id
    cidr: str
    ipv6_cidr: str | None = None
    free_ips: Annotated[int, Field(ge=0)] | None = Field(
        default=None,
        description="free addresses at the start; the others are held by somebody else",
    )
    _cidr = field_validator("cidr")(lambda value: _network(value, 4))
    _ipv6_cidr = field_validator("ipv6_cidr")(lambda value: value and _network(value, 6))

    def assignable(self) -> range:
        """The IPv4 addresses the cloud may give out, as integers."""
        network = ipaddress.IPv4Network(self.cidr)
        first = int(network.network_address)
        return range(first + RESERVED_FIRST, first + network.num_addresses - RESERVED_LAST)


class InstanceType(Strict):
    """An instance type and its quotas, named as DescribeInstanceTypes names them."""

    id: Id
    cpu: Annotated[int, Field(ge=1)] = 4
    memory_gib: Annotated[float, Field(gt=0)] = 16.0
    eni_quantity: Annotated[int, Field(ge=1)]
    eni_total_quantity: Annotated[int, Field(ge=1)]
    eni_trunk_supported: bool
    eni_private_ip_address_quantity: Annotated[int, Field(ge=1)] = 10
    eni_ipv6_address_quantity: Annotated[int, Field(ge=0)] = 10

    @property
    def member_limit(self) -> int:
        """What a node of this type offers as aliyun/member-eni (reference §7.3)."""
        if not self.eni_trunk_supported:
            return 0
        return max(0, self.eni_total_quantity - self.eni_quantity)


class Instance(Strict):
    """An ECS instance; it also becomes a core Node of the cluster."""

    id: Id
    node: Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$")]
    zone: Id
    type: Id
    vswitch: Id | None = Field(default=None, description="absent: the zone's first vSwitch")
    private_ip: str | None = Field(default=None, description="absent: the next free address")
    primary_eni: Id
    trunk_eni: Id | None = Field(default=None, description="absent: a node without a trunk")


class RateLimit(Strict):
    """A token bucket: `burst` calls at once, refilled at `per_minute`."""

    per_minute: Annotated[float, Field(gt=0)]
    burst: Annotated[int, Field(ge=1)]


class Latencies(Strict):
    """How long things take, in seconds."""

    attach: Seconds = 1.0
    detach: Seconds = 1.0
    delete: Seconds = 0.5
    answer: Seconds = Field(default=0.0, description="every call's answer")
    jitter: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.0, description="each attach, detach, delete takes up to this share longer"
    )


class AccessKey(Strict):
    """A key pair the simulator accepts. It opens nothing but the simulator."""

    id: Id = "simulator-only"
    secret: str = "simulator-only-secret"  # noqa: S105 - opens nothing but the simulator
    security_token: str = ""


class World(Strict):
    """Everything a world file says."""

    region: Id
    zones: Annotated[list[Id], Field(min_length=1)]
    vpc: Vpc
    vswitches: Annotated[list[VSwitch], Field(min_length=1)]
    security_groups: Annotated[list[Id], Field(min_length=1)]
    instance_types: Annotated[list[InstanceType], Field(min_length=1)]
    instances: list[Instance] = Field(default_factory=list)
    access_keys: Annotated[list[AccessKey], Field(min_length=1)] = Field(
        default_factory=lambda: [AccessKey()]
    )
    rate_limits: dict[ApiName, RateLimit] = Field(
        default_factory=dict, description="per API; an API that is absent is not limited"
    )
    latencies: Latencies = Latencies()
    first_vlan: Annotated[int, Field(ge=1, le=4094)] = 1001
    reuse_addresses_at_once: bool = Field(
        default=False,
        description="true: always the lowest free address; false: go round, as the cloud tends to",
    )
    faults: list[Fault] = Field(default_factory=list, description="faults that are up at the start")

    @model_validator(mode="after")
    def _consistent(self) -> "World":
        found = list(_contradictions(self))
        if found:
            raise ValueError("\n".join(found))
        return self

    def vswitch_of(self, instance: Instance) -> VSwitch:
        """The vSwitch of an instance's primary ENI and trunk."""
        wanted = instance.vswitch
        return next(
            vswitch
            for vswitch in self.vswitches
            if vswitch.zone == instance.zone and wanted in (None, vswitch.id)
        )

    def type_of(self, instance: Instance) -> InstanceType:
        return next(kind for kind in self.instance_types if kind.id == instance.type)

    def nodes(self) -> tuple["NodeSpec", ...]:
        """The core Nodes of the cluster that runs on this world, in the file's order."""
        return tuple(
            NodeSpec(
                name=instance.node,
                provider_id=f"{self.region}.{instance.id}",
                labels={
                    "kubernetes.io/hostname": instance.node,
                    "kubernetes.io/os": "linux",
                    "kubernetes.io/arch": "amd64",
                    "node.kubernetes.io/instance-type": instance.type,
                    "topology.kubernetes.io/region": self.region,
                    "topology.kubernetes.io/zone": instance.zone,
                },
                annotations=(
                    {"k8s.aliyun.com/trunk-on": instance.trunk_eni} if instance.trunk_eni else {}
                ),
                internal_ip=instance.private_ip,
                cpu=self.type_of(instance).cpu,
                memory_gib=self.type_of(instance).memory_gib,
                member_enis=self.type_of(instance).member_limit if instance.trunk_eni else 0,
            )
            for instance in self.instances
        )


@dataclass(frozen=True, slots=True)
class NodeSpec:
    """What an instance is as a core Node (reference §7.1, §7.2).

    Attributes:
        provider_id: `<region>.<instance>`.
        internal_ip: None where the world leaves the choice to the cloud.
        member_enis: the extended resource aliyun/member-eni; 0 without a trunk.
    """

    name: str
    provider_id: str
    internal_ip: str | None
    cpu: int
    memory_gib: float
    member_enis: int
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)


def load_world(path: Path) -> World:
    """Read and check a world file. Raises WorldError with every problem found."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise WorldError(
            f"world file {path}: {error.strerror}; give the path of a file like "
            "deploy/local/worlds/demo.yaml"
        ) from error
    except UnicodeDecodeError as error:
        raise WorldError(f"world file {path} is not UTF-8: byte {error.start}") from error
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise WorldError(f"world file {path} is not YAML: {error}") from error
    return parse_world(data, str(path))


def parse_world(data: Any, origin: str) -> World:
    """A world from plain data. Raises WorldError; `origin` is named in it."""
    try:
        return World.model_validate(data)
    except ValidationError as error:
        lines = [line for problem in problems(error) for line in problem.splitlines()]
        raise WorldError(
            f"world file {origin} has {len(lines)} problem(s):\n"
            + "\n".join(f"  {line}" for line in lines)
        ) from None


def schema() -> str:
    """The published JSON schema, as text."""
    document = World.model_json_schema()
    document["title"] = "A world of the eni-ledger cloud simulator"
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


# --- what pydantic can't see in one value -------------------------------------------------------


def _network(value: str, version: int) -> str:
    kind = ipaddress.IPv4Network if version == 4 else ipaddress.IPv6Network
    try:
        kind(value)
    except ValueError as error:
        example = "192.168.0.0/19" if version == 4 else "2408:4005:3aa:1100::/64"
        raise ValueError(
            f"{value!r} is not an IPv{version} network: {error}; write it like {example}"
        ) from None
    return value


def _contradictions(world: World) -> Iterator[str]:
    yield from _doubles(world)
    yield from _bad_vswitches(world)
    for index, instance in enumerate(world.instances):
        yield from _bad_instance(world, instance, f"instances[{index}]")
    switches = [vswitch.id for vswitch in world.vswitches]
    for index, fault in enumerate(world.faults):
        if isinstance(fault, IpExhaustion) and fault.vswitch_id is not None:
            yield from _one_of(f"faults[{index}].vswitch_id", fault.vswitch_id, switches)


def _doubles(world: World) -> Iterator[str]:
    groups: dict[str, Iterable[str]] = {
        "zones": world.zones,
        "vswitches": [vswitch.id for vswitch in world.vswitches],
        "security_groups": world.security_groups,
        "instance_types": [kind.id for kind in world.instance_types],
        "instances (id)": [instance.id for instance in world.instances],
        "instances (node)": [instance.node for instance in world.instances],
        "access_keys": [key.id for key in world.access_keys],
        "instances (private_ip)": [i.private_ip for i in world.instances if i.private_ip],
        "instances (primary_eni, trunk_eni)": [
            eni for i in world.instances for eni in (i.primary_eni, i.trunk_eni) if eni
        ],
    }
    for path, values in groups.items():
        listed = list(values)
        for value in sorted({value for value in listed if listed.count(value) > 1}):
            yield f"{path}: {value!r} is there twice; each must be there once"


def _bad_vswitches(world: World) -> Iterator[str]:
    whole = ipaddress.IPv4Network(world.vpc.cidr)
    for index, vswitch in enumerate(world.vswitches):
        path = f"vswitches[{index}]"
        yield from _one_of(f"{path}.zone", vswitch.zone, world.zones)
        network = ipaddress.IPv4Network(vswitch.cidr)
        if not network.subnet_of(whole):
            yield f"{path}.cidr: {vswitch.cidr} is outside vpc.cidr {world.vpc.cidr}"
        if not 16 <= network.prefixlen <= 29:
            yield f"{path}.cidr: /{network.prefixlen}; a vSwitch has /16 to /29"
        for earlier in world.vswitches[:index]:
            if network.overlaps(ipaddress.IPv4Network(earlier.cidr)):
                yield f"{path}.cidr: {vswitch.cidr} overlaps {earlier.cidr} of {earlier.id}"
        if vswitch.free_ips is not None and vswitch.free_ips > len(vswitch.assignable()):
            yield (
                f"{path}.free_ips: {vswitch.free_ips}; allowed: 0 to {len(vswitch.assignable())}"
            )


def _bad_instance(world: World, instance: Instance, path: str) -> Iterator[str]:
    yield from _one_of(f"{path}.zone", instance.zone, world.zones)
    kinds = [kind.id for kind in world.instance_types]
    yield from _one_of(f"{path}.type", instance.type, kinds)
    in_zone = [vswitch.id for vswitch in world.vswitches if vswitch.zone == instance.zone]
    if instance.vswitch is not None:
        yield from _one_of(f"{path}.vswitch", instance.vswitch, in_zone)
    elif instance.zone in world.zones and not in_zone:
        yield f"{path}.zone: {instance.zone} has no vSwitch for the instance's primary ENI"
    able = [kind.id for kind in world.instance_types if kind.eni_trunk_supported]
    if instance.trunk_eni and instance.type in kinds and instance.type not in able:
        yield (
            f"{path}.trunk_eni: type {instance.type} supports no trunk; "
            f"types that do: {', '.join(able) or 'none'}"
        )
    if instance.private_ip is not None and in_zone and instance.vswitch in (None, *in_zone):
        vswitch = world.vswitch_of(instance)
        try:
            inside = int(ipaddress.IPv4Address(instance.private_ip)) in vswitch.assignable()
        except ValueError:
            inside = False
        if not inside:
            yield (
                f"{path}.private_ip: {instance.private_ip!r} is not an assignable address of "
                f"{vswitch.id} ({vswitch.cidr} without its first and last three)"
            )


def _one_of(path: str, value: str, allowed: Iterable[str]) -> Iterator[str]:
    listed = list(allowed)
    if value not in listed:
        yield f"{path}: {value!r} is not one of {', '.join(listed) or '(none defined)'}"


__all__ = ["API_NAMES", "NodeSpec", "World", "WorldError", "load_world", "parse_world", "schema"]

if __name__ == "__main__":
    sys.stdout.write(schema())
