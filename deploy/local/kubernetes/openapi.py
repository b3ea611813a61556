"""The OpenAPI v3 documents that kubectl reads: for `explain`, and to see that the server validates fields.

Schemas of custom resources come from their CRDs, those of built-in kinds from the typed models of
`lightkube-models`, with the descriptions those carry. There is no OpenAPI v2 document (404).
"""

import copy
import hashlib
import re
import typing
from datetime import datetime
from functools import lru_cache
from typing import Any

import msgspec

from deploy.local.kubernetes import decoding
from deploy.local.kubernetes.catalog import ResourceType
from deploy.local.kubernetes.errors import Json
from deploy.local.kubernetes.registry import Registry

_GVK = "x-kubernetes-group-version-kind"
_PREFIX = "io.k8s.api"
_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
_PARAMETER = re.compile(r"^ {6}\* \*\*(\S+)\*\* ``.*?`` - (.*)$")


def document(registry: Registry, parts: list[str]) -> Json | None:
    """`/openapi/v3` and what it lists; None where there is nothing."""
    if parts == ["v3"]:
        return {
            "paths": {
                path: {"serverRelativeURL": _url(registry, path)} for path in _paths(registry)
            }
        }
    if parts[:1] != ["v3"] or "/".join(parts[1:]) not in _paths(registry):
        return None
    group, version = ("", parts[2]) if parts[1] == "api" else (parts[2], parts[3])
    served = registry.of_version(group, version)
    schemas: Json = {}
    paths: Json = {}
    for found in served:
        name = _schema(found, schemas)
        paths.update(_operations(found, name))
    info = {"title": "Kubernetes (simulated)", "version": "v1.36.3"}
    return {"openapi": "3.0.0", "info": info, "paths": paths, "components": {"schemas": schemas}}


def _paths(registry: Registry) -> list[str]:
    return [
        f"apis/{group}/{version}" if group else f"api/{version}"
        for group, versions in registry.groups().items()
        for version in versions
    ]


def _url(registry: Registry, path: str) -> str:
    """The address carries a hash of the content, so that clients may cache it for good."""
    group, version = ("", path.split("/")[1]) if path.startswith("api/") else path.split("/")[1:]
    digest = hashlib.sha256()
    for found in registry.of_version(group, version):
        digest.update(msgspec.json.encode([found.plural, found.kind, found.schema]))
    return f"/openapi/v3/{path}?hash={digest.hexdigest()[:32].upper()}"


def _reference(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _schema(found: ResourceType, schemas: Json) -> str:
    """Adds the schema of a kind and all it refers to; returns its name."""
    gvk = [{"group": found.group, "version": found.version, "kind": found.kind}]
    if found.custom:
        _add_struct(_object_meta(), schemas)
        name = ".".join([*reversed(found.group.split(".")), found.version, found.kind])
        made = copy.deepcopy(found.schema or {})
        made[_GVK] = gvk
        properties = made.setdefault("properties", {})
        meta = {
            "allOf": [_reference(_META)],
            "default": {},
            "description": "Standard object's metadata.",
        }
        properties["metadata"] = meta
        schemas[name] = made
        return name
    struct = decoding.struct_of(found)
    if struct is None:
        return ""
    name = _add_struct(struct, schemas)
    schemas[name] = {**schemas[name], _GVK: gvk}
    return name


@lru_cache(maxsize=1)
def _object_meta() -> type[msgspec.Struct]:
    from lightkube.models.meta_v1 import ObjectMeta

    return ObjectMeta


def _struct_name(struct: type[msgspec.Struct]) -> str:
    stem = struct.__module__.rsplit(".", 1)[-1]
    if stem == "meta_v1":
        return f"io.k8s.apimachinery.pkg.apis.meta.v1.{struct.__name__}"
    group, _, version = stem.partition("_")
    return f"{_PREFIX}.{group}.{version}.{struct.__name__}"


def _add_struct(struct: type[msgspec.Struct], schemas: Json) -> str:
    name = _struct_name(struct)
    if name in schemas:
        return name
    summary, described = _descriptions(struct)
    properties: Json = {}
    made: Json = {"type": "object", "description": summary, "properties": properties}
    schemas[name] = made
    for field, hint in decoding.fields_of(struct).items():
        properties[field] = {**_of_hint(hint, schemas), "description": described.get(field, "")}
        if "$ref" in properties[field]:
            reference = {"$ref": properties[field].pop("$ref")}
            properties[field] = {"allOf": [reference], **properties[field]}
    required = [f.encode_name for f in msgspec.structs.fields(struct) if f.required]
    if required:
        made["required"] = required
    return name


def _descriptions(struct: type[msgspec.Struct]) -> tuple[str, dict[str, str]]:
    """The summary of a model and what its docstring says of each field."""
    head, _, tail = (struct.__doc__ or "").partition("**parameters**")
    described: dict[str, str] = {}
    field = ""
    for line in tail.splitlines():
        begun = _PARAMETER.match(line)
        if begun:
            field = begun[1]
            described[field] = begun[2]
        elif field and line.strip():
            described[field] += " " + line.strip()
    return " ".join(head.split()), described


_SCALARS: dict[Any, Json] = {
    str: {"type": "string"},
    int: {"type": "integer", "format": "int64"},
    float: {"type": "number", "format": "double"},
    bool: {"type": "boolean"},
    datetime: {"type": "string", "format": "date-time"},
}


def _of_hint(hint: Any, schemas: Json) -> Json:
    hint = decoding.inner_type(hint)
    if hint in _SCALARS:
        return dict(_SCALARS[hint])
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return _reference(_add_struct(hint, schemas))
    if typing.get_origin(hint) is list:
        return {"type": "array", "items": _of_hint(typing.get_args(hint)[0], schemas)}
    if typing.get_origin(hint) is typing.Union:
        return {"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]}
    if hint is dict or typing.get_origin(hint) is dict:
        return {"type": "object", "additionalProperties": {"type": "string"}}
    return {"type": "object"}


def _query(name: str) -> Json:
    return {"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": True}}


def _operations(found: ResourceType, schema_name: str) -> Json:
    """The paths of a resource: what kubectl looks at is the kind and `fieldValidation`."""
    gvk = {"group": found.group, "version": found.version, "kind": found.kind}
    parameters = [_query("dryRun"), _query("fieldManager"), _query("fieldValidation")]
    content = {"application/json": {"schema": _reference(schema_name)}}
    answers = {"200": {"description": "OK", "content": content}}

    def operation(action: str, verb: str) -> Json:
        made: Json = {"x-kubernetes-action": action, _GVK: gvk, "responses": answers,
                      "operationId": f"{verb}{found.kind}"}  # fmt: skip
        if verb in ("create", "replace", "patch"):
            made["parameters"] = parameters
        return made

    prefix = f"/apis/{found.group}/{found.version}" if found.group else f"/api/{found.version}"
    prefix += "/namespaces/{namespace}" if found.namespaced else ""
    return {
        f"{prefix}/{found.plural}": {
            "get": operation("list", "list"),
            "post": operation("post", "create"),
        },
        f"{prefix}/{found.plural}/{{name}}": {
            "get": operation("get", "read"),
            "put": operation("put", "replace"),
            "patch": operation("patch", "patch"),
            "delete": operation("delete", "delete"),
        },
    }
