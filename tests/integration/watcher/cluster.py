"""The watcher between a real broker and an API server, and a reader of what it produced."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
from aiokafka import AIOKafkaConsumer

from consumers.contract.events import Message, decode
from consumers.contract.kafka_client import consumer_options, started
from consumers.contract.topics import Action, Entity, entity_topics
from consumers.kube import wire
from consumers.kube.names import API_VERSION
from consumers.runtime.health import Health
from consumers.runtime.settings import KafkaSettings, KubeSettings, Settings
from consumers.watcher.history import record_of
from consumers.watcher.main import run
from deploy.local.parts.kube_api import KubeApi
from deploy.local.parts.kube_apiserver.server import GenuineKube

DEADLINE_S = 90.0


async def eventually(
    condition: Callable[[], bool],
    what: str,
    look_every_s: float = 0.02,
    deadline_s: float = DEADLINE_S,
) -> None:
    """Wait for a condition; fails the test with `what` after the deadline.

    A look that takes long is to be rare: what is waited for runs on the same loop.
    """
    try:
        async with asyncio.timeout(deadline_s):
            while not condition():  # noqa: ASYNC110 - the conditions are about other processes
                await asyncio.sleep(look_every_s)
    except TimeoutError as late:
        raise AssertionError(f"not within {deadline_s} s: {what}") from late


def settings(kubeconfig: Path, bootstrap: str, prefix: str, **changes: Any) -> Settings:
    whole: dict[str, Any] = {
        "cluster_id": "c1",
        "kafka": KafkaSettings(bootstrap_servers=bootstrap, topic_prefix=prefix),
        "kube": KubeSettings(kubeconfig=kubeconfig, page_size=3),
    }
    return Settings(**(whole | changes))


@contextlib.asynccontextmanager
async def watcher(configured: Settings) -> AsyncIterator[Health]:
    """A watcher for the time of the block, stopped gracefully at its end."""
    health, stop = Health(), asyncio.Event()
    running = asyncio.create_task(run(configured, stop, health))
    try:
        yield health
    finally:
        stop.set()
        await asyncio.wait_for(running, 20)


@dataclass
class Reader:
    """Everything in the six topics, decoded, in the order it was read."""

    messages: list[Message] = field(default_factory=list)

    def of(self, entity: Entity, action: Action, name: str = "") -> list[Message]:
        return [
            each
            for each in self.messages
            if (each.entity, each.action) == (entity, action) and (not name or each.name == name)
        ]

    def watermark(self, entity: Entity) -> tuple[int, int]:
        """Epoch and resourceVersion of the last heartbeat read."""
        beats = self.of(entity, "heartbeat")
        return (beats[-1].epoch, beats[-1].resource_version) if beats else (-1, -1)


@contextlib.asynccontextmanager
async def reading(configured: Settings) -> AsyncIterator[Reader]:
    """A reader of the topics from their beginning; they must exist."""
    reader = Reader()
    limit = configured.kafka.message_bytes_max

    async def follow() -> None:
        consumer = AIOKafkaConsumer(
            *entity_topics(configured.kafka.topic_prefix),
            **consumer_options(configured.kafka, "test-reader"),
        )
        async with started(consumer):
            async for record in consumer:
                reader.messages.append(decode(record_of(record), limit))

    following = asyncio.create_task(follow())
    try:
        yield reader
    finally:
        following.cancel()
        outcome = (await asyncio.gather(following, return_exceptions=True))[0]
    if isinstance(outcome, Exception):
        raise outcome


@dataclass
class Cluster:
    """The API server as a user of it."""

    client: httpx2.AsyncClient

    async def _do(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        extra = {} if body is None else {"json": body}
        response = await self.client.request(method, path, **extra)
        assert response.is_success, f"{method} {path}: {response.status_code} {response.text}"
        return dict(json.loads(response.content or b"{}"))

    async def pod(self, name: str, annotations: dict[str, str] | None = None) -> dict[str, Any]:
        container = {"name": "c", "image": "i", "env": [{"name": "PASSWORD", "value": "hunter2"}]}
        body = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": name,
                "labels": {"foo": "bar"},
                "annotations": annotations or {},
            },
            "spec": {"nodeName": "n1", "containers": [container]},
        }
        return await self._do("POST", "/api/v1/namespaces/default/pods", body)

    async def delete_pod(self, name: str) -> None:
        path = f"/api/v1/namespaces/default/pods/{name}?gracePeriodSeconds=0"
        await self._do("DELETE", path)

    async def pods(self, names: Iterable[str], at_once: int = 16) -> dict[str, str]:
        """Create many at once, also over restarts of the API server: name to uid."""
        return dict(await self._many(self._made, names, at_once))

    async def delete_pods(self, names: Iterable[str], at_once: int = 16) -> None:
        """Delete many at once, also over restarts of the API server."""
        await self._many(self._gone, names, at_once)

    async def live_pods(self) -> dict[str, str]:
        """The truth: name to uid of every Pod in the namespace."""
        found = await self._do("GET", "/api/v1/namespaces/default/pods")
        return {each["metadata"]["name"]: each["metadata"]["uid"] for each in found["items"]}

    async def _many(
        self, do: Callable[[str], Awaitable[Any]], names: Iterable[str], at_once: int
    ) -> list[Any]:
        turn = asyncio.Semaphore(at_once)

        async def one(name: str) -> Any:
            async with turn, asyncio.timeout(DEADLINE_S):
                while True:
                    try:
                        return await do(name)
                    except httpx2.TransportError:  # it restarts: whether it was done is looked at
                        await asyncio.sleep(0.1)

        return list(await asyncio.gather(*map(one, names)))

    async def _made(self, name: str) -> tuple[str, str]:
        body = {"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
        response = await self.client.post("/api/v1/namespaces/default/pods", json=body)
        if response.status_code == 409:  # the answer to an earlier try was lost
            response = await self.client.get(f"/api/v1/namespaces/default/pods/{name}")
        assert response.is_success, response.text
        return name, str(json.loads(response.content)["metadata"]["uid"])

    async def _gone(self, name: str) -> None:
        path = f"/api/v1/namespaces/default/pods/{name}"
        response = await self.client.delete(path, params={"gracePeriodSeconds": "0"})
        assert response.is_success or response.status_code == 404, response.text

    async def podnetworking(self, name: str) -> dict[str, Any]:
        body = {
            "apiVersion": API_VERSION,
            "kind": "PodNetworking",
            "metadata": {"name": name},
            "spec": {"eniOptions": {"eniType": "Trunk"}, "vSwitchOptions": ["vsw-1"]},
        }
        path = f"/apis/{API_VERSION}/podnetworkings"
        return await self._do("POST", path, body)

    async def eni_config(self) -> dict[str, Any]:
        conf = {"vswitches": {"z": ["vsw-1"]}, "access_secret": "hunter2"}
        body = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "eni-config"},
            "data": {"eni_conf": json.dumps(conf)},
        }
        return await self._do("POST", "/api/v1/namespaces/kube-system/configmaps", body)

    async def delete(self, path: str) -> None:
        await self._do("DELETE", path)

    async def control(self, path: str, body: Any = None) -> dict[str, Any]:
        """The simulator's control side."""
        return await self._do("POST", f"/_sim/{path}", body or {})


@contextlib.asynccontextmanager
async def using(server: KubeApi) -> AsyncIterator[Cluster]:
    async with wire.connect_async(KubeSettings(kubeconfig=server.kubeconfig)) as client:
        yield Cluster(client)


async def started_again(server: GenuineKube) -> None:
    """Start it, and wait until it is ready, while everything else goes on.

    Started from this thread: the kernel ties a child to the thread that made it.
    """
    server.launch()
    await asyncio.to_thread(server.wait_ready)


def scenario(coroutine: Awaitable[None]) -> None:
    """Run one asynchronous test."""

    async def whole() -> None:
        await coroutine

    asyncio.run(whole())
