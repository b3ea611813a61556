"""The reconciler process: workers on due work, the feed's sequencer and seal, a guard at the door.

Before it acts it makes sure that the API server is the cluster it means (P11), that the ledger's
clock is the database's own, and that the schema is the one this code knows.
"""

import asyncio
import contextlib
import functools
import random
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from uuid import uuid4

import psycopg
import structlog

from consumers.cloud.aliyun import aliyun_cloud
from consumers.cloud.settings import cloud_settings
from consumers.kube.lightkube_adapter import LightkubeAdapter
from consumers.kube.port import KubeError
from consumers.reconciler.dispatch import Dispatcher
from consumers.reconciler.incumbent import why_not_master
from consumers.reconciler.measuring import keep_measured
from consumers.reconciler.sealing import keep_sealed
from consumers.reconciler.shadow import looking_only
from consumers.reconciler.tools import Tools
from consumers.runtime.errors import OperatorError
from consumers.runtime.health import Health
from consumers.runtime.settings import Settings
from ledger.store.database import FROZEN_AFTER_S, UNAVAILABLE, Database, why_unavailable
from ledger.store.feed import stamp
from ledger.store.guard import unsafe
from ledger.store.incarnations import begin_shadow, confirm_incarnation, unconfirmed
from ledger.store.places import WrongCluster, confirm_cluster
from ledger.store.sweeps import begin_sweeping
from ledger.store.work import CHANNEL

_log = structlog.get_logger(__name__)

_GUARD_AGAIN_S = 5.0
_FEED_EVERY_S = 0.5
_MASTER_EVERY_S = 5.0


class SettingMissing(OperatorError):  # noqa: N818 - names what was found
    """A setting that nothing can do without is empty: the text names it and what to set."""


async def run(settings: Settings, stop: asyncio.Event, health: Health) -> None:
    """Reconcile until `stop`; calls in flight are finished and recorded before it returns."""
    _require(settings)
    database = Database(
        settings.postgres.dsn.get_secret_value(),
        pool_size=max(settings.postgres.pool_size, settings.reconciler.workers + 4),
        statement_timeout_s=settings.postgres.statement_timeout_s,
        idle_in_transaction_s=FROZEN_AFTER_S,
        application_name="eni-ledger-reconciler",
    )
    kube = LightkubeAdapter.from_settings(settings.kube, instance="eni-ledger-reconciler")
    tools = Tools(
        database,
        aliyun_cloud(cloud_settings(settings.cloud)),
        kube,
        settings,
        uuid4,
        random.SystemRandom(),
    )
    if settings.shadow:
        tools = looking_only(tools)
    try:
        if await _guarded(tools, stop, health):
            await _reconcile(tools, stop, health)
    finally:
        kube.close()
        database.close()


def _require(settings: Settings) -> None:
    for name, value in (
        ("cluster_id", settings.cluster_id),
        ("cloud.region_id", settings.cloud.region_id),
    ):
        if not value:
            variable = "ENI_LEDGER_" + name.upper().replace(".", "__")
            raise SettingMissing(f"setting {name} is empty: set {variable}")


async def _guarded(tools: Tools, stop: asyncio.Event, health: Health) -> bool:
    """Wait until it is safe to act; False when stopped before."""
    while not stop.is_set():
        why = await asyncio.to_thread(_unsafe, tools)
        health.ready("guard", why is None, why or "the right cluster, clock and schema")
        if why is None:
            return True
        _log.error("not acting yet", cause=why)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), _GUARD_AGAIN_S)
    return False


def _unsafe(tools: Tools) -> str | None:
    """Why nothing may be done, or None."""
    try:
        uid = tools.kube.cluster_uid()
        with tools.database.transaction() as connection:
            why = unsafe(connection, clock_may_be_replaced=tools.settings.local_stack)
            if why is not None:
                return why
            confirm_cluster(connection, tools.settings.cluster_id, uid)
            begin_sweeping(connection, tools.settings.cluster_id)
            if tools.settings.shadow:
                why = begin_shadow(connection, tools.settings.cluster_id)
        if why is not None:
            return why
        _confirm_incarnation(tools)
    except (KubeError, WrongCluster) as refused:
        return str(refused)
    except UNAVAILABLE as unavailable:
        return f"PostgreSQL: {why_unavailable(unavailable)}"
    return None


async def _reconcile(tools: Tools, stop: asyncio.Event, health: Health) -> None:
    dispatcher = Dispatcher(tools)
    dispatcher.hold_back("whether the incumbent runs has not been looked at yet")
    running = asyncio.create_task(asyncio.to_thread(dispatcher.run))
    sealing = asyncio.create_task(keep_sealed(tools.database, stop))
    measuring = asyncio.create_task(keep_measured(tools, stop))
    listening = threading.Thread(
        target=_listen, args=(tools.database.dsn, dispatcher.wake, stop), daemon=True
    )
    listening.start()
    look_at = 0.0
    while not stop.is_set():
        if asyncio.get_running_loop().time() >= look_at:
            # A shadow does nothing beside anybody.
            shadow = tools.settings.shadow
            look = functools.partial(why_not_master, tools.kube, datetime.now(UTC))
            master = None if shadow else await asyncio.to_thread(look)
            dispatcher.hold_back(master)
            health.ready("work", master is None, master or "")
            look_at = asyncio.get_running_loop().time() + _MASTER_EVERY_S
        await asyncio.to_thread(_keep_the_book, tools)
        why = dispatcher.unavailable
        health.ready("postgres", why is None, why or "")
        if running.done():
            break
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), _FEED_EVERY_S)
    dispatcher.stop()
    await running
    await sealing
    await measuring


def _keep_the_book(tools: Tools) -> None:
    """What one of the reconcilers does for everybody: the feed, and noticing a restore."""
    try:
        _confirm_incarnation(tools)
        with tools.database.transaction() as connection:
            stamp(connection)
    except UNAVAILABLE as unavailable:
        _log.warning("the feed waits for PostgreSQL", cause=why_unavailable(unavailable))


def _confirm_incarnation(tools: Tools) -> None:
    settings = tools.settings
    with tools.database.transaction() as connection:
        if unconfirmed(connection) is None:
            return
        found = confirm_incarnation(
            connection,
            settings.cluster_id,
            standby_loses_nothing=settings.postgres.synchronous_standby,
        )
    if found is not None:
        _log.error("nothing is taken away until `eni-ledger verify --accept`", cause=found)


def _listen(dsn: str, wake: Callable[[], None], stop: asyncio.Event) -> None:
    """Wake the dispatcher at each notification; a lost connection is made again, the poll bridges."""
    while not stop.is_set():
        try:
            with psycopg.connect(dsn, autocommit=True, connect_timeout=5) as connection:
                connection.execute(f"LISTEN {CHANNEL}")
                while not stop.is_set():
                    for _ in connection.notifies(timeout=1.0, stop_after=1):
                        wake()
        except psycopg.OperationalError as unavailable:
            _log.warning("listening again", cause=str(unavailable))
            threading.Event().wait(1.0)
