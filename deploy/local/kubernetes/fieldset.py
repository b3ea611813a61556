"""Sets of field paths, as `managedFields` holds them (FieldsV1), and the merge of an apply.

A path is a tuple of FieldsV1 elements: `f:<field>`, `k:<keys of a list item as JSON>`, `v:<value of a
set>`. Source: "Server-Side Apply" and structured-merge-diff's `fieldpath` format.
"""

import copy
import json
from typing import Any

from deploy.local.kubernetes.errors import Json
from deploy.local.kubernetes.listkeys import DEFAULTED_KEYS
from deploy.local.kubernetes.shapes import Shape

Path = tuple[str, ...]
Paths = frozenset[Path]
_MEMBER = "<member>"
_UNTRACKED_METADATA = frozenset({
    "name", "namespace", "creationTimestamp", "selfLink", "uid", "clusterName", "generation",
    "managedFields", "resourceVersion", "deletionTimestamp", "deletionGracePeriodSeconds",
})  # fmt: skip


def leaves(obj: Json, shape: Shape) -> dict[Path, Any]:
    """Every tracked path of an object with the value that is owned there."""
    tracked = {k: v for k, v in obj.items() if k not in ("apiVersion", "kind", "metadata")}
    metadata = {
        k: v for k, v in (obj.get("metadata") or {}).items() if k not in _UNTRACKED_METADATA
    }
    if metadata:
        tracked["metadata"] = metadata
    found: dict[Path, Any] = {}
    for key, value in tracked.items():
        _collect(value, shape.child(key), (f"f:{key}",), found)
    return found


def _collect(value: Any, shape: Shape, path: Path, found: dict[Path, Any]) -> None:
    if isinstance(value, dict) and value and not shape.atomic_map():
        for key, inner in value.items():
            _collect(inner, shape.child(key), (*path, f"f:{key}"), found)
        return
    if isinstance(value, list) and value:
        kind, keys = shape.list_kind(value)
        if kind == "set":
            for item in value:
                found[(*path, f"v:{json.dumps(item)}")] = _MEMBER
            return
        if kind == "map" and all(isinstance(item, dict) for item in value):
            for item in value:
                here = (*path, item_element(item, keys))
                found[here] = _MEMBER
                _collect(item, shape.item(), here, found)
            return
    found[path] = value


def item_element(item: Json, keys: tuple[str, ...]) -> str:
    """The `k:{…}` element that names an item of an associative list."""
    named = {key: item.get(key, DEFAULTED_KEYS.get(key)) for key in sorted(keys)}
    present = {key: value for key, value in named.items() if value is not None}
    return "k:" + json.dumps(present, separators=(",", ":"))


def to_fields_v1(paths: Paths) -> Json:
    """The nested form that `managedFields` shows."""
    root: Json = {}
    for path in sorted(paths):
        here = root
        for element in path:
            here = here.setdefault(element, {})
        here.setdefault(".", {})
    return _without_lonely_dots(root)


def _without_lonely_dots(node: Json) -> Json:
    if set(node) == {"."}:
        return {}
    return {k: ({} if k == "." else _without_lonely_dots(v)) for k, v in node.items()}


def from_fields_v1(fields: Json) -> Paths:
    """The inverse of `to_fields_v1`."""
    found: set[Path] = set()

    def walk(node: Json, path: Path) -> None:
        if not node and path:
            found.add(path)
        for element, inner in node.items():
            if element == ".":
                found.add(path)
            else:
                walk(inner if isinstance(inner, dict) else {}, (*path, element))

    walk(fields, ())
    return frozenset(found)


def text(path: Path) -> str:
    """A path as conflict messages print it: `.spec.containers[name="a"].image`."""
    parts = []
    for element in path:
        kind, _, rest = element.partition(":")
        if kind == "f":
            parts.append(f".{rest}")
        elif kind == "k":
            named = json.loads(rest).items()
            parts.append("[" + ",".join(f"{k}={json.dumps(v)}" for k, v in named) + "]")
        else:
            parts.append(f"[={rest}]")
    return "".join(parts)


def merge(live: Any, wanted: Any, shape: Shape) -> Any:
    """What an apply of `wanted` makes of `live`, before anything is taken away."""
    if isinstance(wanted, dict) and isinstance(live, dict) and not shape.atomic_map():
        merged = dict(live)
        for key, value in wanted.items():
            merged[key] = merge(live.get(key), value, shape.child(key))
        return merged
    if isinstance(wanted, list) and isinstance(live, list):
        kind, keys = shape.list_kind(wanted or live)
        if kind == "set":
            return live + [copy.deepcopy(item) for item in wanted if item not in live]
        if kind == "map":
            return _merge_items(live, wanted, shape, keys)
    return copy.deepcopy(wanted)


def _merge_items(
    live: list[Any], wanted: list[Any], shape: Shape, keys: tuple[str, ...]
) -> list[Any]:
    named = {item_element(item, keys): item for item in wanted}
    merged = []
    for item in live:
        mine = named.pop(item_element(item, keys), None)
        merged.append(item if mine is None else merge(item, mine, shape.item()))
    return merged + [copy.deepcopy(item) for item in named.values()]


def without(obj: Json, gone: Paths, kept: Paths, shape: Shape) -> Json:
    """A copy of `obj` without the paths in `gone`, unless something in `kept` lies at or below them."""
    prefixes = {path[:length] for path in kept for length in range(1, len(path) + 1)}
    result = copy.deepcopy(obj)
    for path in sorted(gone, key=len, reverse=True):
        if path not in prefixes:
            _drop(result, path, shape)
    return result


def _drop(obj: Json, path: Path, shape: Shape) -> None:
    """Removes what is at `path`, in place; nothing happens where it is not there any more."""
    here: Any = obj
    for element in path[:-1]:
        at = _locate(here, element, shape)
        if at is None:
            return
        shape = shape.child(element[2:]) if element.startswith("f:") else shape.item()
        here = here[at]
    at = _locate(here, path[-1], shape)
    if at is not None:
        del here[at]


def _locate(here: Any, element: str, shape: Shape) -> Any:
    """The key or index of a path element in a container, None where it is missing."""
    kind, _, rest = element.partition(":")
    if kind == "f":
        return rest if isinstance(here, dict) and rest in here else None
    if not isinstance(here, list):
        return None
    if kind == "v":
        value = json.loads(rest)
        return here.index(value) if value in here else None
    keys = tuple(json.loads(rest))
    matches = (
        i for i, item in enumerate(here)
        if isinstance(item, dict) and item_element(item, keys) == element
    )  # fmt: skip
    return next(matches, None)
