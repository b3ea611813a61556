"""Records to Kafka, until acknowledged: nothing is given up, and nothing more is read meanwhile."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Protocol

import structlog
from aiokafka.errors import KafkaError

from consumers.contract.events import Encoded
from consumers.contract.kafka_trouble import REFUSED_AS_TOO_LARGE, explain
from consumers.runtime import metrics

_log = structlog.get_logger(__name__)

BACKOFF_BASE_S: Final = 0.2
BACKOFF_CAP_S: Final = 3.0

PRODUCED = metrics.counter("watcher_produced", "Records acknowledged by Kafka", ("topic",))
FAILED = metrics.counter("watcher_produce_failures", "Sends that had to be repeated", ("topic",))
TOO_LARGE = metrics.counter("watcher_too_large", "Objects too large to be sent", ("topic",))


class Producer(Protocol):
    """What we use of AIOKafkaProducer."""

    async def send(
        self,
        topic: str,
        value: bytes | None = None,
        key: bytes | None = None,
        partition: int | None = None,
        *,
        headers: list[tuple[str, bytes]] | None = None,
    ) -> "asyncio.Future[Any]":
        """Queue one record; the future is done when it is acknowledged."""
        ...

    async def partitions_for(self, topic: str) -> set[int]:
        """The partitions of a topic."""
        ...


class Delivery:
    """Sends through one producer.

    `report(ok, reason)` is told whether Kafka takes our records. After a failure nothing is sent
    until `repair` has succeeded: it makes sure of the topics, because a broker that came back
    empty must not create them by the way, with a number of partitions of its own.
    `log_reset(topic)` is called when a partition's offsets went backwards: the broker has lost
    what it had acknowledged, and readers will miss it unless they are told again.
    """

    def __init__(
        self,
        producer: Producer,
        *,
        report: Callable[[bool, str], None],
        repair: Callable[[], Awaitable[bool]],
        log_reset: Callable[[str], None],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        rng: Callable[[], float] = random.random,
    ) -> None:
        self._producer = producer
        self._report = report
        self._repair = repair
        self._log_reset = log_reset
        self._sleep = sleep
        self._rng = rng
        self._doubted = False
        self._repairing = asyncio.Lock()
        self._offsets: dict[tuple[str, int], int] = {}

    async def send_all(self, topic: str, records: Sequence[Encoded]) -> None:
        """Return when every record is acknowledged; repeat those that are not, for as long as it
        takes."""
        waiting = list(records)
        attempt = 0
        while waiting:
            if await self._trusted():
                waiting = await self._attempt(topic, waiting, partition=None)
                if not waiting:
                    return
            attempt += 1
            longest = min(BACKOFF_CAP_S, BACKOFF_BASE_S * 2.0 ** min(attempt, 10))
            await self._sleep(longest * (0.5 + self._rng() / 2))

    async def send_once(self, topic: str, partition: int, record: Encoded) -> bool:
        """Try once, to one partition; whether it was acknowledged.

        Calls for one partition must not overlap: then a lower offset than before means a new log.
        """
        if not await self._trusted():
            return False
        return not await self._attempt(topic, [record], partition=partition)

    async def partitions(self, topic: str) -> list[int]:
        """The topic's partitions; empty while Kafka does not say."""
        try:
            return sorted(await self._producer.partitions_for(topic))
        except KafkaError as failure:
            why = explain(failure, topic=topic)
            self._report(False, f"Kafka does not say the partitions of {topic}: {why}")
            return []

    async def _attempt(
        self, topic: str, records: Sequence[Encoded], *, partition: int | None
    ) -> list[Encoded]:
        """Send all at once; the records that were not acknowledged.

        A broker refuses whole batches as too large: what was refused in company is sent alone.
        """
        outcomes = await asyncio.gather(
            *(self._send(topic, record, partition) for record in records), return_exceptions=True
        )
        waiting: list[Encoded] = []
        refused: list[Encoded] = []
        failure: BaseException | None = None
        for record, outcome in zip(records, outcomes, strict=True):
            if isinstance(outcome, REFUSED_AS_TOO_LARGE) and len(records) > 1:
                refused.append(record)
            elif isinstance(outcome, REFUSED_AS_TOO_LARGE):
                TOO_LARGE.labels(topic=topic).inc()
                _log.error("too large for Kafka, left out", topic=topic, key=record.key.decode())
            elif isinstance(outcome, KafkaError):
                waiting.append(record)
                failure = outcome
            elif isinstance(outcome, BaseException):
                raise outcome
            else:
                PRODUCED.labels(topic=topic).inc()
                if partition is not None:
                    self._compare_offset(topic, partition, outcome.offset)
        if failure is None:
            self._report(True, "")
        else:
            self._doubted = True
            FAILED.labels(topic=topic).inc(len(waiting))
            why = explain(failure, topic=topic)
            self._report(False, f"Kafka does not take {len(waiting)} records of {topic}: {why}")
        for record in refused:
            waiting += await self._attempt(topic, [record], partition=partition)
        return waiting

    async def _trusted(self) -> bool:
        """Whether there is nothing to repair, or it has been repaired just now."""
        if not self._doubted:
            return True
        async with self._repairing:
            if self._doubted and await self._repair():
                self._doubted = False
        return not self._doubted

    async def _send(self, topic: str, record: Encoded, partition: int | None) -> Any:
        return await (
            await self._producer.send(
                topic, record.value, record.key, partition, headers=list(record.headers)
            )
        )

    def _compare_offset(self, topic: str, partition: int, offset: int) -> None:
        before = self._offsets.get((topic, partition))
        self._offsets[(topic, partition)] = offset
        if before is not None and offset <= before:
            _log.warning(
                "the log began again", topic=topic, partition=partition, was=before, now=offset
            )
            self._log_reset(topic)
