"""What the server, not the client, decides about an object's `metadata`.

Rules as in k8s.io/apiserver `registry/rest` (BeforeCreate, BeforeUpdate).
"""

import copy
import re
from typing import Any

from deploy.local.kubernetes.catalog import ResourceType
from deploy.local.kubernetes.errors import (
    MODIFIED,
    ApiError,
    Json,
    bad_request,
    cause,
    conflict,
    invalid,
)
from deploy.local.kubernetes.requests import Request
from deploy.local.kubernetes.sources import Sources

_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_DNS_LABEL = re.compile(rf"^{_LABEL}$")
_DNS_SUBDOMAIN = re.compile(rf"^{_LABEL}(\.{_LABEL})*$")
_LOOSE_NAME = re.compile(r"^[^/%]+$")
_LABEL_VALUE = re.compile(r"^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$")
_QUALIFIED = re.compile(rf"^({_LABEL}(\.{_LABEL})*/)?([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]$")
_SUBDOMAIN_RULE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', "
    "and must start and end with an alphanumeric character"
)
_MAX_GENERATED = 58
_LOOSE_GROUPS = ("rbac.authorization.k8s.io",)
_SERVER_OWNED = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds",
                 "generation", "selfLink")  # fmt: skip


def decode(request: Request) -> Json:
    """The body as an object of the addressed kind; 400 where it is another.

    A missing apiVersion or kind is filled in, as typed decoding does.
    """
    body, found = request.body, request.type
    if not isinstance(body, dict):
        raise bad_request("the object provided is unrecognized (must be of type Object)")
    obj = copy.deepcopy(body)
    kind, version = (
        obj.setdefault("kind", found.kind),
        obj.setdefault("apiVersion", found.api_version),
    )
    if kind != found.kind or version != found.api_version:
        raise bad_request(
            f"the API version in the data ({version}, Kind={kind}) does not match the expected API "
            f"version ({found.api_version}, Kind={found.kind})"
        )
    if obj.get("metadata") is None:
        obj["metadata"] = {}
    check_types(obj)
    return obj


def check_types(obj: Json) -> None:
    """400 where metadata has a shape that can't be decoded (or stored)."""
    metadata = obj.get("metadata")
    if not isinstance(metadata, dict):
        raise bad_request("metadata must be an object")
    for field in ("labels", "annotations"):
        values = metadata.get(field)
        if values is None:
            metadata.pop(field, None)
        elif not isinstance(values, dict) or not all(isinstance(v, str) for v in values.values()):
            raise bad_request(f"metadata.{field} must be a map of strings to strings")
    for field, kind in (("finalizers", str), ("ownerReferences", dict), ("managedFields", dict)):
        items = metadata.get(field)
        if items is None:
            metadata.pop(field, None)
        elif not isinstance(items, list) or not all(isinstance(v, kind) for v in items):
            raise bad_request(f"metadata.{field} must be a list of {kind.__name__}")
    for field in ("name", "namespace", "generateName", "uid", "resourceVersion"):
        if not isinstance(metadata.get(field, ""), str):
            raise bad_request(f"metadata.{field} must be a string")


def for_create(obj: Json, request: Request, sources: Sources) -> None:
    """Names the new object and gives it uid, creationTimestamp and generation, in place."""
    metadata = obj["metadata"]
    if metadata.get("resourceVersion"):
        raise bad_request("resourceVersion should not be set on objects to be created")
    for field in (*_SERVER_OWNED, "resourceVersion"):
        metadata.pop(field, None)
    given = metadata.get("namespace")
    if request.type.namespaced:
        if given and given != request.namespace:
            raise bad_request(
                f"the namespace of the provided object does not match the namespace sent on the "
                f"request ({given!r} is not {request.namespace!r})"
            )
        metadata["namespace"] = request.namespace
    elif given:
        raise bad_request("namespace must not be set on a cluster-scoped object")
    if not metadata.get("name") and metadata.get("generateName"):
        metadata["name"] = metadata["generateName"][:_MAX_GENERATED] + sources.suffix()
    if request.name and metadata.setdefault("name", request.name) != request.name:
        raise _name_mismatch(metadata["name"], request.name)
    check(obj, request.type)
    metadata["uid"] = sources.uid()
    metadata["creationTimestamp"] = sources.stamp()
    if request.type.generation:
        metadata["generation"] = 1


