"""How objects go: grace for Pods, finalizers, owners and dependents, namespaces and CRDs with content.

The garbage collector and the namespace controller of a real cluster act a moment later and on their own;
here the server plays both, at once, because nothing else in the local stack would.
"""

import copy
from collections import defaultdict
from datetime import timedelta

from deploy.local.kubernetes.catalog import ResourceType
from deploy.local.kubernetes.errors import Json
from deploy.local.kubernetes.registry import CRDS, Registry
from deploy.local.kubernetes.sources import Sources, timestamp
from deploy.local.kubernetes.store import Change, Store

_FOREGROUND = "foregroundDeletion"
_DEFAULT_GRACE = 30
_Key = tuple[str, str, str]


class Removal:
    """Deletes from the store by Kubernetes' rules. All methods commit at once."""

    def __init__(self, store: Store, registry: Registry, sources: Sources) -> None:
        self._store = store
        self._registry = registry
        self._sources = sources
        self._dependents: dict[str, set[_Key]] = defaultdict(set)
        store.listen(self._index)
        self.reindex()

    def reindex(self) -> None:
        """Reads all owner references again (after a restored journal)."""
        self._dependents.clear()
        for store in self._store.names():
            for obj in self._store.select(store):
                self._note(store, obj)

    def _note(self, store: str, obj: Json) -> None:
        metadata = obj["metadata"]
        for owner in metadata.get("ownerReferences") or []:
            key = (store, metadata.get("namespace", ""), metadata["name"])
            self._dependents[owner.get("uid", "")].add(key)

    def _index(self, change: Change) -> None:
        key = (change.store, *change.name)
        if change.previous is not None:
            for owner in change.previous["metadata"].get("ownerReferences") or []:
                self._dependents.get(owner.get("uid", ""), set()).discard(key)
        if change.kind != "DELETED":
            self._note(change.store, change.object)

    def start(self, found: ResourceType, live: Json, options: Json) -> Json | None:
        """Begins (or repeats) a delete: the object while it is still there, None once it is gone.

        `options` is a `meta/v1 DeleteOptions`.
        """
        propagated = self._propagate(found, live, options.get("propagationPolicy") or "Background")
        if propagated is None:
            return None
        live = propagated
        grace = self._grace(found, live, options.get("gracePeriodSeconds"))
        metadata = live["metadata"]
        waiting = bool(metadata.get("finalizers")) or (grace or 0) > 0
        has_content = found.store in ("namespaces", CRDS)
        if not waiting and not has_content:
            self._remove(found, live)
            return None
        if "deletionTimestamp" not in metadata or grace is not None:
            live = self._mark(found, live, grace)
        if found.store == "namespaces":
            self._empty_namespace(metadata["name"])
        elif found.store == CRDS:
            self._empty_custom_resource(metadata["name"])
        return self._store.get(found.store, metadata.get("namespace", ""), metadata["name"])

    def _grace(self, found: ResourceType, live: Json, asked: int | None) -> int | None:
        """Seconds a Pod keeps running; None = nothing new to record about it."""
        metadata = live["metadata"]
        if found.store != "pods":
            return None
        phase = (live.get("status") or {}).get("phase")
        spec = live.get("spec") or {}
        if not spec.get("nodeName") or phase in ("Succeeded", "Failed"):
            asked = 0
        if asked is None:
            asked = spec.get("terminationGracePeriodSeconds", _DEFAULT_GRACE)
        seconds = int(asked) if asked >= 0 else 1
        if "deletionTimestamp" in metadata:
            seconds = min(seconds, metadata.get("deletionGracePeriodSeconds", seconds))
        return seconds

    def _mark(self, found: ResourceType, live: Json, grace: int | None) -> Json:
        """Sets deletionTimestamp (for a Pod: the end of its grace period) and its companions."""
        metadata = live["metadata"]
        if metadata.get("deletionGracePeriodSeconds") == (grace or 0) and (
            "deletionTimestamp" in metadata
        ):
            return live
        marked = {**live, "metadata": dict(metadata)}
        ends = self._sources.now() + timedelta(seconds=grace or 0)
        marked["metadata"]["deletionTimestamp"] = timestamp(ends)
        marked["metadata"]["deletionGracePeriodSeconds"] = grace or 0
        if found.generation:
            marked["metadata"]["generation"] = metadata.get("generation", 0) + 1
        if found.store == "namespaces":
            marked["status"] = {**(live.get("status") or {}), "phase": "Terminating"}
        return self._put(found, marked)

    def _put(self, found: ResourceType, obj: Json) -> Json:
        metadata = obj["metadata"]
        return self._store.put(found.store, metadata.get("namespace", ""), metadata["name"], obj)

    def finish(self, found: ResourceType, new: Json) -> bool:
        """Removes an object whose last reason to stay has just gone; says whether it did."""
        metadata = new["metadata"]
        if "deletionTimestamp" not in metadata or metadata.get("finalizers"):
            return False
        if metadata.get("deletionGracePeriodSeconds", 0) > 0:
            return False
        if found.store == "namespaces":
            self._close_namespace(metadata["name"])
        elif found.store == CRDS:
            self._close_custom_resource(metadata["name"])
        else:
            self._remove(found, new)
        key = (found.store, metadata.get("namespace", ""), metadata["name"])
        return self._store.get(*key) is None

    def _remove(self, found: ResourceType, obj: Json) -> None:
        metadata = obj["metadata"]
        namespace = metadata.get("namespace", "")
        self._store.remove(found.store, namespace, metadata["name"])
        self._collect(metadata["uid"])
        for owner in metadata.get("ownerReferences") or []:
            self._release_foreground(owner, namespace)
        if namespace:
            self._close_namespace(namespace)
        if found.custom:
            self._close_custom_resource(f"{found.plural}.{found.group}")

    def _propagate(self, found: ResourceType, live: Json, policy: str) -> Json | None:
        """Orphans or deletes dependents first; None where the object went with the last of them."""
        uid = live["metadata"]["uid"]
        if policy == "Orphan":
            for key in sorted(self._dependents.get(uid, ())):
                self._disown(key, uid)
        elif policy == "Foreground" and self._dependents.get(uid):
            finalizers = live["metadata"].get("finalizers") or []
            if _FOREGROUND not in finalizers:
                marked = {**live, "metadata": dict(live["metadata"])}
                marked["metadata"]["finalizers"] = [*finalizers, _FOREGROUND]
                marked["metadata"]["deletionTimestamp"] = self._sources.stamp()
                marked["metadata"]["deletionGracePeriodSeconds"] = 0
                live = self._put(found, marked)
            self._collect(uid)
            return self._store.get(
                found.store, live["metadata"].get("namespace", ""), live["metadata"]["name"]
            )
        return live

    def _disown(self, key: _Key, uid: str) -> None:
        found, obj = self._registry.of_store(key[0]), self._store.get(*key)
        if found is None or obj is None:
            return
        freed = {**obj, "metadata": dict(obj["metadata"])}
        owners = freed["metadata"].pop("ownerReferences", [])
        rest = [owner for owner in owners if owner.get("uid") != uid]
        if rest:
            freed["metadata"]["ownerReferences"] = rest
        self._put(found, freed)

    def _collect(self, uid: str) -> None:
        """Deletes dependents that have no other owner left."""
        for key in sorted(self._dependents.get(uid, ())):
            found, obj = self._registry.of_store(key[0]), self._store.get(*key)
            if found is None or obj is None or "deletionTimestamp" in obj["metadata"]:
                continue
            owners = obj["metadata"].get("ownerReferences") or []
            if any(owner.get("uid") != uid and self._alive(owner, key[1]) for owner in owners):
                self._disown(key, uid)
            else:
                self.start(found, obj, {})

    def _alive(self, owner: Json, namespace: str) -> bool:
        found = self._registry.of_kind(owner.get("apiVersion", ""), owner.get("kind", ""))
        if found is None:
            return False
        obj = self._store.get(found.store, namespace if found.namespaced else "", owner["name"])
        return obj is not None and obj["metadata"]["uid"] == owner.get("uid")

    def _release_foreground(self, owner: Json, namespace: str) -> None:
        if self._dependents.get(owner.get("uid", "")) or not self._alive(owner, namespace):
            return
        found = self._registry.of_kind(owner["apiVersion"], owner["kind"])
        if found is None:
            return
        obj = self._store.get(found.store, namespace if found.namespaced else "", owner["name"])
        if obj is None or _FOREGROUND not in (obj["metadata"].get("finalizers") or []):
            return
        freed = copy.deepcopy(obj)
        freed["metadata"]["finalizers"].remove(_FOREGROUND)
        if not freed["metadata"]["finalizers"]:
            del freed["metadata"]["finalizers"]
        self.finish(found, self._put(found, freed))

    def _contents(self, namespace: str) -> list[tuple[ResourceType, Json]]:
        kinds = {t.store: t for t in self._registry if t.namespaced}
        return [
            (found, obj)
            for store, found in sorted(kinds.items())
            for obj in list(self._store.select(store, namespace))
        ]

    def _empty_namespace(self, namespace: str) -> None:
        for found, obj in self._contents(namespace):
            key = (found.store, namespace, obj["metadata"]["name"])
            live = self._store.get(*key)
            if live is not None and "deletionTimestamp" not in live["metadata"]:
                self.start(found, live, {})
        self._close_namespace(namespace)

    def _close_namespace(self, namespace: str) -> None:
        obj = self._store.get("namespaces", "", namespace)
        if obj is None or "deletionTimestamp" not in obj["metadata"]:
            return
        if self._contents(namespace) or obj["metadata"].get("finalizers"):
            return
        self._store.remove("namespaces", "", namespace)

    def _empty_custom_resource(self, crd_name: str) -> None:
        found = self._registry.of_store(crd_name)
        for obj in list(self._store.select(crd_name)) if found else []:
            if found and "deletionTimestamp" not in obj["metadata"]:
                self.start(found, obj, {})
        self._close_custom_resource(crd_name)

    def _close_custom_resource(self, crd_name: str) -> None:
        crd = self._store.get(CRDS, "", crd_name)
        if crd is None or "deletionTimestamp" not in crd["metadata"]:
            return
        if not any(True for _ in self._store.select(crd_name)):
            self._store.remove(CRDS, "", crd_name)
