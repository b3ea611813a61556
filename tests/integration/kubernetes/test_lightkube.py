"""lightkube, the client of the project, over HTTPS against the simulated API server."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest
from lightkube import AsyncClient
from lightkube.config.kubeconfig import KubeConfig
from lightkube.core.exceptions import ApiError
from lightkube.generic_resource import create_namespaced_resource
from lightkube.models.core_v1 import Container, PodSpec
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import Namespace, Node, Pod
from lightkube.types import PatchType

from deploy.local.kubernetes.launch import Launched
from deploy.local.parts.kube_api import KubeApi
from deploy.local.parts.kube_apiserver.server import GenuineKube
from tests.integration.kubernetes.conftest import forget_history

T = TypeVar("T")
GROUP, VERSION = "network.alibabacloud.com", "v1beta1"
PodENI: Any = create_namespaced_resource(GROUP, VERSION, "PodENI", "podenis")


def run(server: KubeApi, test: Callable[[AsyncClient], Awaitable[T]]) -> T:
    """Runs a test with a client of its own, and closes it."""

    async def whole() -> T:
        client = AsyncClient(config=KubeConfig.from_file(server.kubeconfig))
        try:
            return await test(client)
        finally:
            await client.close()

    return asyncio.run(whole())


def pod_eni(name: str, namespace: str, **spec: Any) -> Any:
    return PodENI(apiVersion=f"{GROUP}/{VERSION}", kind="PodENI",
                  metadata=ObjectMeta(name=name, namespace=namespace), spec=spec)  # fmt: skip


def test_the_life_of_a_pod_eni(server: KubeApi) -> None:
    async def life(client: AsyncClient) -> list[str]:
        await client.create(Namespace(metadata=ObjectMeta(name="lk-life")))
        made = await client.create(pod_eni("a", "lk-life", zone="z"))
        events = client.watch(
            PodENI, namespace="lk-life", resource_version=made.metadata.resourceVersion
        )
        bound = {**made, "status": {"phase": "Bind"}}
        shown = await client.replace(PodENI.Status.from_dict(bound))
        assert shown.status == {"phase": "Bind"}
        with pytest.raises(ApiError) as refused:
            await client.replace(made)
        assert (refused.value.status.code, refused.value.status.reason) == (409, "Conflict")
        labels = {"metadata": {"labels": {"k8s.aliyun.com/node": "n"}}}
        await client.patch(PodENI, "a", labels, namespace="lk-life", patch_type=PatchType.MERGE)
        listed = [
            o async for o in client.list(PodENI, namespace="*", labels={"k8s.aliyun.com/node": "n"})
        ]
        assert [o.metadata.name for o in listed] == ["a"]
        await client.delete(PodENI, "a", namespace="lk-life")
        seen = []
        async for kind, _ in events:
            seen.append(kind)
            if kind == "DELETED":
                break
        return seen

    assert run(server, life) == ["MODIFIED", "MODIFIED", "DELETED"]


def test_server_side_apply_with_conflict_and_force(server: KubeApi) -> None:
    async def applies(client: AsyncClient) -> None:
        await client.create(Namespace(metadata=ObjectMeta(name="lk-apply")))
        await client.apply(pod_eni("a", "lk-apply", zone="x"), field_manager="one")
        with pytest.raises(ApiError) as refused:
            await client.apply(pod_eni("a", "lk-apply", zone="y"), field_manager="two")
        assert refused.value.status.code == 409
        taken = await client.apply(
            pod_eni("a", "lk-apply", zone="y"), field_manager="two", force=True
        )
        assert taken.spec == {"zone": "y"}

    run(server, applies)


def test_typed_built_in_resources(server: KubeApi) -> None:
    async def built_in(client: AsyncClient) -> None:
        await client.create(Namespace(metadata=ObjectMeta(name="lk-typed")))
        await client.create(Node(metadata=ObjectMeta(name="lk-node")))
        spec = PodSpec(containers=[Container(name="app", image="nginx")], nodeName="lk-node")
        pods = [
            Pod(metadata=ObjectMeta(name=f"p{n}", namespace="lk-typed"), spec=spec)
            for n in range(5)
        ]
        for pod in pods:
            await client.create(pod)
        on_node = [
            p
            async for p in client.list(
                Pod, namespace="*", fields={"spec.nodeName": "lk-node"}, chunk_size=2
            )
        ]
        assert [p.metadata.name for p in on_node if p.metadata] == ["p0", "p1", "p2", "p3", "p4"]
        with pytest.raises(ApiError) as refused:
            await client.get(Pod, "nope", namespace="lk-typed")
        assert refused.value.status.code == 404

    run(server, built_in)


def test_a_watch_from_forgotten_history_raises_410(own_server: Launched | GenuineKube) -> None:
    async def watch(client: AsyncClient) -> int:
        await client.create(Namespace(metadata=ObjectMeta(name="lk-new")))
        with pytest.raises(ApiError) as refused:
            async for _ in client.watch(Namespace, resource_version="1", server_timeout=5):
                pass
        return int(refused.value.status.code or 0)

    forget_history(own_server)
    assert run(own_server, watch) == 410
