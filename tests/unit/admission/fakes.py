"""The outer world of the webhook process, in memory: an API server of three kinds of objects."""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from consumers.admission.apiserver import ApiServer
from consumers.kube.port import AlreadyExists, Conflict, KubeObject
from consumers.kube.resources import Resource
from ledger.rules.eni_config import EniConfig, EniConfigError
from ledger.rules.podnetworkings import PodNetworking


class FakeApiServer(ApiServer):
    """Objects by resource and name; counts writes. `before_write` may play another replica."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], KubeObject] = {}
        self.writes = 0
        self.before_write: Callable[[], None] | None = None

    async def get(self, resource: Resource, name: str, namespace: str = "") -> KubeObject | None:
        found = self.objects.get((resource.plural, name))
        return copy.deepcopy(found)

    async def create(self, resource: Resource, obj: KubeObject) -> KubeObject:
        self._interleave()
        key = (resource.plural, obj["metadata"]["name"])
        if key in self.objects:
            raise AlreadyExists("create", str(key), code=409, message="taken")
        return self._store(key, obj, 1)

    async def replace(self, resource: Resource, obj: KubeObject) -> KubeObject:
        self._interleave()
        key = (resource.plural, obj["metadata"]["name"])
        version = self.objects[key]["metadata"]["resourceVersion"]
        if obj["metadata"]["resourceVersion"] != version:
            raise Conflict("update", str(key), code=409, message="changed")
        return self._store(key, obj, int(version) + 1)

    def _interleave(self) -> None:
        intruder, self.before_write = self.before_write, None
        if intruder is not None:
            intruder()

    def _store(self, key: tuple[str, str], obj: KubeObject, version: int) -> KubeObject:
        self.writes += 1
        stored = copy.deepcopy(obj)
        stored["metadata"]["resourceVersion"] = str(version)
        self.objects[key] = stored
        return copy.deepcopy(stored)


class FakeMemory:
    """A Memory that holds what it is given; `arriving` is run when somebody waits."""

    def __init__(
        self,
        podnetworkings: Sequence[PodNetworking] = (),
        namespaces: Mapping[str, Mapping[str, str]] | None = None,
        podenis: Mapping[str, KubeObject] | None = None,
        eni_config: EniConfig | EniConfigError | None = None,
        missing: tuple[str, ...] = (),
    ) -> None:
        self.missing = missing
        self.namespaces = dict(namespaces or {})
        self.arriving: Callable[[], None] | None = None
        self._podnetworkings = podnetworkings
        self._podenis = podenis or {}
        self._eni_config = eni_config

    def podnetworkings(self) -> Sequence[PodNetworking]:
        return self._podnetworkings

    def namespace_labels(self, name: str) -> Mapping[str, str] | None:
        return self.namespaces.get(name)

    def podeni(self, namespace: str, name: str) -> KubeObject | None:
        return self._podenis.get(f"{namespace}/{name}")

    def eni_config(self) -> EniConfig | EniConfigError | None:
        return self._eni_config

    async def wait_for(self, condition: Callable[[], bool], seconds: float) -> bool:
        if self.arriving is not None:
            self.arriving()
        return condition()


def review(
    obj: Mapping[str, Any] | None,
    kind: str = "Pod",
    operation: str = "CREATE",
    old: Mapping[str, Any] | None = None,
    **request: Any,
) -> dict[str, Any]:
    """An AdmissionReview as an API server sends it."""
    group = "" if kind == "Pod" else "network.alibabacloud.com"
    return {
        "apiVersion": request.pop("api_version", "admission.k8s.io/v1"),
        "kind": "AdmissionReview",
        "request": {
            "uid": "r-1",
            "kind": {"group": group, "version": "v1", "kind": kind},
            "operation": operation,
            "namespace": "example" if kind == "Pod" else "",
            "object": obj,
            "oldObject": old,
            **request,
        },
    }
