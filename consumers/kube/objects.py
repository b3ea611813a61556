"""Any object of the Kubernetes API by its resource: what a command does that no process needs.

Synchronous, one request a call, over the same authenticated client as the port's adapter.
"""

from collections.abc import Iterator
from typing import Any, Final

import httpx2

from consumers.kube import wire
from consumers.kube.port import KubeObject, NotFound
from consumers.kube.resources import Resource

PAGE: Final = 500


class Objects:
    """Looks and writes. Every method raises KubeError; see `consumers.kube.port` for the kinds."""

    def __init__(self, client: httpx2.Client) -> None:
        self._client = client

    def get(self, resource: Resource, name: str, namespace: str = "") -> KubeObject | None:
        """A live look; None: not there, or the resource is not installed."""
        try:
            return self._call("get", resource, "GET", namespace, name)
        except NotFound:
            return None

    def list(self, resource: Resource) -> Iterator[KubeObject]:
        """All of them, page by page, from a consistent list; none where it is not installed."""
        parameters = {"limit": str(PAGE)}
        while True:
            try:
                page = self._call("list", resource, "GET", parameters=parameters)
            except NotFound:
                return
            yield from page.get("items") or ()
            token = page.get("metadata", {}).get("continue")
            if not token:
                return
            parameters["continue"] = token

    def create(self, resource: Resource, obj: KubeObject) -> KubeObject:
        """Create; returns what the server stored."""
        namespace = obj["metadata"].get("namespace", "")
        return self._call("create", resource, "POST", namespace, body=obj)

    def replace(self, resource: Resource, obj: KubeObject, subresource: str = "") -> KubeObject:
        """Replace what was read: metadata.resourceVersion is the precondition. Raises Conflict."""
        metadata = obj["metadata"]
        where = (metadata.get("namespace", ""), metadata["name"], subresource)
        if not metadata.get("resourceVersion"):
            raise ValueError(f"{resource.rbac} {metadata['name']} without resourceVersion")
        return self._call("update", resource, "PUT", *where, body=obj)

    def delete(self, resource: Resource, obj: KubeObject, *, unchanged: bool = False) -> None:
        """Delete that very object (by its uid); gone already is as good.

        `unchanged`: only as it was read. Raises Conflict where somebody has written it since.
        """
        metadata = obj["metadata"]
        wanted = {"uid": metadata["uid"]}
        if unchanged:
            wanted["resourceVersion"] = metadata["resourceVersion"]
        where = (metadata.get("namespace", ""), metadata["name"])
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": wanted,
        }
        try:
            self._call("delete", resource, "DELETE", *where, body=options)
        except NotFound:
            return

    def _call(
        self,
        verb: str,
        resource: Resource,
        method: str,
        namespace: str = "",
        name: str = "",
        subresource: str = "",
        *,
        parameters: dict[str, str] | None = None,
        body: Any = None,
    ) -> KubeObject:
        named = f"{resource.rbac}/{subresource}" if subresource else resource.rbac
        target = f"{named} {namespace}/{name}" if namespace else f"{named} {name}".rstrip()
        path = resource.path(namespace, name, subresource)
        return wire.exchange(
            self._client, verb, target, method, path, parameters=parameters, body=body
        )
