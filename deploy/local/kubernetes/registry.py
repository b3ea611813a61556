"""Knows which resources are served right now: the built-in ones and those of established CRDs."""

from collections.abc import Iterator

from deploy.local.kubernetes.catalog import BUILT_IN, ResourceType, custom_types
from deploy.local.kubernetes.store import Change, Store

CRDS = "customresourcedefinitions.apiextensions.k8s.io"


class Registry:
    """Look-ups by path and by kind; follows the CRDs in the store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._custom: dict[str, list[ResourceType]] = {}
        self._index()
        store.listen(self._follow)
        self.reload()

    def reload(self) -> None:
        """Reads all CRDs again (after a restored journal)."""
        self._custom = {
            crd["metadata"]["name"]: custom_types(crd) for crd in self._store.select(CRDS)
        }
        self._index()

    def _follow(self, change: Change) -> None:
        if change.store != CRDS:
            return
        name = change.name[1]
        if change.kind == "DELETED":
            self._custom.pop(name, None)
        else:
            self._custom[name] = custom_types(change.object)
        self._index()

    def _index(self) -> None:
        self._paths = {(t.group, t.version, t.plural): t for t in self}

    def __iter__(self) -> Iterator[ResourceType]:
        yield from BUILT_IN
        for name in sorted(self._custom):
            yield from self._custom[name]

    def find(self, group: str, version: str, plural: str) -> ResourceType | None:
        """The resource at a path, None where nothing is served."""
        return self._paths.get((group, version, plural))

    def of_store(self, store: str) -> ResourceType | None:
        """A served version of what is kept under this store name."""
        return next((t for t in self if t.store == store), None)

    def of_kind(self, api_version: str, kind: str) -> ResourceType | None:
        """The resource that serves objects of this apiVersion and kind."""
        return next((t for t in self if t.api_version == api_version and t.kind == kind), None)

    def groups(self) -> dict[str, list[str]]:
        """Named groups and their versions, core ("") first."""
        found: dict[str, list[str]] = {}
        for served in self:
            versions = found.setdefault(served.group, [])
            if served.version not in versions:
                versions.append(served.version)
        return found

    def of_version(self, group: str, version: str) -> list[ResourceType]:
        """The resources of one group version."""
        return [t for t in self if t.group == group and t.version == version]
