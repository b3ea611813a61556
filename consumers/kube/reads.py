"""Plain looks at any resource, for those who look at many kinds: explaining and the doctor.

The reconciler's port names each of its calls instead, because the simulator plays every one of them.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import httpx2
from lightkube.core.exceptions import ConfigError

from consumers.kube import wire
from consumers.kube.port import KubeObject, NotFound
from consumers.kube.resources import Resource

PAGE_SIZE: Final = 500
MERGE_PATCH: Final = "application/merge-patch+json"
#: Name, labels and the rest of metadata, and nothing of what the object holds: for Secrets.
METADATA_ONLY: Final = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"


def ask(
    client: httpx2.Client,
    verb: str,
    target: str,
    path: str,
    *,
    method: str = "GET",
    parameters: Mapping[str, str] | None = None,
    body: Any = None,
    headers: Mapping[str, str] | None = None,
) -> httpx2.Response:
    """One request and its successful answer. `verb` is RBAC's; raises KubeError for the rest."""
    extra = {} if body is None else {"json": body}
    try:
        response = client.request(method, path, params=parameters, headers=headers, **extra)
    except (httpx2.HTTPError, ConfigError) as failure:
        raise wire.unreachable(verb, target, failure) from failure
    if not response.is_success:
        raise wire.refused_response(verb, target, response)
    return response


def get_object(
    client: httpx2.Client,
    resource: Resource,
    name: str,
    namespace: str = "",
    *,
    metadata_only: bool = False,
) -> KubeObject | None:
    """A live look at one object; None: not there (or its kind is not installed)."""
    target = _target(resource, name, namespace)
    headers = {"Accept": METADATA_ONLY} if metadata_only else None
    try:
        response = ask(client, "get", target, resource.path(namespace, name), headers=headers)
    except NotFound:
        return None
    return wire.decode_object("get", target, response.content)


def list_objects(
    client: httpx2.Client,
    resource: Resource,
    namespace: str = "",
    parameters: Mapping[str, str] | None = None,
) -> Iterator[KubeObject]:
    """All of them, page by page. Raises NotFound where the kind is not installed."""
    asked = {"limit": str(PAGE_SIZE), **(parameters or {})}
    while True:
        response = ask(client, "list", resource.rbac, resource.path(namespace), parameters=asked)
        page = wire.decode_object("list", resource.rbac, response.content)
        yield from page.get("items") or ()
        token = (page.get("metadata") or {}).get("continue")
        if not token:
            return
        asked["continue"] = token


def merge_patch(
    client: httpx2.Client,
    resource: Resource,
    name: str,
    namespace: str,
    change: Any,
    resource_version: str,
) -> KubeObject:
    """Change what `change` names and nothing else, of that very version of the object.

    Returns what the server stored. Raises Conflict when somebody else changed it meanwhile.
    """
    target = _target(resource, name, namespace)
    whole = {**change, "metadata": {"resourceVersion": resource_version}}
    response = ask(
        client,
        "patch",
        target,
        resource.path(namespace, name),
        method="PATCH",
        body=whole,
        headers={"Content-Type": MERGE_PATCH},
    )
    return wire.decode_object("patch", target, response.content)


def delete_that_one(
    client: httpx2.Client, resource: Resource, name: str, namespace: str, uid: str
) -> None:
    """Delete the object of that name and uid. Raises NotFound, and Conflict for another uid."""
    target = _target(resource, name, namespace)
    options = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": uid}}
    path = resource.path(namespace, name)
    ask(client, "delete", target, path, method="DELETE", body=options)


def _target(resource: Resource, name: str, namespace: str) -> str:
    return f"{resource.rbac} {namespace}/{name}" if namespace else f"{resource.rbac} {name}"
