"""The watcher and a genuine kube-apiserver: restarts, a restored history, RBAC, ten thousand Pods.

What came of it is counted against what the API server itself lists.
"""

import asyncio
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import yaml

from consumers.contract.events import Message
from consumers.contract.topics import ENTITIES
from consumers.runtime.health import Health
from consumers.runtime.settings import KubeSettings, PostgresSettings, Settings
from deploy.local.parts.kube_apiserver.copies import copy_pod, remove_all_pods, remove_pods
from deploy.local.parts.kube_apiserver.server import GenuineKube, GenuineOptions, running
from deploy.local.pytest_plugin import GUEST
from deploy.local.stack.options import CRDS, RBAC
from tests.integration.intake.ground import intake, rows
from tests.integration.watcher.cluster import (
    DEADLINE_S,
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

MANY = 10_000
#: As many a page as the watcher asks for by default.
PAGE = KubeSettings().page_size
#: For what befalls all of them, two cores being shared by API server, etcd, broker and watchers.
MANY_S = 300.0

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


async def all_told(
    reader: Reader, lives: set[str], ended: set[str], deadline_s: float = DEADLINE_S
) -> None:
    """Every life was told of, and each end that was watched once, though two watchers told of it.

    A watcher that was cut off for five tries lists first and goes on watching from its place: it may
    find a Pod gone, at the version of the list, and then hear of the delete itself, at its own.
    """
    for action, uids in (("observed", lives), ("deleted", ended)):
        told_of = partial(all_of, reader, action, uids)
        await eventually(told_of, f"each is {action}", 0.5, deadline_s)
    assert set(told(reader.messages, "deleted")) & lives == ended
    heard = [each for each in reader.messages if "spec" in (each.object or {})]
    assert {len(ids) for uid, ids in told(heard, "deleted").items() if uid in lives} == {1}


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


def test_ten_thousand_pods_and_two_watchers(
    server: GenuineKube, broker: str, topic_prefix: str, database: str
) -> None:
    """Listed in pages by two, watched by both; then one that was cut off lists them all again."""
    names = [f"many-{number:05}" for number in range(MANY)]
    watched, unseen = names[:100], names[100:200]

    async def play() -> None:
        configured = settings(server.kubeconfig, broker, topic_prefix)
        configured = configured.model_copy(
            update={"kube": KubeSettings(kubeconfig=server.kubeconfig, page_size=PAGE)}
        )
        async with using(server) as cluster, reading(configured) as reader:
            uids = await cluster.pods(names[:1])
            uids |= await asyncio.to_thread(copy_pod, server, "default", names[0], names[1:])
            assert await cluster.live_pods() == uids, "they are Pods to the API server"
            lives = set(uids.values())
            async with watcher(configured) as one:
                async with watcher(configured) as two:
                    await eventually(
                        lambda: one.is_ready and two.is_ready, "both ready", 0.1, MANY_S
                    )
                    await cluster.delete_pods(watched)
                    await all_told(reader, lives, {uids[name] for name in watched}, MANY_S)
                # Each watcher's markers tile its own list: every Pod of it is in them.
                first = min(each.resource_version for each in reader.of("pod", "listed"))
                assert lives <= marked(reader, first, at_least=MANY // PAGE)
                server.kill()
                await asyncio.to_thread(remove_pods, server, "default", unseen)
                await started_again(server)
                gone = {uids[name] for name in (*watched, *unseen)}
                await eventually(
                    lambda: gone <= set(told(reader.messages, "deleted")), "found gone", 0.5, MANY_S
                )
            assert set(told(reader.messages, "deleted")) == gone, "nobody else was taken for gone"
            last = max(each.resource_version for each in reader.of("pod", "listed"))
            assert marked(reader, last, at_least=MANY // PAGE - 1) == lives - gone
        await asyncio.to_thread(remove_all_pods, server, "default")

    scenario(play())


def marked(reader: Reader, version: int, at_least: int) -> set[str]:
    """The uids in the page markers of the list of that version, of which there are so many."""
    markers = [each for each in reader.of("pod", "listed") if each.resource_version == version]
    assert len(markers) >= at_least
    return {item.uid for each in markers if each.page for item in each.page.items}
