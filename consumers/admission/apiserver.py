"""The few calls of the Kubernetes API that the webhook's own Secret and configurations need."""

from typing import Final

import httpx2
from lightkube.core.exceptions import ConfigError

from consumers.kube import wire
from consumers.kube.port import KubeObject, NotFound
from consumers.kube.resources import MUTATING_WEBHOOKS, VALIDATING_WEBHOOKS, Resource

MUTATING: Final = MUTATING_WEBHOOKS
VALIDATING: Final = VALIDATING_WEBHOOKS


class ApiServer:
    """One attempt per call; every failure is a KubeError (consumers.kube.port)."""

    def __init__(self, client: httpx2.AsyncClient) -> None:
        self._client = client

    async def get(self, resource: Resource, name: str, namespace: str = "") -> KubeObject | None:
        """The object; None when it doesn't exist."""
        target = _target(resource, name, namespace)
        try:
            return await self._call("get", target, "GET", resource.path(namespace, name))
        except NotFound:
            return None

    async def create(self, resource: Resource, obj: KubeObject) -> KubeObject:
        """Create; returns what the server stored. Raises AlreadyExists."""
        name, namespace = _identity(obj)
        target = _target(resource, name, namespace)
        return await self._call("create", target, "POST", resource.path(namespace), obj)

    async def replace(self, resource: Resource, obj: KubeObject) -> KubeObject:
        """Replace what was read, guarded by its resourceVersion. Raises Conflict and NotFound."""
        name, namespace = _identity(obj)
        target = _target(resource, name, namespace)
        return await self._call("update", target, "PUT", resource.path(namespace, name), obj)

    async def _call(
        self, verb: str, target: str, method: str, path: str, body: KubeObject | None = None
    ) -> KubeObject:
        try:
            response = await self._client.request(method, path, json=body)
        except (httpx2.HTTPError, ConfigError) as failure:
            raise wire.unreachable(verb, target, failure) from failure
        if not response.is_success:
            raise wire.refused_response(verb, target, response)
        return wire.decode_object(verb, target, response.content)


def _identity(obj: KubeObject) -> tuple[str, str]:
    metadata = obj["metadata"]
    return metadata["name"], metadata.get("namespace", "")


def _target(resource: Resource, name: str, namespace: str) -> str:
    return f"{resource.rbac} {namespace}/{name}" if namespace else f"{resource.rbac} {name}"
