"""Structural schemas of custom resources: defaulting, pruning and validation.

As apiextensions-apiserver does it; CEL rules (`x-kubernetes-validations`) are not evaluated. The schema
check itself is the `jsonschema` library's.
"""

import copy
import re
from collections.abc import Iterator
from datetime import datetime
from functools import lru_cache
from typing import Any

import jsonschema
import msgspec
from jsonschema.validators import extend

from deploy.local.kubernetes.errors import Json, cause

_OBJECT_FIELDS = frozenset({"apiVersion", "kind", "metadata"})
_PRESERVE = "x-kubernetes-preserve-unknown-fields"


def default(value: Any, schema: Json) -> None:
    """Fills in missing and (where not nullable) null fields that have a default, in place."""
    if isinstance(value, dict):
        for key, inner in (schema.get("properties") or {}).items():
            nulled = key in value and value[key] is None and not inner.get("nullable")
            if "default" in inner and (key not in value or nulled):
                value[key] = copy.deepcopy(inner["default"])
            elif nulled and inner.get("type") is not None:
                del value[key]
            if key in value:
                default(value[key], inner)
        extra = schema.get("additionalProperties")
        if isinstance(extra, dict):
            for inner_value in value.values():
                default(inner_value, extra)
    elif isinstance(value, list) and isinstance(schema.get("items"), dict):
        for item in value:
            default(item, schema["items"])


def prune(value: Any, schema: Json, path: str = "") -> Iterator[str]:
    """Removes fields the schema does not know, in place; yields the path of each."""
    if isinstance(value, dict):
        yield from _prune_map(value, schema, path)
    elif isinstance(value, list) and isinstance(schema.get("items"), dict):
        for at, item in enumerate(value):
            yield from prune(item, schema["items"], f"{path}[{at}]")


def _prune_map(value: Json, schema: Json, path: str) -> Iterator[str]:
    embedded = bool(schema.get("x-kubernetes-embedded-resource")) or not path
    properties, extra = schema.get("properties") or {}, schema.get("additionalProperties")
    for key in list(value):
        if embedded and key in _OBJECT_FIELDS:
            continue
        here = f"{path}.{key}" if path else key
        if key in properties:
            yield from prune(value[key], properties[key], here)
        elif isinstance(extra, dict):
            yield from prune(value[key], extra, here)
        elif not extra and not schema.get(_PRESERVE):
            del value[key]
            yield here


_RFC3339 = re.compile(r"^\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)$")
_FORMATS = jsonschema.FormatChecker(formats=())


@_FORMATS.checks("date-time")
def _is_date_time(value: object) -> bool:
    if not isinstance(value, str):
        return True
    if not _RFC3339.match(value):
        return False
    try:
        datetime.fromisoformat(value.upper().replace("Z", "+00:00"))
    except ValueError:
        return False
    return True


def _in_range(bits: int) -> Any:
    def check(value: object) -> bool:
        return not isinstance(value, int) or -(1 << bits - 1) <= value < 1 << bits - 1

    return check


_FORMATS.checks("int32")(_in_range(32))
_FORMATS.checks("int64")(_in_range(64))


def _is_integer(_checker: Any, value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


_Validator: Any = extend(  # type: ignore[no-untyped-call]
    jsonschema.Draft4Validator,
    type_checker=jsonschema.Draft4Validator.TYPE_CHECKER.redefine("integer", _is_integer),
)


def _as_json_schema(schema: Json) -> Json:
    """The structural schema as a JSON schema: `nullable` and int-or-string have no own keyword."""
    made: Json = {}
    for key, value in schema.items():
        if key == "properties":
            made[key] = {name: _as_json_schema(inner) for name, inner in value.items()}
        elif key in ("items", "additionalProperties", "not") and isinstance(value, dict):
            made[key] = _as_json_schema(value)
        elif key in ("allOf", "anyOf", "oneOf"):
            made[key] = [_as_json_schema(inner) for inner in value]
        elif key not in ("default", "description", "nullable") and not key.startswith("x-"):
            made[key] = value
    if schema.get("x-kubernetes-int-or-string"):
        made.pop("anyOf", None)
        made["type"] = ["integer", "string"]
    if schema.get("nullable") and "type" in made:
        kinds = made["type"] if isinstance(made["type"], list) else [made["type"]]
        made["type"] = [*kinds, "null"]
        if "enum" in made:
            made["enum"] = [*made["enum"], None]
    return made


@lru_cache(maxsize=256)
def _compiled(encoded: bytes) -> Any:
    schema = _as_json_schema(msgspec.json.decode(encoded))
    return _Validator(schema, format_checker=_FORMATS)


def violations(obj: Json, schema: Json) -> list[Json]:
    """The causes of a 422, in the words of apiextensions-apiserver; empty when valid."""
    validator = _compiled(msgspec.json.encode(schema))
    document = {k: v for k, v in obj.items() if k != "metadata"}
    found = [_explain(error) for error in validator.iter_errors(document)]
    found += list(_duplicate_items(obj, schema, ""))
    return sorted(found, key=lambda line: (line["field"], line["message"]))


def _path(parts: Any) -> str:
    text = ""
    for part in parts:
        text += f"[{part}]" if isinstance(part, int) else (f".{part}" if text else str(part))
    return text or "<nil>"


def _explain(error: Any) -> Json:
    field, value = _path(error.absolute_path), error.instance
    match error.validator:
        case "required":
            missing = next(
                name for name in error.validator_value if f"'{name}' is a required" in error.message
            )
            where = f"{field}.{missing}" if field != "<nil>" else missing
            return cause("FieldValueRequired", where, "Required value")
        case "enum":
            options = ", ".join(f'"{v}"' for v in error.validator_value)
            text = f'Unsupported value: "{value}": supported values: {options}'
            return cause("FieldValueNotSupported", field, text)
        case "type":
            wanted = error.validator_value
            shown = wanted if isinstance(wanted, str) else ",".join(wanted)
            kind = _json_type(value)
            text = f'Invalid value: "{kind}": {field} in body must be of type {shown}: "{kind}"'
            return cause("FieldValueTypeInvalid", field, text)
    text = f"Invalid value: {value!r}: {field} in body should satisfy {error.validator}: "
    return cause("FieldValueInvalid", field, text + error.message)


def _json_type(value: Any) -> str:
    kinds = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array"}
    return "null" if value is None else kinds.get(type(value), "object")


def _duplicate_items(value: Any, schema: Json, path: str) -> Iterator[Json]:
    """Items of sets and associative lists must differ."""
    if isinstance(value, dict):
        for key, inner in (schema.get("properties") or {}).items():
            if key in value:
                here = f"{path}.{key}" if path else key
                yield from _duplicate_items(value[key], inner, here)
    elif isinstance(value, list):
        kind, keys = schema.get("x-kubernetes-list-type"), schema.get("x-kubernetes-list-map-keys")
        seen: list[Any] = []
        for at, item in enumerate(value):
            if kind == "map" and isinstance(item, dict):
                item_key: Any = {k: item.get(k) for k in keys or ()}
            else:
                item_key = item
            if kind in ("set", "map") and item_key in seen:
                text = f"Duplicate value: {msgspec.json.encode(item_key).decode()}"
                yield cause("FieldValueDuplicate", f"{path}[{at}]", text)
            seen.append(item_key)
            yield from _duplicate_items(item, schema.get("items") or {}, f"{path}[{at}]")
