"""`python -m deploy.local.actors`: plays the cluster's other actors until it is stopped."""

import argparse
import asyncio
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import httpx2
import structlog
from lightkube.config.kubeconfig import KubeConfig
from lightkube.core.async_client import AsyncClient
from lightkube.core.exceptions import ApiError

from consumers.runtime.health import Health
from consumers.runtime.process import RoomMain, run_process
from consumers.runtime.settings import HttpSettings, Settings, load_settings
from deploy.local.actors.actions import Action, View
from deploy.local.actors.cluster import FOLLOWED, Cluster
from deploy.local.actors.kubelet import tend_pods
from deploy.local.actors.nodes import eni_config, node_object
from deploy.local.actors.scheduler import schedule
from deploy.local.actors.workloads import control_workloads
from deploy.local.cloud.world import World, load_world

LOOK_AT_LEAST_EVERY_S = 1.0
SETUP_RETRY_S = 0.5

_log = structlog.get_logger(__name__)


def decide(view: View, now: str) -> list[Action]:
    """What all actors do next; `now` is RFC 3339 in seconds."""
    return [*control_workloads(view), *schedule(view), *tend_pods(view, now)]


def actors(kubeconfig: Path, world: World) -> RoomMain:
    """A process main that sets the cluster up from `world` and then plays its actors."""

    async def run(_settings: Settings, stop: asyncio.Event, health: Health) -> None:
        client = AsyncClient(KubeConfig.from_file(str(kubeconfig)).get())
        cluster = Cluster(client)
        async with asyncio.TaskGroup() as together:
            followers = [together.create_task(cluster.follow(kind)) for kind in FOLLOWED]
            await _set_up(cluster, world, stop, health)
            await _play(cluster, stop, health, _now)
            for each in followers:
                each.cancel()
        await client.aclose()

    return run


async def _set_up(cluster: Cluster, world: World, stop: asyncio.Event, health: Health) -> None:
    """Create kube-system, eni-config and the Nodes; try until the API server lets us."""
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kube-system"}}
    nodes = [node_object(spec, index, _now()) for index, spec in enumerate(world.nodes())]
    while not stop.is_set():
        try:
            for body in (namespace, eni_config(world), *nodes):
                await cluster.create_if_absent(body)
        except httpx2.HTTPError as refused:
            health.ready("cluster", False, f"Nodes can't be created: {refused}")
            await _pause(stop, SETUP_RETRY_S)
        else:
            health.ready("cluster", True, f"{len(nodes)} Nodes")
            return


async def _play(
    cluster: Cluster, stop: asyncio.Event, health: Health, now: Callable[[], str]
) -> None:
    """Decide and act whenever something changed, and once a second in any case."""
    while not stop.is_set():
        cluster.changed.clear()  # before looking: what comes while we act is looked at next
        waiting = cluster.waiting_for()
        health.ready("watches", not waiting, waiting)
        if not waiting:
            await _act_on_all(cluster, now())
        await _changed(cluster, stop)


async def _act_on_all(cluster: Cluster, now: str) -> None:
    for action in decide(cluster.view, now):
        try:
            await cluster.act(action)
        except ApiError:
            continue  # logged by the cluster; the next look decides again
        except httpx2.HTTPError as lost:
            _log.warning("the API server did not answer", because=str(lost))
            return


async def _changed(cluster: Cluster, stop: asyncio.Event) -> None:
    waits = [asyncio.ensure_future(cluster.changed.wait()), asyncio.ensure_future(stop.wait())]
    await asyncio.wait(waits, timeout=LOOK_AT_LEAST_EVERY_S, return_when=asyncio.FIRST_COMPLETED)
    for each in waits:
        each.cancel()


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def main() -> int:
    """Parse the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kubeconfig", type=Path, required=True)
    parser.add_argument("--world", type=Path, required=True)
    parser.add_argument("--http-port", type=int, default=0, help="health endpoint; 0: any free")
    given = parser.parse_args()
    settings = load_settings({"http": HttpSettings(port=given.http_port)})
    return run_process("actors", actors(given.kubeconfig, load_world(given.world)), settings)


if __name__ == "__main__":
    sys.exit(main())
