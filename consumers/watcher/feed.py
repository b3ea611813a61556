"""One entity: what its reflector hands over becomes records, and its position becomes
heartbeats."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime

import structlog

from consumers.contract.encode import (
    encode_deleted,
    encode_heartbeat,
    encode_listed,
    encode_observed,
)
from consumers.contract.events import Encoded, Heartbeat, ListedItem, ListedPage
from consumers.contract.objects import ObjectError
from consumers.contract.topics import Entity
from consumers.kube.reflector import Deleted, Event, Observed, Page, Relisted
from consumers.runtime import metrics
from consumers.watcher.delivery import Delivery
from consumers.watcher.position import Place, Position, adopt, advance, begin_list

_log = structlog.get_logger(__name__)

WATERMARK = metrics.gauge("watcher_watermark", "ResourceVersion of the last heartbeat", ("entity",))
EPOCH = metrics.gauge("watcher_epoch", "Epoch of the messages produced", ("entity",))
LISTS = metrics.counter("watcher_lists", "Lists begun", ("entity", "reason"))
UNREADABLE = metrics.counter("watcher_unreadable", "Objects of a wrong shape", ("entity",))

ReadPlace = Callable[[], Awaitable[Place | None]]


class Feed:
    """Produces one entity's topic.

    `read_place` reads the last published place from Kafka; `now` is the wall clock, for
    `ce_time` and the proof of life only: nothing is ordered by it.
    """

    def __init__(
        self,
        cluster: str,
        entity: Entity,
        topic: str,
        *,
        delivery: Delivery,
        read_place: ReadPlace,
        now: Callable[[], datetime],
    ) -> None:
        self.entity = entity
        self.topic = topic
        self.position = Position()
        self._cluster = cluster
        self._delivery = delivery
        self._read_place = read_place
        self._now = now
        self._highest = 0
        self._order = asyncio.Lock()
        self._delivering: set[asyncio.Task[None]] = set()

    async def inherit(self) -> int | None:
        """Start where the last watcher was; the resourceVersion to resume from, None if there
        was none."""
        place = await self._read_place()
        self.position = Position.inherited(place)
        return place.resource_version if place is not None and place.resource_version else None

    async def before_list(self) -> None:
        """Look at what others have published BEFORE asking for a list.

        A list asked for after the look can only be older than what they saw if history began again.
        """
        place = await self._read_place()
        async with self._order:
            self.position = adopt(self.position, place)
        same_epoch = place is not None and place.epoch == self.position.epoch
        self._highest = place.resource_version if place is not None and same_epoch else 0

    async def take(self, events: Sequence[Event]) -> None:
        """The reflector's sink: returns when Kafka has acknowledged all of it.

        Cancelling the caller does not stop a delivery under way; `drain` waits for it.
        """
        delivering = asyncio.create_task(self._deliver(tuple(events), self._now()))
        self._delivering.add(delivering)
        delivering.add_done_callback(self._delivering.discard)
        await asyncio.shield(delivering)

    async def drain(self, deadline_s: float) -> bool:
        """Wait for deliveries under way; whether all ended in time. Those that did not are
        cancelled."""
        if not self._delivering:
            return True
        _, late = await asyncio.wait(self._delivering, timeout=deadline_s)
        for each in late:
            each.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        return not late

    async def _deliver(self, events: Sequence[Event], received: datetime) -> None:
        # After a cancelled reflector its last batch may still be on its way when a new one hands
        # over.
        async with self._order:
            records: list[Encoded] = []
            position = self.position
            for event in events:
                if isinstance(event, Relisted):
                    self.position = position = self._begin_list(event)
                record = self._record(event, position.epoch, received)
                if record is not None:
                    records.append(record)
            await self._delivery.send_all(self.topic, records)
            for event in events:
                position = advance(position, event, received)
            self.position = position

    def _begin_list(self, event: Relisted) -> Position:
        begun = begin_list(self.position, event.resource_version, self._highest)
        LISTS.labels(entity=self.entity, reason=event.reason.split(" ", 1)[0]).inc()
        if begun.epoch != self.position.epoch:
            _log.warning(
                "the API server's history began again: new epoch",
                entity=self.entity,
                epoch=begun.epoch,
                listed=event.resource_version,
                observed_before=max(self.position.watermark, self._highest),
            )
        return begun

    def _record(self, event: Event, epoch: int, time: datetime) -> Encoded | None:
        try:
            match event:
                case Observed():
                    return encode_observed(
                        self._cluster, self.entity, event.object, epoch=epoch, time=time
                    )
                case Deleted():
                    return encode_deleted(
                        self._cluster, self.entity, event.object, epoch=epoch, time=time
                    )
                case Page():
                    return self._page(event, epoch, time)
                case _:
                    return None
        except ObjectError as refused:
            UNREADABLE.labels(entity=self.entity).inc()
            _log.error("left out: not the shape of its kind", key=_key(event), cause=str(refused))
            return None

    def _page(self, page: Page, epoch: int, time: datetime) -> Encoded:
        items = tuple(
            ListedItem(key, known.uid, known.resource_version) for key, known in page.items
        )
        return encode_listed(
            self._cluster,
            self.entity,
            ListedPage(page.range_from, page.range_to, items),
            epoch=epoch,
            resource_version=page.resource_version,
            time=time,
        )

    async def heartbeat(self) -> bool:
        """Produce the position to every partition; whether all were acknowledged."""
        position, now = self.position, self._now()
        partitions = await self._delivery.partitions(self.topic)
        sends = [
            self._delivery.send_once(
                self.topic,
                partition,
                encode_heartbeat(
                    self._cluster,
                    self.entity,
                    Heartbeat(
                        partition, position.continuous_from, position.alive_at, position.synced
                    ),
                    epoch=position.epoch,
                    resource_version=position.watermark,
                    time=now,
                ),
            )
            for partition in partitions
        ]
        acknowledged = await asyncio.gather(*sends)
        WATERMARK.labels(entity=self.entity).set(position.watermark)
        EPOCH.labels(entity=self.entity).set(position.epoch)
        return bool(partitions) and all(acknowledged)


def _key(event: Event) -> str:
    return event.key if isinstance(event, Observed | Deleted) else ""
