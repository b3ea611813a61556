"""The Kubernetes port over HTTP: one request per call, configured and authenticated by
lightkube."""

import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, Final

import httpx2
import structlog

from consumers.kube import wire
from consumers.kube.names import (
    API_VERSION,
    KIND_PODENI,
    KIND_PODNETWORKING,
    REPORTING_CONTROLLER,
    SYSTEM_NAMESPACE,
)
from consumers.kube.port import (
    EventNote,
    KubeError,
    KubeObject,
    NotFound,
    ObjectRef,
    PodAnswer,
)
from consumers.kube.resources import (
    CONFIG_MAPS,
    DEPLOYMENTS,
    EVENTS,
    LEASES,
    NAMESPACES,
    NODES,
    PODENIS,
    PODNETWORKINGS,
    PODS,
    Resource,
)
from consumers.runtime.settings import KubeSettings

_log = structlog.get_logger(__name__)

NOTE_BYTES_MAX: Final = 1024  # events.k8s.io/v1: note
NAME_MAX: Final = 253


class LightkubeAdapter:
    """Implements `consumers.kube.port.Kube`. Safe to use from several threads; close() it at the
    end.

    `instance` names this process in events; `now` and `new_id` are injected.
    """

    def __init__(
        self,
        client: httpx2.Client,
        *,
        instance: str = "eni-ledger",
        page_size: int = 500,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        new_id: Callable[[], str] = lambda: uuid.uuid4().hex[:16],
    ) -> None:
        self._client = client
        self._instance = instance
        self._page_size = page_size
        self._now = now
        self._new_id = new_id

    @classmethod
    def from_settings(
        cls, settings: KubeSettings, *, instance: str = "eni-ledger"
    ) -> "LightkubeAdapter":
        """Connected as the settings say. Raises wire.KubeConfigError."""
        return cls(wire.connect(settings), instance=instance, page_size=settings.page_size)

    def close(self) -> None:
        """Release the connections."""
        self._client.close()

    # --- looks ------------------------------------------------------------------------------------

    def cluster_uid(self) -> str:
        """See Kube.cluster_uid. Raises NotFound if there is no kube-system: not a cluster."""
        target = _target(NAMESPACES, SYSTEM_NAMESPACE)
        found = self._call("get", target, "GET", NAMESPACES.path(name=SYSTEM_NAMESPACE))
        return str(found["metadata"]["uid"])

    def look_at_pod(self, namespace: str, name: str) -> PodAnswer:
        """See Kube.look_at_pod. A list of one, because only a list tells its version of nothing."""
        target = _target(PODS, name, namespace)
        narrowed = {"fieldSelector": f"metadata.name={name}"}
        listed = self._call("list", target, "GET", PODS.path(namespace), parameters=narrowed)
        try:
            version = int(listed["metadata"]["resourceVersion"])
            pod = _the_one(name, listed["items"] or [])
        except (KeyError, ValueError, TypeError) as malformed:
            # What is read here as absence ends a network: an answer that is not plainly one is none.
            cause = ValueError(f"not a list of that Pod: {malformed!r}")
            raise wire.unreachable("list", target, cause) from malformed
        return PodAnswer(pod, version)

    def get_podeni(self, namespace: str, name: str) -> KubeObject | None:
        """See Kube.get_podeni."""
        return self._look(PODENIS, name, namespace)

    def get_podnetworking(self, name: str) -> KubeObject | None:
        """See Kube.get_podnetworking."""
        return self._look(PODNETWORKINGS, name)

    def get_node(self, name: str) -> KubeObject | None:
        """See Kube.get_node."""
        return self._look(NODES, name)

    def get_deployment(self, namespace: str, name: str) -> KubeObject | None:
        """See Kube.get_deployment."""
        return self._look(DEPLOYMENTS, name, namespace)

    def get_lease(self, namespace: str, name: str) -> KubeObject | None:
        """See Kube.get_lease."""
        return self._look(LEASES, name, namespace)

    def get_config_map(self, namespace: str, name: str) -> KubeObject | None:
        """See Kube.get_config_map."""
        return self._look(CONFIG_MAPS, name, namespace)

    def list_podenis(self) -> Iterator[KubeObject]:
        """See Kube.list_podenis."""
        parameters = {"limit": str(self._page_size)}
        while True:
            page = self._call("list", PODENIS.rbac, "GET", PODENIS.path(), parameters=parameters)
            for item in page.get("items") or ():
                yield {"apiVersion": API_VERSION, "kind": KIND_PODENI} | item
            token = page.get("metadata", {}).get("continue")
            if not token:
                return
            parameters["continue"] = token

    def _look(self, resource: Resource, name: str, namespace: str = "") -> KubeObject | None:
        # No resourceVersion parameter: that is what makes a GET a quorum read.
        target = _target(resource, name, namespace)
        try:
            return self._call("get", target, "GET", resource.path(namespace, name))
        except NotFound as missing:
            if missing.resource_missing:
                raise
            return None

    # --- writes -----------------------------------------------------------------------------------

    def create_podeni(self, obj: KubeObject) -> KubeObject:
        """See Kube.create_podeni."""
        whole = {"apiVersion": API_VERSION, "kind": KIND_PODENI} | obj
        namespace, name = obj["metadata"]["namespace"], obj["metadata"]["name"]
        target = _target(PODENIS, name, namespace)
        return self._call("create", target, "POST", PODENIS.path(namespace), body=whole)

    def replace_podeni(self, obj: KubeObject) -> KubeObject:
        """See Kube.replace_podeni."""
        return self._replace(PODENIS, KIND_PODENI, obj)

    def replace_podeni_status(self, obj: KubeObject) -> KubeObject:
        """See Kube.replace_podeni_status."""
        return self._replace(PODENIS, KIND_PODENI, obj, "status")

    def replace_podnetworking_status(self, obj: KubeObject) -> KubeObject:
        """See Kube.replace_podnetworking_status."""
        return self._replace(PODNETWORKINGS, KIND_PODNETWORKING, obj, "status")

    def delete_podeni(self, namespace: str, name: str, uid: str, resource_version: str) -> None:
        """See Kube.delete_podeni."""
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": {"uid": uid, "resourceVersion": resource_version},
        }
        target = _target(PODENIS, name, namespace)
        self._call("delete", target, "DELETE", PODENIS.path(namespace, name), body=options)

    def _replace(
        self, resource: Resource, kind: str, obj: KubeObject, subresource: str = ""
    ) -> KubeObject:
        metadata = obj["metadata"]
        namespace, name = metadata.get("namespace", ""), metadata["name"]
        target = _target(resource, name, namespace, subresource)
        if not metadata.get("resourceVersion"):
            raise ValueError(
                f"{target} without metadata.resourceVersion would overwrite whatever is there: "
                "read it first, and replace what was read"
            )
        whole = {"apiVersion": API_VERSION, "kind": kind} | obj
        path = resource.path(namespace, name, subresource)
        return self._call("update", target, "PUT", path, body=whole)

    # --- events -----------------------------------------------------------------------------------

    def publish_event(self, note: EventNote) -> None:
        """See Kube.publish_event."""
        namespace = note.regarding.namespace or "default"
        name = f"{note.regarding.name[: NAME_MAX - 17]}.{self._new_id()}"
        moment = self._now().astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        body: KubeObject = {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": namespace},
            "eventTime": moment,
            "type": note.type,
            "reason": note.reason,
            "action": note.action,
            "note": note.note.encode()[:NOTE_BYTES_MAX].decode(errors="ignore"),
            "reportingController": f"{REPORTING_CONTROLLER}/{note.room}",
            "reportingInstance": self._instance[:128],
            "regarding": _reference(note.regarding),
        }
        if note.related is not None:
            body["related"] = _reference(note.related)
        try:
            target = _target(EVENTS, name, namespace)
            self._call("create", target, "POST", EVENTS.path(namespace), body=body)
        except KubeError as failure:
            _log.warning("event not published", reason=note.reason, cause=str(failure))

    # --- HTTP -------------------------------------------------------------------------------------

    def _call(
        self,
        verb: str,
        target: str,
        method: str,
        path: str,
        *,
        parameters: dict[str, str] | None = None,
        body: Any = None,
    ) -> KubeObject:
        """One request. `verb` is RBAC's; raises KubeError for everything but a success."""
        return wire.exchange(
            self._client, verb, target, method, path, parameters=parameters, body=body
        )


def _target(resource: Resource, name: str, namespace: str = "", subresource: str = "") -> str:
    """`podenis.network.alibabacloud.com/status example/web-0`: resource as RBAC names it, then
    object."""
    named = f"{resource.rbac}/{subresource}" if subresource else resource.rbac
    return f"{named} {namespace}/{name}" if namespace else f"{named} {name}"


def _the_one(name: str, pods: list[KubeObject]) -> KubeObject | None:
    """The Pod of that name, or None for no Pod at all. Raises ValueError for anything else."""
    if not pods:
        return None
    if [pod["metadata"]["name"] for pod in pods] != [name]:
        raise ValueError("it holds other Pods than the one asked for")
    return {"apiVersion": "v1", "kind": "Pod"} | pods[0]


def _reference(ref: ObjectRef) -> KubeObject:
    named = {
        "apiVersion": ref.api_version,
        "kind": ref.kind,
        "name": ref.name,
        "namespace": ref.namespace,
        "uid": ref.uid,
    }
    return {key: value for key, value in named.items() if value}
