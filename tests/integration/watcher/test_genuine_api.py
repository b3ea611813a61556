"""The watcher and a genuine kube-apiserver: restarts, a restored history, RBAC, thousands of Pods.

What came of it is counted against what the API server itself lists.
"""

import asyncio
import shutil
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import yaml

from consumers.contract.events import Message
from consumers.contract.topics import ENTITIES
from consumers.runtime.health import Health
from consumers.runtime.settings import KubeSettings, PostgresSettings, Settings
from deploy.local.parts.kube_apiserver.server import GenuineKube, GenuineOptions, running
from deploy.local.pytest_plugin import GUEST
from deploy.local.stack.options import CRDS, RBAC
from tests.integration.intake.ground import intake, rows
from tests.integration.watcher.cluster import (
    Cluster,
    Reader,
    eventually,
    reading,
    scenario,
    settings,
    started_again,
    using,
    watcher,
)

pytestmark = [pytest.mark.genuine("kube"), pytest.mark.timeout(600)]

#: Fewer than a large cluster has: two cores, shared by API server, etcd, broker, watchers and intake,
#: make about 300 a second.
MANY = 3000

ALIVE = "SELECT name, uid FROM ledger.observation WHERE entity = 'pod' AND alive"


@pytest.fixture(scope="module")
def restartable(stack_directory: Path) -> Iterator[GenuineKube]:
    """One whose history these tests may take away."""
    options = GenuineOptions(crds=[CRDS], tokens=GUEST)
    with running(stack_directory / "watched-kube", options) as started:
        yield started


@pytest.fixture
def server(restartable: GenuineKube) -> GenuineKube:
    """It runs, also after a test that failed while it did not."""
    restartable.start()
    return restartable


def whole(server: GenuineKube, broker: str, prefix: str, dsn: str) -> Settings:
    """Settings of watcher and intake; lists in pages much smaller than what is listed."""
    made = settings(server.kubeconfig, broker, prefix, postgres=PostgresSettings(dsn=dsn))
    kube = KubeSettings(kubeconfig=server.kubeconfig, page_size=100)
    return made.model_copy(update={"kube": kube})


def told(messages: list[Message], action: str) -> dict[str, set[str]]:
    """Of every Pod: uid to the ids of its messages of this action."""
    found: dict[str, set[str]] = {}
    for each in messages:
        if each.entity == "pod" and each.action == action:
            found.setdefault(each.uid, set()).add(each.id)
    return found


def refused(health: Health, part: str) -> bool:
    """Whether the API server said no to this part, for want of a right."""
    return part in health.parts() and "403" in health.parts()[part].reason


def seen(reader: Reader, name: str) -> bool:
    """Whether the Pod of that name was told of."""
    return bool(reader.of("pod", "observed", name))


def all_of(reader: Reader, action: str, uids: set[str]) -> bool:
    """Whether there is such a message about each of these Pods."""
    return uids <= set(told(reader.messages, action))


async def taken_in(dsn: str, cluster: Cluster) -> None:
    """Wait until the ledger knows exactly the Pods that there are."""
    truth = await cluster.live_pods()
    await eventually(
        lambda: dict(rows(dsn, ALIVE)) == truth, f"the ledger's Pods are those {len(truth)}", 0.5
    )


def test_no_life_is_lost_or_doubled_over_restarts_of_the_api_server(
    server: GenuineKube, broker: str, topic_prefix: str, database: str
) -> None:
    async def play() -> None:
        configured = whole(server, broker, topic_prefix, database)
        async with (
            using(server) as cluster,
            watcher(configured) as one,
            watcher(configured) as two,
            intake(configured),
            reading(configured) as reader,
        ):
            await eventually(lambda: one.is_ready and two.is_ready, "both ready")
            uids: dict[str, str] = {}
            for turn, end in enumerate((server.stop_api, server.kill)):
                names = [f"life-{turn}-{n}" for n in range(60)]
                creating = asyncio.create_task(cluster.pods(names))
                await eventually(partial(seen, reader, names[9]), "some")
                end()
                await eventually(
                    lambda: "no answer" in one.parts()["watch pod"].reason, "it says so"
                )
                await started_again(server)
                uids |= await creating
                await cluster.delete_pods(names[::2])
                await eventually(lambda: one.is_ready and two.is_ready, "both ready again")
                await taken_in(database, cluster)
            ended = {uid for name, uid in uids.items() if int(name.rpartition("-")[2]) % 2 == 0}
            await all_told(reader, set(uids.values()), ended)
            assert reader.watermark("pod")[0] == 0, "a restart is no new epoch"
            await cluster.delete_pods(uids)

    scenario(play())


