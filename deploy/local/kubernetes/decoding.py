"""Checks built-in objects against the types of the Kubernetes API, and finds fields they do not have.

The types are those of the `lightkube-models` package (generated from the Kubernetes OpenAPI document), so
that nothing about them is written twice. Imported lazily: they cost 0.4 s.
"""

import importlib
import re
import typing
from collections.abc import Iterator
from functools import lru_cache
from types import ModuleType
from typing import Any

import msgspec

from deploy.local.kubernetes.catalog import ResourceType
from deploy.local.kubernetes.errors import Json, bad_request, cause, invalid

_MODULES = {"": "core", "events.k8s.io": "events"}
_MISSING = re.compile(r"Object missing required field `(.+?)`(?: - at `\$\.?(.*?)`)?$")


def _module(found: ResourceType) -> ModuleType:
    stem = _MODULES.get(found.group) or found.group.split(".")[0]
    return importlib.import_module(f"lightkube.models.{stem}_{found.version}")


@lru_cache(maxsize=64)
def struct_of(found: ResourceType) -> type[msgspec.Struct] | None:
    """The typed model of a built-in resource; None for custom ones."""
    if found.custom:
        return None
    model = getattr(_module(found), found.kind, None)
    return model if isinstance(model, type) and issubclass(model, msgspec.Struct) else None


@lru_cache(maxsize=1024)
def fields_of(struct: type[msgspec.Struct]) -> dict[str, Any]:
    """JSON field name to its type, resolved."""
    hints = typing.get_type_hints(struct)
    return {f.encode_name: hints[f.name] for f in msgspec.structs.fields(struct)}


def inner_type(hint: Any) -> Any:
    """The type inside `Optional[…]`."""
    if typing.get_origin(hint) is typing.Union:
        rest = [arg for arg in typing.get_args(hint) if arg is not type(None)]
        return rest[0] if len(rest) == 1 else hint
    return hint


def unknown_fields(value: Any, hint: Any, path: str = "") -> Iterator[str]:
    """Removes fields that the type does not have, in place; yields the path of each."""
    hint = inner_type(hint)
    if typing.get_origin(hint) is list and isinstance(value, list):
        for at, item in enumerate(value):
            yield from unknown_fields(item, typing.get_args(hint)[0], f"{path}[{at}]")
        return
    if not isinstance(hint, type) or not issubclass(hint, msgspec.Struct):
        return
    if not isinstance(value, dict):
        return
    known = fields_of(hint)
    for key in list(value):
        here = f"{path}.{key}" if path else key
        if key in known:
            yield from unknown_fields(value[key], known[key], here)
        else:
            del value[key]
            yield here


def drop_nulls(value: Any) -> Any:
    """Without null fields, which typed decoding takes as absent."""
    if isinstance(value, dict):
        return {k: drop_nulls(v) for k, v in value.items() if v is not None}
    if isinstance(value, list):
        return [drop_nulls(item) for item in value]
    return value


def check(obj: Json, found: ResourceType, struct: type[msgspec.Struct]) -> None:
    """400 for a value of a wrong type, 422 for a missing required field."""
    try:
        msgspec.convert(obj, struct)
    except msgspec.ValidationError as error:
        missing = _MISSING.match(str(error))
        if missing:
            field = f"{missing[2]}.{missing[1]}" if missing[2] else missing[1]
            line = cause("FieldValueRequired", field, "Required value")
            raise invalid(
                found.group, found.kind, obj["metadata"].get("name", ""), [line]
            ) from error
        raise bad_request(
            f'{found.kind} in version "{found.version}" cannot be handled as a {found.kind}: '
            f"json: cannot unmarshal: {error}"
        ) from error