def _name_mismatch(given: str, wanted: str) -> ApiError:
    return bad_request(
        f"the name of the object ({given}) does not match the name on the URL ({wanted})"
    )


def check(obj: Json, found: ResourceType) -> None:
    """422 for a missing or unusable name, and for labels or annotations no server would take."""
    metadata, causes = obj["metadata"], []
    name = metadata.get("name") or ""
    if not name:
        causes.append(
            cause("FieldValueRequired", "metadata.name",
                  "Required value: name or generateName is required")
        )  # fmt: skip
    else:
        rule = _DNS_LABEL if found.kind == "Namespace" else _DNS_SUBDOMAIN
        if found.group in _LOOSE_GROUPS:
            rule = _LOOSE_NAME
        if not rule.match(name) or len(name) > 253:
            text = f'Invalid value: "{name}": {_SUBDOMAIN_RULE}'
            causes.append(cause("FieldValueInvalid", "metadata.name", text))
    for key, value in (metadata.get("labels") or {}).items():
        if not _QUALIFIED.match(key):
            text = f'Invalid value: "{key}": name part must consist of alphanumeric characters'
            causes.append(cause("FieldValueInvalid", "metadata.labels", text))
        if not _LABEL_VALUE.match(value) or len(value) > 63:
            text = f'Invalid value: "{value}": a valid label must be an empty string or consist of '
            text += "alphanumeric characters, '-', '_' or '.', at most 63 of them"
            causes.append(cause("FieldValueInvalid", "metadata.labels", text))
    for key in metadata.get("annotations") or {}:
        if not _QUALIFIED.match(key.lower()):
            text = f'Invalid value: "{key}": name part must consist of alphanumeric characters'
            causes.append(cause("FieldValueInvalid", "metadata.annotations", text))
    if causes:
        raise invalid(found.group, found.kind, name, causes)


def for_update(new: Json, live: Json, request: Request) -> None:
    """Keeps what a client can't change, in place; 400/409/422 where the write contradicts `live`."""
    metadata, old, found = new["metadata"], live["metadata"], request.type
    name = metadata.setdefault("name", old["name"])
    if name != old["name"]:
        raise _name_mismatch(name, old["name"])
    if metadata.get("namespace", old.get("namespace")) != old.get("namespace"):
        raise bad_request(
            "the namespace of the provided object does not match the namespace on the URL"
        )
    if "namespace" in old:
        metadata["namespace"] = old["namespace"]
    version = metadata.get("resourceVersion")
    if version and version != old["resourceVersion"]:
        raise conflict(found.group, found.plural, name, MODIFIED)
    if metadata.get("uid") and metadata["uid"] != old["uid"]:
        why = f"Precondition failed: UID in precondition: {metadata['uid']}, UID in object meta: {old['uid']}"
        raise conflict(found.group, found.plural, name, why)
    for field in _SERVER_OWNED:
        metadata.pop(field, None)
        if field in old:
            metadata[field] = old[field]
    metadata["resourceVersion"] = old["resourceVersion"]
    added = set(metadata.get("finalizers") or ()) - set(old.get("finalizers") or ())
    if added and "deletionTimestamp" in old:
        text = (
            "Forbidden: no new finalizers can be added if the object is being deleted, found new "
        )
        text += f"finalizers {sorted(added)}"
        raise invalid(found.group, found.kind, name,
                      [cause("FieldValueForbidden", "metadata.finalizers", text)])  # fmt: skip
    check(new, found)


def tidy(obj: Json) -> None:
    """Drops empty metadata collections, which typed objects would omit, in place."""
    metadata: dict[str, Any] = obj["metadata"]
    for field in ("labels", "annotations", "finalizers", "ownerReferences", "managedFields"):
        if field in metadata and not metadata[field]:
            del metadata[field]


def bump_generation(new: Json, live: Json, found: ResourceType) -> None:
    """Counts a change of anything but metadata and status, in place."""
    if not found.generation:
        return
    ignored = {"metadata", "status"} if found.status else {"metadata"}
    before = {key: value for key, value in live.items() if key not in ignored}
    after = {key: value for key, value in new.items() if key not in ignored}
    if before != after:
        new["metadata"]["generation"] = live["metadata"].get("generation", 0) + 1