async def all_told(reader: Reader, lives: set[str], ended: set[str]) -> None:
    """Every life was told of, and each end once, though two watchers told of it."""
    for action, uids in (("observed", lives), ("deleted", ended)):
        await eventually(partial(all_of, reader, action, uids), f"each is {action}", 0.5)
    deletions = told(reader.messages, "deleted")
    assert set(deletions) & lives == ended
    assert {len(ids) for uid, ids in deletions.items() if uid in lives} == {1}


def test_a_history_that_began_again_is_noticed_while_watching(
    server: GenuineKube, broker: str, topic_prefix: str, database: str
) -> None:
    """As after an etcd that was restored from a backup: the place is ahead of the server."""

    async def play() -> None:
        configured = whole(server, broker, topic_prefix, database)
        async with using(server) as cluster, watcher(configured) as health:
            await cluster.pods(f"old-{n}" for n in range(300))
            async with intake(configured), reading(configured) as reader:
                await eventually(lambda: health.is_ready, "ready")
                await taken_in(database, cluster)
                server.stop()
                await eventually(lambda: not health.is_ready, "the watcher says so")
                shutil.rmtree(server.directory / "etcd")
                await started_again(server)
                await cluster.pods(["new"])
                await eventually(lambda: bool(reader.of("pod", "observed", "new")), "the new Pod")
                assert reader.of("pod", "observed", "new")[0].epoch == 1
                await taken_in(database, cluster)
                await cluster.delete_pods(["new"])

    scenario(play())


def test_rights_that_are_missing_are_named_and_then_taken_up(
    server: GenuineKube, broker: str, topic_prefix: str, database: str, tmp_path: Path
) -> None:
    content = yaml.safe_load(server.kubeconfig.read_text())
    ((user, token),) = GUEST.items()
    content["users"][0]["user"] = {"token": token}
    kubeconfig = tmp_path / "guest"
    kubeconfig.write_text(yaml.safe_dump(content))

    async def play() -> None:
        configured = whole(server, broker, topic_prefix, database)
        configured = configured.model_copy(update={"kube": KubeSettings(kubeconfig=kubeconfig)})
        async with watcher(configured) as health:
            await eventually(
                lambda: all(refused(health, f"watch {each}") for each in ENTITIES), "refused"
            )
            reasons = {name: part.reason for name, part in health.parts().items()}
            for words in (
                f'User "{user}" cannot list resource "pods"',
                "grant verb list on pods to this identity",
                "deploy/rbac",
            ):
                assert words in reasons["watch pod"]
            assert 'in the namespace "kube-system"' in reasons["watch config"]
            for kind in ("clusterrole", "role"):
                namespace = ["-n", "kube-system"] if kind == "role" else []
                server.kubectl(
                    "create", f"{kind}binding", "guest", f"--{kind}=eni-ledger-watcher",
                    f"--user={user}", *namespace,
                )  # fmt: skip
            await eventually(lambda: health.is_ready, f"ready, not {health.parts()}")

    server.kubectl("create", "namespace", "eni-ledger")
    server.kubectl("apply", "-f", str(RBAC / "watcher.yaml"))
    scenario(play())


def test_thousands_of_pods_and_two_watchers(
    server: GenuineKube, broker: str, topic_prefix: str, database: str
) -> None:
    async def play() -> None:
        configured = whole(server, broker, topic_prefix, database)
        async with using(server) as cluster:
            began = time.monotonic()
            uids = await cluster.pods((f"many-{n}" for n in range(MANY)), at_once=32)
            made = time.monotonic()
            gone = list(uids)[:100]
            async with watcher(configured) as one, watcher(configured) as two:
                await eventually(lambda: one.is_ready and two.is_ready, "both ready")
                listed = time.monotonic()
                await cluster.delete_pods(gone, at_once=32)
                async with reading(configured) as reader:
                    await all_told(reader, set(uids.values()), {uids[name] for name in gone})
            told_of = time.monotonic()
            # Each watcher's markers tile its own list: every Pod of it is in them, whatever the page.
            first = min(each.resource_version for each in reader.of("pod", "listed"))
            pages = [
                each.page for each in reader.of("pod", "listed") if each.resource_version == first
            ]
            assert len(pages) >= MANY // 100
            marked = {item.uid for page in pages if page for item in page.items}
            assert set(uids.values()) <= marked
            print(
                f"{MANY} Pods: made in {made - began:.1f} s, listed and produced by two watchers in "
                f"{listed - made:.1f} s, read back and counted after another {told_of - listed:.1f} s"
            )
            await cluster.delete("/api/v1/namespaces/default/pods?gracePeriodSeconds=0")

    scenario(play())
