"""Kubernetes as the reconciler sees it: live looks, guarded writes, and the ways they can fail.

Synchronous on purpose: the reconciler calls it from a bounded thread pool, like the cloud port. One
call of this port is ONE attempt at the API server; retries belong to the caller, who has the
ledger to decide by. Objects are plain dicts in the API's own JSON shape, so that fields we do
not know survive a replace (an existing CRD may have fields ours lacks).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

#: A Kubernetes object, in the JSON shape of the API.
KubeObject = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ObjectRef:
    """Names one object for an event: what `kubectl describe` finds it by."""

    api_version: str
    kind: str
    name: str
    namespace: str = ""
    uid: str = ""

    @classmethod
    def of(cls, obj: Mapping[str, Any]) -> "ObjectRef":
        """The reference of an object that carries apiVersion, kind and metadata."""
        metadata = obj.get("metadata", {})
        return cls(
            api_version=obj.get("apiVersion", ""),
            kind=obj.get("kind", ""),
            name=metadata.get("name", ""),
            namespace=metadata.get("namespace", ""),
            uid=metadata.get("uid", ""),
        )


@dataclass(frozen=True, slots=True)
class PodAnswer:
    """What a live look at a Pod name found.

    Attributes:
        pod: the object, or None when there is none.
        resource_version: the cluster's at the look: every change up to it has been seen by it, the
            absence included. A plain GET of an absent object could not say so.
    """

    pod: KubeObject | None
    resource_version: int


@dataclass(frozen=True, slots=True)
class EventNote:
    """One events.k8s.io/v1 event.

    Attributes:
        regarding: the object `kubectl describe` shows it under.
        reason, action: the incumbent's words (reference §6.11).
        note: one sentence; cut to 1 kB by the adapter, as the API demands.
        room: ours, appended to the reporting controller: `eni-ledger/<room>`.
        related: a second object, usually the Pod of a PodENI.
    """

    regarding: ObjectRef
    reason: str
    action: str
    note: str
    room: str
    type: Literal["Normal", "Warning"] = "Normal"
    related: ObjectRef | None = None


class KubeError(Exception):
    """A call of the API server that did not succeed.

    Attributes:
        verb: as RBAC spells it: get, list, create, update, delete, watch.
        object: resource and name, for example `podenis.network.alibabacloud.com example/web-0`.
        code: HTTP status, 0 where there was none.
        reason: the Status reason, for example `Conflict`; empty where there was none.
        message: the cause, in the server's words or ours, and the next step where we know one.
    """

    def __init__(
        self, verb: str, object: str, *, code: int = 0, reason: str = "", message: str
    ) -> None:
        super().__init__(f"{verb} {object}: {code or 'no answer'} {reason}: {message}")
        self.verb = verb
        self.object = object
        self.code = code
        self.reason = reason
        self.message = message


class NotFound(KubeError):  # noqa: N818 - a fact about the cluster, read as one where it is caught
    """404: the object is not there; or the resource is not installed, which `resource_missing` says.

    The difference matters: an absent PodENI is one that somebody deleted, while a CRD that is gone
    says nothing about any object.
    """

    resource_missing: bool = False


class Conflict(KubeError):  # noqa: N818
    """409: a precondition (resourceVersion, uid) no longer holds: read again and decide again."""


class AlreadyExists(KubeError):  # noqa: N818
    """409 AlreadyExists: a create found the name taken."""


class Denied(KubeError):  # noqa: N818
    """401 or 403: the message names the RBAC verb and resource that are missing."""


class Throttled(KubeError):  # noqa: N818
    """429. `retry_after` is in seconds, as the server asked for; 1.0 where it said nothing."""

    def __init__(
        self,
        verb: str,
        object: str,
        *,
        code: int = 429,
        reason: str = "TooManyRequests",
        message: str,
        retry_after: float = 1.0,
    ) -> None:
        super().__init__(verb, object, code=code, reason=reason, message=message)
        self.retry_after = retry_after


class Unreachable(KubeError):  # noqa: N818
    """Timeouts, connection errors, 5xx: of a write, the outcome is UNKNOWN."""


class Kube(Protocol):
    """The calls. Any of them may raise a KubeError; what each raises beyond Denied, Throttled and
    Unreachable is said at it."""

    def cluster_uid(self) -> str:
        """The uid of namespace kube-system: which cluster am I talking to (P11: a wrong
        kubeconfig)."""
        ...

    def look_at_pod(self, namespace: str, name: str) -> PodAnswer:
        """A LIVE look (quorum read, never from a cache of ours or the server's)."""
        ...

    def get_podeni(self, namespace: str, name: str) -> KubeObject | None:
        """A live look; None: not there."""
        ...

    def create_podeni(self, obj: KubeObject) -> KubeObject:
        """Create; returns what the server stored. Raises AlreadyExists. Status is not written by
        it."""
        ...

    def replace_podeni(self, obj: KubeObject) -> KubeObject:
        """Replace metadata and spec; metadata.resourceVersion is the precondition and must be
        there.

        Raises Conflict and NotFound; ValueError if obj has no resourceVersion.
        """
        ...

    def replace_podeni_status(self, obj: KubeObject) -> KubeObject:
        """Replace the status subresource; the precondition is as in replace_podeni."""
        ...

    def delete_podeni(self, namespace: str, name: str, uid: str, resource_version: str) -> None:
        """Delete that very object as it was seen. Raises Conflict and NotFound."""
        ...

    def list_podenis(self) -> Iterator[KubeObject]:
        """All of them, page by page, from a consistent list."""
        ...

    def get_podnetworking(self, name: str) -> KubeObject | None:
        """A live look; None: not there."""
        ...

    def replace_podnetworking_status(self, obj: KubeObject) -> KubeObject:
        """Replace the status subresource; the precondition is as in replace_podeni."""
        ...

    def get_node(self, name: str) -> KubeObject | None:
        """A live look at a core Node; None: not there."""
        ...

    def get_deployment(self, namespace: str, name: str) -> KubeObject | None:
        """A live look at an apps/v1 Deployment; None: not there."""
        ...

    def get_lease(self, namespace: str, name: str) -> KubeObject | None:
        """A live look at a coordination.k8s.io/v1 Lease; None: not there."""
        ...

    def get_config_map(self, namespace: str, name: str) -> KubeObject | None:
        """A live look at a ConfigMap; None: not there."""
        ...

    def publish_event(self, note: EventNote) -> None:
        """Tell users, best effort: a failure is logged and never raised."""
        ...
