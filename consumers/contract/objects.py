"""What of a Kubernetes object may cross Kafka: one pydantic model per entity, keeping only the
fields in use.

Everything a model does not name is dropped by `trim`, so environment variables, volumes, secrets
and `managedFields` never survive an encode or a decode. PodNetworking and PodENI are kept whole
(spec and status), also with fields we do not know yet: they hold no secrets and are what this
system is about.
"""

import re
from typing import Annotated, Any, Final

import msgspec
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic.alias_generators import to_camel

from consumers.contract.topics import Entity

#: The annotations that anything of ours reads, and those the incumbent may add. Rejected: keeping all but
#: those whose names speak of secrets; people put keys, and whole manifests, under any name.
_OUR_ANNOTATION: Final = re.compile(r"([a-z0-9-]+\.)*(aliyun|alibabacloud)\.com/.*", re.DOTALL)
_SENSITIVE: Final = re.compile(r"secret|token|password", re.IGNORECASE)
_OUR_RESOURCE: Final = re.compile(r"aliyun/.*")

#: The keys of eni-config's `eni_conf` that anything of ours reads (reference §9). An allow list,
#: because the same document may hold access_key, access_secret and credential_path.
ENI_CONF_KEYS: Final = (
    "vswitches",
    "security_group",
    "security_groups",
    "enable_eni_trunking",
    "ip_stack",
    "ipam_type",
    "eni_tags",
    "resource_group_id",
    "vswitch_selection_policy",
    "rate_limit",
    "custom_stateful_workload_kinds",
    "max_pool_size",
    "min_pool_size",
)

