"""Read fields of plain Kubernetes objects: typed, with the path in every complaint.

Objects arrive as JSON that another program wrote. `null` and absent mean the same everywhere
here, as in Kubernetes; a value of the wrong type is an error that names its path.
"""

from collections.abc import Mapping, Sequence
from typing import Any

KubeObject = Mapping[str, Any]


class ObjectError(ValueError):
    """A Kubernetes object can't be read: which object, which field, what is needed."""


def mapping_at(obj: KubeObject, *path: str) -> KubeObject:
    """The mapping at `path`; empty when absent. Raises ObjectError for another type."""
    value = value_at(obj, *path)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise ObjectError(f"{'.'.join(path)} is {_kind(value)}, a map is needed")
    return value


def list_at(obj: KubeObject, *path: str) -> Sequence[Any]:
    """The list at `path`; empty when absent. Raises ObjectError for another type."""
    value = value_at(obj, *path)
    if value is None:
        return ()
    if isinstance(value, str | bytes) or not isinstance(value, Sequence):
        raise ObjectError(f"{'.'.join(path)} is {_kind(value)}, a list is needed")
    return value


def text_at(obj: KubeObject, *path: str) -> str:
    """The string at `path`; empty when absent. Raises ObjectError for another type."""
    value = value_at(obj, *path)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ObjectError(f"{'.'.join(path)} is {_kind(value)}, a string is needed")
    return value


def flag_at(obj: KubeObject, *path: str) -> bool:
    """The boolean at `path`; False when absent. Raises ObjectError for another type."""
    value = value_at(obj, *path)
    if value is None:
        return False
    if not isinstance(value, bool):
        raise ObjectError(f"{'.'.join(path)} is {_kind(value)}, true or false is needed")
    return value


def texts_at(obj: KubeObject, *path: str) -> tuple[str, ...]:
    """The list of strings at `path`; empty when absent. Raises ObjectError for another type."""
    values = list_at(obj, *path)
    for position, value in enumerate(values):
        if not isinstance(value, str):
            raise ObjectError(f"{'.'.join(path)}[{position}] is {_kind(value)}, a string is needed")
    return tuple(values)


def text_map_at(obj: KubeObject, *path: str) -> dict[str, str]:
    """The map of strings at `path` (labels, annotations); empty when absent."""
    found = mapping_at(obj, *path)
    for key, value in found.items():
        if not isinstance(value, str):
            raise ObjectError(f"{'.'.join(path)}[{key!r}] is {_kind(value)}, a string is needed")
    return dict(found)


def resource_version(obj: KubeObject) -> int | None:
    """metadata.resourceVersion as the integer it is since Kubernetes 1.35 (and was before)."""
    text = text_at(obj, "metadata", "resourceVersion")
    return int(text) if text.isascii() and text.isdecimal() else None


def value_at(obj: KubeObject, *path: str) -> Any:
    """Whatever is at `path`, None when absent. Raises ObjectError when a step is not a map."""
    value: Any = obj
    for depth, key in enumerate(path):
        if value is None:
            return None
        if not isinstance(value, Mapping):
            raise ObjectError(f"{'.'.join(path[:depth])} is {_kind(value)}, a map is needed")
        value = value.get(key)
    return value


def _kind(value: Any) -> str:
    """The JSON name of a value's type, for people."""
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str):
        return "a string"
    if isinstance(value, Mapping):
        return "a map"
    return "a list" if isinstance(value, Sequence) else "null"
