"""The actors' eyes and hands: follows the objects they care about, and does what they decide."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Any

import httpx2
import msgspec
import structlog
from lightkube.core.async_client import AsyncClient
from lightkube.core.exceptions import ApiError
from lightkube.generic_resource import create_namespaced_resource
from lightkube.resources.apps_v1 import Deployment, ReplicaSet, StatefulSet
from lightkube.resources.core_v1 import ConfigMap, Namespace, Node, Pod
from lightkube.types import PatchType

from deploy.local.actors.actions import (
    Action,
    Bind,
    Create,
    Delete,
    Json,
    PatchStatus,
    Scale,
    View,
    key,
    meta,
)

RELIST_AFTER_S = 0.5
FIELD_MANAGER = "simulated-actors"
NOT_FOUND, CONFLICT = 404, 409

PodENI = create_namespaced_resource("network.alibabacloud.com", "v1beta1", "PodENI", "podenis")

#: What is followed.
FOLLOWED: Mapping[str, Any] = MappingProxyType(
    {
        "Node": Node,
        "Pod": Pod,
        "PodENI": PodENI,
        "StatefulSet": StatefulSet,
        "Deployment": Deployment,
        "ReplicaSet": ReplicaSet,
    }
)
#: What is only created.
OTHERS: Mapping[str, Any] = MappingProxyType({"Namespace": Namespace, "ConfigMap": ConfigMap})

_log = structlog.get_logger(__name__)


class Cluster:
    """The followed objects of one API server, and writes to it.

    A write's answer enters the view at once, so that no actor decides on what it has itself
    changed; an older event of a watch never overwrites it.
    """

    def __init__(self, client: AsyncClient) -> None:
        self.view = View({kind: {} for kind in FOLLOWED})
        self.changed = asyncio.Event()
        # lightkube's overloads ask for a kind known to the type checker; ours comes from a table.
        self._client: Any = client
        self._synced: dict[str, str] = {}

    def waiting_for(self) -> str:
        """Which kinds have not been listed yet, and why; empty when all have."""
        return "; ".join(
            f"{kind}: {self._synced.get(kind, 'not listed yet')}"
            for kind in FOLLOWED
            if self._synced.get(kind) != ""
        )

    async def follow(self, kind: str) -> None:
        """List and watch `kind` until cancelled; after any error, list again."""
        while True:
            try:
                await self._list_and_watch(kind)
            except (httpx2.HTTPError, ValueError) as lost:  # ApiError is an HTTPError
                if self._synced.get(kind) != "":
                    self._synced[kind] = str(lost)
                _log.info("list again", kind=kind, because=str(lost))
            await asyncio.sleep(RELIST_AFTER_S)

    async def act(self, action: Action) -> None:
        """Do `action`. That the object is gone or changed meanwhile is no error: look again."""
        try:
            await self._do(action)
        except ApiError as refused:
            if refused.status.code in (NOT_FOUND, CONFLICT):
                return
            _log.warning("refused", action=type(action).__name__, because=str(refused))
            raise

    async def create_if_absent(self, body: Json) -> None:
        """Create `body` (a kind of FOLLOWED or OTHERS); leave one that is there alone."""
        await self.act(Create(body["kind"], body))

    async def _list_and_watch(self, kind: str) -> None:
        resource = FOLLOWED[kind]
        listing = self._list(resource)
        seen = {}
        async for item in listing:
            obj = _as_json(item)
            seen[key(obj)] = obj
        self.view.objects[kind] = seen
        self._synced[kind] = ""
        self.changed.set()
        everywhere = {"namespace": "*"} if kind != "Node" else {}
        watch = self._client.watch(
            resource, resource_version=listing.resourceVersion, server_timeout=300, **everywhere
        )
        async for event, item in watch:
            obj = _as_json(item)
            if event == "DELETED":
                self._forget(kind, obj)
            elif event in ("ADDED", "MODIFIED"):
                self._remember(kind, obj)
            self.changed.set()

    def _list(self, resource: Any) -> Any:
        everywhere = {"namespace": "*"} if resource is not Node else {}
        return self._client.list(resource, chunk_size=500, **everywhere)

    async def _do(self, action: Action) -> None:
        match action:
            case Create(kind, body):
                resource = FOLLOWED.get(kind) or OTHERS[kind]
                created = await self._client.create(
                    resource.from_dict(body), field_manager=FIELD_MANAGER
                )
                if kind in FOLLOWED:
                    self._remember(kind, _as_json(created))
            case PatchStatus(kind, namespace, name, uid, status):
                patched = await self._client.patch(
                    FOLLOWED[kind].Status,
                    name,
                    {"metadata": {"uid": uid}, "status": status},
                    patch_type=PatchType.MERGE,
                    field_manager=FIELD_MANAGER,
                    **({"namespace": namespace} if namespace else {}),
                )
                self._remember(kind, _as_json(patched))
            case Scale(kind, namespace, name, replicas):
                patched = await self._client.patch(
                    FOLLOWED[kind],
                    name,
                    {"spec": {"replicas": replicas}},
                    namespace=namespace,
                    patch_type=PatchType.MERGE,
                    field_manager=FIELD_MANAGER,
                )
                self._remember(kind, _as_json(patched))
            case Bind(namespace, name, uid, node):
                await self._bind(namespace, name, uid, node)
            case Delete(kind, namespace, name, uid, now):
                await self._delete(kind, namespace, name, uid, now)

    async def _bind(self, namespace: str, name: str, uid: str, node: str) -> None:
        binding = Pod.Binding.from_dict(
            {
                "apiVersion": "v1",
                "kind": "Binding",
                "metadata": {"name": name, "namespace": namespace, "uid": uid},
                "target": {"apiVersion": "v1", "kind": "Node", "name": node},
            }
        )
        # The server answers a binding with a Status, which lightkube can't decode as a Binding;
        # a refusal is an ApiError before that.
        with suppress(msgspec.ValidationError):
            await self._client.create(binding, name, namespace=namespace)
        # Show the Pod as placed until the watch brings it.
        pod = self.view.get("Pod", namespace, name)
        if pod is not None and meta(pod)["uid"] == uid:
            pod["spec"]["nodeName"] = node

    async def _delete(self, kind: str, namespace: str, name: str, uid: str, now: bool) -> None:
        known = self.view.get(kind, namespace, name)
        if known is None or meta(known)["uid"] != uid:
            return
        await self._client.delete(
            FOLLOWED[kind], name, namespace=namespace, grace_period=0 if now else None
        )
        if now:
            self._forget(kind, known)
        else:
            meta(known).setdefault("deletionTimestamp", "asked for")

    def _remember(self, kind: str, obj: Json) -> None:
        known = self.view.objects[kind].get(key(obj))
        if known is None or _version(known) <= _version(obj):
            self.view.objects[kind][key(obj)] = obj

    def _forget(self, kind: str, obj: Json) -> None:
        known = self.view.objects[kind].get(key(obj))
        if known is not None and meta(known)["uid"] == meta(obj)["uid"]:
            del self.view.objects[kind][key(obj)]


def _as_json(item: Any) -> Json:
    found: Json = item.to_dict()
    return found


def _version(obj: Json) -> int:
    return int(meta(obj)["resourceVersion"])