Labels = dict[str, str] | None
Name = Annotated[
    str, Field(min_length=1, max_length=253, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")
]
Uid = Annotated[str, Field(min_length=1, max_length=128)]


class ObjectError(ValueError):
    """The object does not have the shape its kind promises; the text names path and cause."""


class _Trimmed(BaseModel):
    """Drops what it does not name."""

    model_config = ConfigDict(
        strict=True, extra="ignore", alias_generator=to_camel, populate_by_name=True
    )


class _Whole(BaseModel):
    """Checks what it names and keeps the rest."""

    model_config = ConfigDict(
        strict=True, extra="allow", alias_generator=to_camel, populate_by_name=True
    )


class OwnerReference(_Trimmed):
    api_version: str
    kind: str
    name: str
    uid: str
    controller: bool | None = None


class ObjectMeta(_Trimmed):
    """Of every entity. Times stay RFC 3339 text, as the API has them: nothing here orders by
    them."""

    name: Name
    namespace: Name | None = None
    uid: Uid
    resource_version: str | None = None
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    labels: Labels = None
    annotations: Labels = None
    owner_references: list[OwnerReference] | None = None
    finalizers: list[str] | None = None

    @field_validator("annotations")
    @classmethod
    def _ours_and_not_sensitive(cls, annotations: Labels) -> Labels:
        if annotations is None:
            return None
        return {
            name: value
            for name, value in annotations.items()
            if _OUR_ANNOTATION.fullmatch(name) and not _SENSITIVE.search(name)
        }


# --- Pod ------------------------------------------------------------------------------------------

Quantity = str | int | float


class ContainerResources(_Trimmed):
    requests: dict[str, Quantity] | None = None
    limits: dict[str, Quantity] | None = None


class Container(_Trimmed):
    name: str
    resources: ContainerResources | None = None


class PodSpec(_Trimmed):
    node_name: str | None = None
    host_network: bool | None = None
    containers: list[Container] | None = None


class PodIp(_Trimmed):
    ip: str


class PodStatus(_Trimmed):
    phase: str | None = None
    reason: str | None = None
    pod_ip: str | None = Field(default=None, alias="podIP")
    pod_ips: list[PodIp] | None = Field(default=None, alias="podIPs")


class Pod(_Trimmed):
    metadata: ObjectMeta
    spec: PodSpec | None = None
    status: PodStatus | None = None


# --- Node -----------------------------------------------------------------------------------------


class NodeSpec(_Trimmed):
    provider_id: str | None = Field(default=None, alias="providerID")
    unschedulable: bool | None = None


class NodeStatus(_Trimmed):
    allocatable: dict[str, Quantity] | None = None
    capacity: dict[str, Quantity] | None = None

    @field_validator("allocatable", "capacity")
    @classmethod
    def _ours_only(cls, quantities: dict[str, Quantity] | None) -> dict[str, Quantity] | None:
        if quantities is None:
            return None
        return {name: value for name, value in quantities.items() if _OUR_RESOURCE.fullmatch(name)}


class Node(_Trimmed):
    metadata: ObjectMeta
    spec: NodeSpec | None = None
    status: NodeStatus | None = None


# --- PodNetworking (reference §1.1) ---------------------------------------------------------------


class AllocationType(_Whole):
    type: str | None = None
    release_strategy: str | None = None
    release_after: str | None = None


class EniOptions(_Whole):
    eni_type: str | None = None


class Selector(_Whole):
    """Absent and empty differ: an empty label selector matches everything, an absent one
    nothing."""

    pod_selector: dict[str, Any] | None = None
    namespace_selector: dict[str, Any] | None = None


class VSwitchSelectOptions(_Whole):
    policy: str | None = Field(default=None, alias="vSwitchSelectionPolicy")


class PodNetworkingSpec(_Whole):
    eni_options: EniOptions | None = None
    allocation_type: AllocationType | None = None
    selector: Selector | None = None
    security_group_ids: list[str] | None = Field(default=None, alias="securityGroupIDs")
    vswitch_options: list[str] | None = Field(default=None, alias="vSwitchOptions")
    vswitch_select_options: VSwitchSelectOptions | None = Field(
        default=None, alias="vSwitchSelectOptions"
    )


class VSwitchStatus(_Whole):
    id: str
    zone: str | None = None


class PodNetworkingStatus(_Whole):
    status: str | None = None
    vswitches: list[VSwitchStatus] | None = Field(default=None, alias="vSwitches")
    update_at: str | None = None
    message: str | None = None


class PodNetworking(_Trimmed):
    metadata: ObjectMeta
    spec: PodNetworkingSpec | None = None
    status: PodNetworkingStatus | None = None


# --- PodENI (reference §1.2) ----------------------------------------------------------------------


class AllocationEni(_Whole):
    id: str | None = None
    mac: str | None = None
    zone: str | None = None
    vpc_id: str | None = Field(default=None, alias="vpcID")
    vswitch_id: str | None = Field(default=None, alias="vSwitchID")
    resource_group_id: str | None = Field(default=None, alias="resourceGroupID")
    security_group_ids: list[str] | None = Field(default=None, alias="securityGroupIDs")


class Allocation(_Whole):
    allocation_type: AllocationType | None = None
    eni: AllocationEni | None = None
    ipv4: str | None = None
    ipv6: str | None = None
    ipv4_cidr: str | None = Field(default=None, alias="ipv4CIDR")
    ipv6_cidr: str | None = Field(default=None, alias="ipv6CIDR")
    interface: str | None = None
    default_route: bool | None = None


class PodEniSpec(_Whole):
    zone: str | None = None
    allocations: list[Allocation] | None = None


class EniInfo(_Whole):
    id: str | None = None
    type: str | None = None
    vid: int | None = None
    status: str | None = None


class PodEniStatus(_Whole):
    phase: str | None = None
    instance_id: str | None = Field(default=None, alias="instanceID")
    trunk_eni_id: str | None = Field(default=None, alias="trunkENIID")
    msg: str | None = None
    pod_last_seen: str | None = None
    eni_infos: dict[str, EniInfo] | None = None


class PodEni(_Trimmed):
    metadata: ObjectMeta
    spec: PodEniSpec | None = None
    status: PodEniStatus | None = None


# --- Namespace and eni-config ---------------------------------------------------------------------


class Namespace(_Trimmed):
    metadata: ObjectMeta


class EniConfigData(_Trimmed):
    """`eniConf` is the JSON text of the allowed keys; absent where it was missing or not a JSON
    object."""

    eni_conf: str | None = Field(default=None, alias="eni_conf")

    @field_validator("eni_conf")
    @classmethod
    def _without_credentials(cls, text: str | None) -> str | None:
        if text is None:
            return None
        try:
            document = msgspec.json.decode(text)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            return None
        if not isinstance(document, dict):
            return None
        kept = {key: document[key] for key in ENI_CONF_KEYS if key in document}
        return msgspec.json.encode(kept).decode()


class EniConfig(_Trimmed):
    metadata: ObjectMeta
    data: EniConfigData | None = None


KubernetesModel = Pod | Node | PodNetworking | PodEni | Namespace | EniConfig

MODELS: Final[dict[Entity, type[BaseModel]]] = {
    "pod": Pod,
    "node": Node,
    "podnetworking": PodNetworking,
    "podeni": PodEni,
    "namespace": Namespace,
    "config": EniConfig,
}


def trim(entity: Entity, obj: object) -> dict[str, Any]:
    """The object with only the fields in use, in the API's own JSON shape (`{"metadata": …}`).

    Idempotent. Raises ObjectError naming the path and the cause if the shape is wrong.
    """
    try:
        model = MODELS[entity].model_validate(obj)
    except ValidationError as refused:
        first = refused.errors(include_url=False, include_input=False)[0]
        path = ".".join(str(part) for part in first["loc"]) or "(the object)"
        raise ObjectError(f"{entity}: {path}: {first['msg']}") from refused
    return model.model_dump(by_alias=True, exclude_none=True, exclude_unset=True)
