"""Tells server-side apply how a value is put together: which lists have keys, which maps are atomic.

One interface over two sources: the structural schema of a CRD, and `listkeys` for built-in kinds.
"""

from dataclasses import dataclass
from typing import Any, Literal, Protocol

from deploy.local.kubernetes.catalog import ResourceType
from deploy.local.kubernetes.errors import Json
from deploy.local.kubernetes.listkeys import ATOMIC_MAPS, SETS, server_side_keys

ListKind = Literal["atomic", "set", "map"]


class Shape(Protocol):
    """What is known about the value at one place."""

    def child(self, key: str) -> "Shape":
        """The shape of a map's value at `key`."""
        ...

    def item(self) -> "Shape":
        """The shape of a list's items."""
        ...

    def atomic_map(self) -> bool:
        """Whether a map here is owned whole."""
        ...

    def list_kind(self, items: list[Any]) -> tuple[ListKind, tuple[str, ...]]:
        """How a list here merges, and the keys of its items where it is an associative one."""
        ...


@dataclass(frozen=True)
class BuiltInShape:
    """By field name, see `listkeys`."""

    field: str = ""

    def child(self, key: str) -> Shape:
        """Only the name of the field matters."""
        return BuiltInShape(key)

    def item(self) -> Shape:
        """Items have no name of their own."""
        return BuiltInShape()

    def atomic_map(self) -> bool:
        """Selectors and references are owned whole."""
        return self.field in ATOMIC_MAPS

    def list_kind(self, items: list[Any]) -> tuple[ListKind, tuple[str, ...]]:
        """Atomic unless the field is known to be a set or to have keys."""
        if self.field in SETS:
            return "set", ()
        keys = server_side_keys(self.field, items)
        return ("map", keys) if keys else ("atomic", ())


@dataclass(frozen=True)
class SchemaShape:
    """By the marks of a structural schema."""

    schema: Json

    def child(self, key: str) -> Shape:
        """From `properties`, else `additionalProperties`; nothing known means nothing special."""
        properties = self.schema.get("properties") or {}
        extra = self.schema.get("additionalProperties")
        found = properties.get(key) or (extra if isinstance(extra, dict) else {})
        return SchemaShape(found)

    def item(self) -> Shape:
        """From `items`."""
        return SchemaShape(self.schema.get("items") or {})

    def atomic_map(self) -> bool:
        """`x-kubernetes-map-type: atomic`."""
        return self.schema.get("x-kubernetes-map-type") == "atomic"

    def list_kind(self, items: list[Any]) -> tuple[ListKind, tuple[str, ...]]:
        """`x-kubernetes-list-type`, atomic where it is missing."""
        kind = self.schema.get("x-kubernetes-list-type", "atomic")
        keys = tuple(self.schema.get("x-kubernetes-list-map-keys") or ())
        return ("map", keys) if kind == "map" else ("set" if kind == "set" else "atomic", ())


@dataclass(frozen=True)
class ObjectShape:
    """The top of an object: `metadata` is built in, the rest follows the kind."""

    rest: Shape

    def child(self, key: str) -> Shape:
        """Metadata has the same shape for every kind."""
        return BuiltInShape("metadata") if key == "metadata" else self.rest.child(key)

    def item(self) -> Shape:
        """An object is no list."""
        return self.rest

    def atomic_map(self) -> bool:
        """An object is never owned whole."""
        return False

    def list_kind(self, items: list[Any]) -> tuple[ListKind, tuple[str, ...]]:
        """An object is no list."""
        return "atomic", ()


def shape_of(found: ResourceType) -> Shape:
    """The shape of the objects of one resource."""
    rest: Shape = SchemaShape(found.schema or {}) if found.custom else BuiltInShape()
    return ObjectShape(rest)
