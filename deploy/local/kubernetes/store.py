"""Keeps the objects and their bounded history under one global resourceVersion.

What etcd is to a kube-apiserver. Objects handed in become the store's own and are never changed again;
readers get the same dict and must not change it either.
"""

import bisect
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from deploy.local.kubernetes.errors import Json, expired

Kind = Literal["ADDED", "MODIFIED", "DELETED"]
Name = tuple[str, str]
"""(namespace or "", name): sorts as kube-apiserver lists."""


@dataclass(frozen=True, slots=True)
class Change:
    """One committed write. `object` carries its resourceVersion, also for DELETED."""

    revision: int
    store: str
    name: Name
    kind: Kind
    object: Json
    previous: Json | None


class _Shelf:
    """The objects of one resource, by name and in name order."""

    def __init__(self) -> None:
        self.objects: dict[Name, Json] = {}
        self.order: list[Name] = []

    def put(self, name: Name, obj: Json) -> None:
        if name not in self.objects:
            bisect.insort(self.order, name)
        self.objects[name] = obj

    def drop(self, name: Name) -> None:
        if self.objects.pop(name, None) is not None:
            del self.order[bisect.bisect_left(self.order, name)]


class Store:
    """All objects, by resource and name; the newest `history` changes can be watched from."""

    def __init__(self, history: int = 20_000, first_revision: int = 0) -> None:
        if history < 1:
            raise ValueError(f"history must keep at least one change, not {history}")
        self.revision = first_revision
        self.compacted = first_revision
        self._history = history
        self._shelves: dict[str, _Shelf] = {}
        self._changes: deque[Change] = deque()
        self._lost: dict[str, int] = {}
        self._listeners: list[Callable[[Change], None]] = []

    def listen(self, listener: Callable[[Change], None]) -> None:
        """Calls `listener` after every commit, in commit order."""
        self._listeners.append(listener)

    def get(self, store: str, namespace: str, name: str) -> Json | None:
        """The object as it is now, None where there is none."""
        shelf = self._shelves.get(store)
        return shelf.objects.get((namespace, name)) if shelf else None

    def put(self, store: str, namespace: str, name: str, obj: Json) -> Json:
        """Commits `obj` (create or replace) and gives it its resourceVersion."""
        shelf = self._shelves.setdefault(store, _Shelf())
        key = (namespace, name)
        previous = shelf.objects.get(key)
        self.revision += 1
        obj["metadata"]["resourceVersion"] = str(self.revision)
        shelf.put(key, obj)
        kind: Kind = "ADDED" if previous is None else "MODIFIED"
        self._record(Change(self.revision, store, key, kind, obj, previous))
        return obj

    def remove(self, store: str, namespace: str, name: str) -> Json:
        """Commits the removal; the last state is returned under the version of the delete."""
        shelf = self._shelves[store]
        previous = shelf.objects[(namespace, name)]
        self.revision += 1
        last = {
            **previous,
            "metadata": {**previous["metadata"], "resourceVersion": str(self.revision)},
        }
        shelf.drop((namespace, name))
        self._record(Change(self.revision, store, (namespace, name), "DELETED", last, previous))
        return last

    def restore(self, change: Change) -> None:
        """Takes over a change written by an earlier run (journal replay); listeners stay silent."""
        shelf = self._shelves.setdefault(change.store, _Shelf())
        previous = shelf.objects.get(change.name)
        if change.kind == "DELETED":
            shelf.drop(change.name)
        else:
            shelf.put(change.name, change.object)
        self.revision = change.revision
        self._keep(
            Change(change.revision, change.store, change.name, change.kind, change.object, previous)
        )

    def _record(self, change: Change) -> None:
        self._keep(change)
        for listener in self._listeners:
            listener(change)

    def _keep(self, change: Change) -> None:
        self._changes.append(change)
        while len(self._changes) > self._history:
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        oldest = self._changes.popleft()
        self.compacted = self._lost[oldest.store] = oldest.revision

    def compact(self, revision: int | None = None) -> int:
        """Forgets history up to `revision` (default: all of it); watches from before get 410."""
        upto = self.revision if revision is None else min(revision, self.revision)
        while self._changes and self._changes[0].revision <= upto:
            self._forget_oldest()
        self.compacted = max(self.compacted, upto)
        return self.compacted

    def names(self) -> list[str]:
        """The resources that have ever held an object."""
        return sorted(self._shelves)

    def select(self, store: str, namespace: str | None = None) -> Iterator[Json]:
        """Objects in name order, of one namespace or of all."""
        shelf = self._shelves.get(store)
        if shelf is None:
            return
        start = bisect.bisect_left(shelf.order, (namespace, "")) if namespace else 0
        for key in shelf.order[start:]:
            if namespace and key[0] != namespace:
                return
            yield shelf.objects[key]

    def select_at(self, store: str, revision: int, namespace: str | None = None) -> list[Json]:
        """Objects as of an earlier revision, by undoing the changes since; 410 when compacted."""
        if revision >= self.revision:
            return list(self.select(store, namespace))
        if revision < self.compacted:
            raise expired(
                "The provided continue parameter is too old to display a consistent list result. "
                "You must start a new list without the continue parameter."
            )
        then = {_name_of(obj): obj for obj in self.select(store, namespace)}
        for change in reversed(self._changes):
            if change.revision <= revision:
                break
            if change.store != store or (namespace and change.name[0] != namespace):
                continue
            if change.previous is None:
                then.pop(change.name, None)
            else:
                then[change.name] = change.previous
        return [then[key] for key in sorted(then)]

    def get_at(self, store: str, namespace: str, name: str, revision: int) -> Json | None:
        """One object as of an earlier revision (stale reads)."""
        found = self.get(store, namespace, name)
        for change in reversed(self._changes):
            if change.revision <= revision:
                break
            if change.store == store and change.name == (namespace, name):
                found = change.previous
        return found

    def changes_since(self, revision: int, store: str) -> list[Change]:
        """Changes of one resource after `revision`, oldest first; 410 where one was compacted away."""
        if revision < self._lost.get(store, 0):
            self.require(revision)
        found = []
        for change in reversed(self._changes):
            if change.revision <= revision:
                break
            if change.store == store:
                found.append(change)
        found.reverse()
        return found

    def require(self, revision: int) -> None:
        """410 where history after `revision` is not complete any more."""
        if revision < self.compacted:
            raise expired(f"too old resource version: {revision} ({self.compacted})")


def _name_of(obj: Json) -> Name:
    metadata = obj["metadata"]
    return metadata.get("namespace", ""), metadata["name"]
