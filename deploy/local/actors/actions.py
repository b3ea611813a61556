"""What an actor may decide to do, as plain values; and reading Kubernetes objects as JSON."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

#: A Kubernetes object, or a part of one, as decoded JSON.
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Create:
    """Create `body`."""

    kind: str
    body: Json


@dataclass(frozen=True, slots=True)
class PatchStatus:
    """Merge `status` into the status of the object with this uid."""

    kind: str
    namespace: str
    name: str
    uid: str
    status: Json


@dataclass(frozen=True, slots=True)
class Scale:
    """Set spec.replicas."""

    kind: str
    namespace: str
    name: str
    replicas: int


@dataclass(frozen=True, slots=True)
class Bind:
    """Bind a Pod to a node through pods/binding."""

    namespace: str
    name: str
    uid: str
    node: str


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete the object with this uid; `now` finishes a Pod's graceful deletion."""

    kind: str
    namespace: str
    name: str
    uid: str
    now: bool = False


Action = Create | PatchStatus | Scale | Bind | Delete


@dataclass(slots=True)
class View:
    """Every object last seen, by kind, then by (namespace, name)."""

    objects: dict[str, dict[tuple[str, str], Json]] = field(default_factory=dict)

    def all(self, kind: str) -> list[Json]:
        """The objects of `kind`, ordered by namespace and name."""
        return [obj for _, obj in sorted(self.objects.get(kind, {}).items())]

    def get(self, kind: str, namespace: str, name: str) -> Json | None:
        return self.objects.get(kind, {}).get((namespace, name))


def meta(obj: Mapping[str, Any]) -> Json:
    """metadata, never None."""
    found: Json = obj.get("metadata") or {}
    return found


def key(obj: Mapping[str, Any]) -> tuple[str, str]:
    """(namespace, name); the namespace of a cluster's object is empty."""
    return meta(obj).get("namespace") or "", meta(obj)["name"]


def deleting(obj: Mapping[str, Any]) -> bool:
    return bool(meta(obj).get("deletionTimestamp"))


def status_of(obj: Mapping[str, Any]) -> Json:
    """status, never None."""
    found: Json = obj.get("status") or {}
    return found


def controller_of(obj: Mapping[str, Any]) -> Json | None:
    """The ownerReference with controller=true."""
    owners: Iterable[Json] = meta(obj).get("ownerReferences") or []
    return next((owner for owner in owners if owner.get("controller")), None)


def ready(pod: Mapping[str, Any]) -> bool:
    """Whether a Pod is Ready and stays."""
    conditions = status_of(pod).get("conditions") or []
    return not deleting(pod) and any(
        condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions
    )


def terminal(pod: Mapping[str, Any]) -> bool:
    """Whether a Pod has run to its end."""
    return status_of(pod).get("phase") in ("Succeeded", "Failed")


def patch_if_changed(kind: str, obj: Json, wanted: Json) -> list[PatchStatus]:
    """A PatchStatus when some field of `wanted` differs from what the status says."""
    now = status_of(obj)
    if all(now.get(name) == value for name, value in wanted.items()):
        return []
    namespace, name = key(obj)
    return [PatchStatus(kind, namespace, name, meta(obj)["uid"], wanted)]
