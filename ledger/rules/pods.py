"""Who a Pod is, as far as its network is concerned: identity, owner, phase and what it asks for.

The annotation and label names are the incumbent's (reference §1.2, §2): users, schedulers and the
node agent read and write them.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from ledger.rules.objects import (
    KubeObject,
    ObjectError,
    flag_at,
    list_at,
    mapping_at,
    resource_version,
    text_at,
    text_map_at,
)

POD_ENI = "k8s.aliyun.com/pod-eni"
POD_NETWORKING = "k8s.aliyun.com/pod-networking"
POD_NETWORKS = "k8s.aliyun.com/pod-networks"
POD_NETWORKS_REQUEST = "k8s.aliyun.com/pod-networks-request"
POD_UID = "k8s.aliyun.com/pod-uid"
IGNORE_BY_TERWAY = "k8s.aliyun.com/ignore-by-terway"

STATEFUL_KIND = "StatefulSet"

# What Go's strconv.ParseBool takes for true.
_GO_TRUE = frozenset({"1", "t", "T", "true", "TRUE", "True"})


class PodError(ObjectError):
    """The object can't be read as a Pod: names the Pod and the field."""


@dataclass(frozen=True, slots=True)
class Owner:
    """One entry of metadata.ownerReferences."""

    kind: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class PodFacts:
    """The fields of a Pod that decide about its network; nothing else of it is kept.

    `name` and `uid` are empty for a Pod still in admission under a generateName; `namespace` is
    empty where the API server leaves it to the request. `created` is RFC 3339 in UTC, as it came.
    """

    namespace: str
    name: str
    uid: str = ""
    resource_version: int | None = None
    node_name: str = ""
    host_network: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    owners: tuple[Owner, ...] = ()
    phase: str = ""
    reason: str = ""
    deleting: bool = False
    container_count: int = 0
    created: str = ""

    @classmethod
    def from_object(cls, obj: KubeObject) -> "PodFacts":
        """Read a Pod, whole or trimmed to these fields. Raises PodError for wrong types."""
        try:
            return cls(
                namespace=text_at(obj, "metadata", "namespace"),
                name=text_at(obj, "metadata", "name"),
                uid=text_at(obj, "metadata", "uid"),
                resource_version=resource_version(obj),
                node_name=text_at(obj, "spec", "nodeName"),
                host_network=flag_at(obj, "spec", "hostNetwork"),
                labels=text_map_at(obj, "metadata", "labels"),
                annotations=text_map_at(obj, "metadata", "annotations"),
                owners=_owners(obj),
                phase=text_at(obj, "status", "phase"),
                reason=text_at(obj, "status", "reason"),
                deleting=bool(text_at(obj, "metadata", "deletionTimestamp")),
                container_count=len(list_at(obj, "spec", "containers")),
                created=text_at(obj, "metadata", "creationTimestamp"),
            )
        except ObjectError as wrong:
            raise PodError(f"Pod {_name_for_people(obj)}: {wrong}") from wrong

    @property
    def sandbox_exited(self) -> bool:
        """Succeeded or Failed (an evicted Pod is Failed): its network is no longer in use."""
        return self.phase in ("Succeeded", "Failed")

    @property
    def wants_pod_eni(self) -> bool:
        """The annotation pod-eni holds what Go reads as true."""
        return self.annotations.get(POD_ENI, "") in _GO_TRUE

    @property
    def ignored(self) -> bool:
        """Never ours: on the host's network, or opted out by its label (exactly "true")."""
        return self.host_network or self.labels.get(IGNORE_BY_TERWAY) == "true"

    @property
    def takes_part(self) -> bool:
        """Whether it is to have ENIs of ours at all."""
        return self.wants_pod_eni and not self.ignored

    @property
    def owner_kinds(self) -> frozenset[str]:
        return frozenset(owner.kind for owner in self.owners)


def is_fixed_name(pod: PodFacts, custom_kinds: Collection[str] = ()) -> bool:
    """Whether the Pod comes back under its own name, so that a fixed IP makes sense.

    True for a Pod without any owner and for one with an owner of kind StatefulSet or one of
    `custom_kinds`; kinds compare as text, API groups are not looked at (reference §2.2).
    """
    if not pod.owners:
        return True
    return not pod.owner_kinds.isdisjoint({STATEFUL_KIND, *custom_kinds})


def _owners(obj: KubeObject) -> tuple[Owner, ...]:
    owners = []
    for at, reference in enumerate(list_at(obj, "metadata", "ownerReferences")):
        if not isinstance(reference, Mapping):
            raise ObjectError(f"metadata.ownerReferences[{at}] is not a map")
        owners.append(
            Owner(
                kind=text_at(reference, "kind"),
                name=text_at(reference, "name"),
                uid=text_at(reference, "uid"),
            )
        )
    return tuple(owners)


def _name_for_people(obj: KubeObject) -> str:
    try:
        metadata = mapping_at(obj, "metadata")
    except ObjectError:
        return "without metadata"
    name = metadata.get("name") or metadata.get("generateName") or "without a name"
    return f"{metadata.get('namespace') or '?'}/{name}"
