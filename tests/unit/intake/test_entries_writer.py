"""Batches as large as the broker takes: every entry once, in order, up to one that is too large alone."""

import asyncio
import contextlib
import uuid
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.errors import MessageSizeTooLargeError, RecordListTooLargeError
from aiokafka.producer.message_accumulator import BatchBuilder
from hypothesis import given
from hypothesis import strategies as st

from consumers.contract.entries import EntryAllocation, EntryData, RecordedEntry
from consumers.intake.entries_writer import EntriesWriter, EntryTooLarge

AT = datetime(2026, 1, 1, tzinfo=UTC)
TOPIC = "eni-ledger.entries.v1"
#: What a batch and the rest of an entry take at most beside what is in `data`.
REST = 900


class Broker:
    """A producer to a broker that refuses a batch beyond a limit, as Kafka does: whole, with nothing
    of it written."""

    def __init__(self, limit: int, refusal: type[Exception] = MessageSizeTooLargeError) -> None:
        self.limit = limit
        self.log: list[int] = []
        self.refused = 0
        self._refusal = refusal

    def create_batch(self) -> BatchBuilder:
        return BatchBuilder(131_072, 0)

    async def send_batch(self, batch: Any, topic: str, *, partition: int) -> Any:
        assert (topic, partition) == (TOPIC, 0)
        sent: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        count = batch.record_count()
        if len(batch._build()) > self.limit:
            self.refused += 1
            sent.set_exception(self._refusal())
        else:
            sent.set_result(SimpleNamespace(offset=sum(self.log)))
            self.log.append(count)
        return sent


def entry(position: int, size: int) -> RecordedEntry:
    about = EntryAllocation(
        id=uuid.UUID(int=7), version=1, namespace="shop", pod="web-0", interface="eth0"
    )
    data = EntryData(
        position=position,
        id=position,
        kind="reserved",
        recorded_at=AT,
        allocation=about,
        cause={},
        data={"n": "x" * size},
    )
    return RecordedEntry(cluster="c1", incarnation=1, subject="shop/web-0", entry=data)


async def write_all(writer: EntriesWriter, entries: list[RecordedEntry]) -> int:
    """As the publisher goes on, turn for turn; how many were written."""
    done = 0
    while done < len(entries):
        written = await writer.write(entries[done:])
        assert written.offset == done
        done += written.number
    return done


def test_an_ordinary_feed_is_written_in_as_few_batches_as_before() -> None:
    broker = Broker(1_000_000)
    entries = [entry(each, 100) for each in range(1, 301)]
    assert asyncio.run(write_all(EntriesWriter(broker, TOPIC), entries)) == 300
    assert (broker.refused, len(broker.log)) == (0, 2)


@pytest.mark.parametrize("refusal", [MessageSizeTooLargeError, RecordListTooLargeError])
def test_what_was_learned_of_the_limit_is_kept(refusal: type[Exception]) -> None:
    broker = Broker(9_000, refusal)
    entries = [entry(each, 100) for each in range(1, 301)]
    assert asyncio.run(write_all(EntriesWriter(broker, TOPIC), entries)) == 300
    assert broker.refused == 4, "131 kB, 65 kB, 33 kB, 16 kB"


@given(
    st.lists(st.integers(0, 60_000), min_size=1, max_size=40),
    st.integers(REST + 100, 150_000),
)
def test_all_is_written_in_order_up_to_what_never_fits(sizes: list[int], limit: int) -> None:
    broker = Broker(limit)
    entries = [entry(number, size) for number, size in enumerate(sizes, 1)]
    never = [number for number, size in enumerate(sizes, 1) if size > limit]
    maybe = [number for number, size in enumerate(sizes, 1) if limit - REST < size <= limit]
    with contextlib.suppress(EntryTooLarge):
        asyncio.run(write_all(EntriesWriter(broker, TOPIC), entries))
    written = sum(broker.log)
    assert written < min(never, default=len(sizes) + 1)
    assert written == len(sizes) or written + 1 in (*never, *maybe)


def test_one_that_never_fits_is_named_with_what_lets_it_pass() -> None:
    broker = Broker(20_000)
    entries = [entry(1, 10), entry(2, 50_000), entry(3, 10)]
    with pytest.raises(EntryTooLarge) as stopped:
        asyncio.run(write_all(EntriesWriter(broker, TOPIC), entries))
    assert broker.log == [1]
    assert "the entry at position 2 (reserved of shop/web-0) takes 5" in str(stopped.value)
    needed = int(stopped.value.next_step.rpartition(" ")[2])
    assert f"raise max.message.bytes of topic {TOPIC}" in stopped.value.next_step
    broker.limit = needed
    assert asyncio.run(EntriesWriter(broker, TOPIC).write(entries[1:])).number == 1
