"""The three client-side patch formats, as pure functions of (document, patch).

JSON Patch is RFC 6902, merge patch RFC 7386; strategic merge follows Kubernetes' own convention
("Update API Objects in Place Using kubectl patch") with the list keys of `listkeys`.
"""

import copy
from typing import Any

from deploy.local.kubernetes.errors import ApiError, Json, bad_request
from deploy.local.kubernetes.listkeys import strategic_key

_DIRECTIVES = ("$patch", "$retainKeys")


def merge_patch(document: Any, patch: Any) -> Any:
    """RFC 7386: null removes, objects merge, everything else replaces."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    merged = dict(document) if isinstance(document, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), value)
    return merged


def _parts(pointer: Any) -> list[str]:
    if not isinstance(pointer, str) or (pointer and not pointer.startswith("/")):
        raise bad_request(f"{pointer!r} is not a JSON pointer: it must be empty or start with '/'")
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]


def _unprocessable(message: str) -> ApiError:
    return ApiError(422, "Invalid", f"the server rejected our request due to an error: {message}")


def _position(parts: list[str], target: list[Any], last: str, appending: bool) -> int:
    if last == "-" and appending:
        return len(target)
    limit = len(target) + (1 if appending else 0)
    if not last.isdigit() or int(last) >= limit:
        raise _unprocessable(f"unable to access list index {last!r} at /{'/'.join(parts)}")
    return int(last)


def _parent(document: Any, parts: list[str]) -> Any:
    here = document
    for part in parts[:-1]:
        if isinstance(here, list):
            here = here[_position(parts, here, part, appending=False)]
        elif isinstance(here, dict) and part in here:
            here = here[part]
        else:
            raise _unprocessable(f"path /{'/'.join(parts)} does not exist: missing {part!r}")
    if not isinstance(here, dict | list):
        raise _unprocessable(f"path /{'/'.join(parts)} leads through a value, not an object")
    return here


def _read(document: Any, pointer: Any) -> Any:
    parts = _parts(pointer)
    if not parts:
        return document
    parent, last = _parent(document, parts), parts[-1]
    if isinstance(parent, list):
        return parent[_position(parts, parent, last, appending=False)]
    if last not in parent:
        raise _unprocessable(f"path {pointer} does not exist")
    return parent[last]


def _write(document: Any, pointer: Any, value: Any, replace: bool) -> Any:
    parts = _parts(pointer)
    if not parts:
        return value
    parent, last = _parent(document, parts), parts[-1]
    if isinstance(parent, list):
        at = _position(parts, parent, last, appending=not replace)
        if replace:
            parent[at] = value
        else:
            parent.insert(at, value)
        return document
    if replace and last not in parent:
        raise _unprocessable(f"replace operation does not apply: {pointer} is missing")
    parent[last] = value
    return document


def _remove(document: Any, pointer: Any) -> Any:
    parts = _parts(pointer)
    if not parts:
        return None
    parent, last = _parent(document, parts), parts[-1]
    if isinstance(parent, list):
        del parent[_position(parts, parent, last, appending=False)]
    elif last in parent:
        del parent[last]
    else:
        raise _unprocessable(f"remove operation does not apply: {pointer} is missing")
    return document


def json_patch(document: Any, patch: Any) -> Any:
    """RFC 6902; 422 where an operation does not apply, 400 where it is none."""
    if not isinstance(patch, list):
        raise bad_request("a JSON patch is a list of operations")
    result = copy.deepcopy(document)
    for operation in patch:
        if not isinstance(operation, dict) or "op" not in operation:
            raise bad_request(f"not a JSON patch operation: {operation!r}")
        path = operation.get("path")
        match operation["op"]:
            case "add" | "replace" as op:
                value = copy.deepcopy(operation.get("value"))
                result = _write(result, path, value, replace=op == "replace")
            case "remove":
                result = _remove(result, path)
            case "test":
                if _read(result, path) != operation.get("value"):
                    raise _unprocessable(f"testing value {path} failed")
            case "copy" | "move" as op:
                value = copy.deepcopy(_read(result, operation.get("from")))
                if op == "move":
                    result = _remove(result, operation.get("from"))
                result = _write(result, path, value, replace=False)
            case other:
                raise bad_request(f"unknown JSON patch operation {other!r}")
    return result


def strategic_merge(document: Any, patch: Json, field: str = "") -> Any:
    """Kubernetes' strategic merge; lists merge by the key that `listkeys` names, else replace."""
    if patch.get("$patch") == "replace":
        return {key: copy.deepcopy(v) for key, v in patch.items() if key not in _DIRECTIVES}
    if patch.get("$patch") == "delete":
        return {}
    merged = dict(document) if isinstance(document, dict) else {}
    if "$retainKeys" in patch:
        merged = {key: v for key, v in merged.items() if key in patch["$retainKeys"]}
    for key, value in patch.items():
        if key in _DIRECTIVES or key.startswith("$setElementOrder/"):
            continue
        if key.startswith("$deleteFromPrimitiveList/"):
            name = key.split("/", 1)[1]
            merged[name] = [v for v in merged.get(name) or [] if v not in value]
        elif value is None:
            merged.pop(key, None)
        elif isinstance(value, dict):
            merged[key] = strategic_merge(merged.get(key), value, key)
        elif isinstance(value, list):
            order = patch.get(f"$setElementOrder/{key}")
            merged[key] = _merge_list(merged.get(key), value, key, order)
        else:
            merged[key] = value
    for key, order in patch.items():
        name = key.removeprefix("$setElementOrder/")
        if name != key and name not in patch and isinstance(merged.get(name), list):
            merged[name] = _ordered(merged[name], order, strategic_key(name, order))
    return merged


def _merge_list(document: Any, patch: list[Any], field: str, order: Any) -> list[Any]:
    key = strategic_key(field, patch)
    current = list(document) if isinstance(document, list) else []
    if key is None:
        return copy.deepcopy(patch)
    if key == "":
        merged = current + [copy.deepcopy(v) for v in patch if v not in current]
        return _ordered(merged, order, key)
    if any(isinstance(item, dict) and item.get("$patch") == "replace" for item in patch):
        return [copy.deepcopy(v) for v in patch if "$patch" not in v]
    for item in patch:
        if not isinstance(item, dict) or (key not in item):
            raise bad_request(f"map: {item!r} does not contain declared merge key: {key}")
        at = next((i for i, v in enumerate(current) if v.get(key) == item[key]), None)
        if item.get("$patch") == "delete":
            current = [v for v in current if v.get(key) != item[key]]
        elif at is None:
            current.append(strategic_merge({}, item, field))
        else:
            current[at] = strategic_merge(current[at], item, field)
    return _ordered(current, order, key)


def _ordered(items: list[Any], order: Any, key: str | None) -> list[Any]:
    """Puts items in the order a `$setElementOrder` asks for; unknown ones keep their place after."""
    if not isinstance(order, list) or key is None:
        return items
    wanted = [entry.get(key) if isinstance(entry, dict) else entry for entry in order]

    def rank(item: Any) -> int:
        value = item.get(key) if isinstance(item, dict) else item
        return wanted.index(value) if value in wanted else len(wanted)

    return sorted(items, key=rank)
