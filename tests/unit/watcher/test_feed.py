"""A feed: what it is handed is in Kafka before any heartbeat says so."""

import asyncio
from collections.abc import Coroutine
from datetime import UTC, datetime
from typing import Any

import pytest
from aiokafka.errors import (
    KafkaError,
    KafkaTimeoutError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
)

from consumers.contract.events import ListedItem
from consumers.kube.reflector import Bookmark, Deleted, Event, Known, Observed, Page, Relisted
from consumers.watcher.delivery import Delivery
from consumers.watcher.feed import Feed
from consumers.watcher.position import Place
from tests.unit.watcher.fakes import FakeProducer

NOW = datetime(2026, 11, 1, tzinfo=UTC)
TOPIC = "eni-ledger.pod.v1"


def pod(name: str, version: int) -> dict[str, Any]:
    return {
        "metadata": {"namespace": "ns", "name": name, "uid": "u", "resourceVersion": str(version)}
    }


class Bench:
    """A feed on a fake producer."""

    def __init__(self, producer: FakeProducer, *places: Place | None) -> None:
        self.producer = producer
        self.places = list(places) or [None]
        self.reports: list[tuple[bool, str]] = []
        self.repairs = 0
        self.repairable = True
        self.resets: list[str] = []
        delivery = Delivery(
            producer,
            report=lambda ok, reason: self.reports.append((ok, reason)),
            repair=self._repair,
            log_reset=self.resets.append,
            sleep=lambda _seconds: asyncio.sleep(0),
            rng=lambda: 0.0,
        )
        self.feed = Feed(
            "c1", "pod", TOPIC, delivery=delivery, read_place=self._place, now=lambda: NOW
        )

    async def _repair(self) -> bool:
        self.repairs += 1
        return self.repairable

    async def _place(self) -> Place | None:
        return self.places.pop(0) if len(self.places) > 1 else self.places[0]


def run(scenario: Coroutine[Any, Any, None]) -> None:
    asyncio.run(scenario)


LIST: list[Event] = [
    Relisted("start", 10),
    Observed("ns/a", pod("a", 4), 4),
    Page("", None, (("ns/a", Known("u", 4)),), 10),
    Bookmark(10, gap=True),
]


def test_a_list_becomes_objects_and_a_marker() -> None:
    async def scenario() -> None:
        bench = Bench(FakeProducer())
        await bench.feed.take(LIST)
        observed, listed = bench.producer.messages
        assert (observed.action, observed.resource_version, observed.epoch) == ("observed", 4, 0)
        assert listed.page is not None
        assert (listed.resource_version, listed.page.items) == (10, (ListedItem("ns/a", "u", 4),))
        assert bench.feed.position.watermark == 10

    run(scenario())


def test_the_watermark_waits_for_the_acknowledgement() -> None:
    async def scenario() -> None:
        producer = FakeProducer()
        bench = Bench(producer)
        await bench.feed.take(LIST)
        producer.held = asyncio.Event()
        taking = asyncio.create_task(bench.feed.take([Observed("ns/b", pod("b", 11), 11)]))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert bench.feed.position.watermark == 10
        assert not taking.done(), "the sink holds the reflector back"
        producer.held.set()
        await taking
        assert bench.feed.position.watermark == 11

    run(scenario())


def test_a_refused_send_is_repeated_until_it_is_taken() -> None:
    async def scenario() -> None:
        refused = KafkaTimeoutError("no leader")
        producer = FakeProducer(refusals=[refused, None, refused, refused])
        bench = Bench(producer)
        await bench.feed.take([Observed("ns/a", pod("a", 4), 4), Observed("ns/b", pod("b", 5), 5)])
        assert sorted(message.name for message in producer.messages) == ["a", "b"]
        assert [ok for ok, _ in bench.reports] == [False, False, False, True]
        assert "no leader" in bench.reports[0][1]
        assert bench.repairs == 3
        assert bench.feed.position.watermark == 5

    run(scenario())


def test_nothing_is_sent_to_a_broker_that_has_not_been_repaired() -> None:
    async def scenario() -> None:
        producer = FakeProducer(refusals=[KafkaTimeoutError("gone")])
        bench = Bench(producer)
        bench.repairable = False
        taking = asyncio.create_task(bench.feed.take([Observed("ns/a", pod("a", 4), 4)]))
        while bench.repairs < 3:  # noqa: ASYNC110 - the fake sleep yields only
            await asyncio.sleep(0)
        assert not await bench.feed.heartbeat()
        assert producer.taken == []
        bench.repairable = True
        await taking
        assert [message.name for message in producer.messages] == ["a"]

    run(scenario())


@pytest.mark.parametrize("refusal", [MessageSizeTooLargeError, RecordListTooLargeError])
def test_an_object_too_large_is_left_out_and_the_rest_goes_on(refusal: type[KafkaError]) -> None:
    async def scenario() -> None:
        big = refusal("big")
        producer = FakeProducer(refusals=[big, None, big])
        bench = Bench(producer)
        await bench.feed.take([Observed("ns/a", pod("a", 4), 4), Observed("ns/b", pod("b", 5), 5)])
        assert [message.name for message in producer.messages] == ["b"]

    run(scenario())


def test_a_batch_too_large_for_its_topic_loses_nothing_that_fits_alone() -> None:
    async def scenario() -> None:
        small, large = pod("a", 4), pod("large", 5)
        large["metadata"]["labels"] = {"l": "x" * 900}
        bench = Bench(FakeProducer(batch_bytes_max=800))
        events = [Observed("ns/a", small, 4), Observed("ns/large", large, 5)]
        events += [Observed(f"ns/b{n}", pod(f"b{n}", 6 + n), 6 + n) for n in range(9)]
        await bench.feed.take(events)
        assert sorted(message.name for message in bench.producer.messages) == [
            "a", *(f"b{n}" for n in range(9)),
        ]  # fmt: skip
        assert bench.feed.position.watermark == 14

    run(scenario())


def test_an_object_of_a_wrong_shape_is_left_out_and_the_rest_goes_on() -> None:
    async def scenario() -> None:
        bench = Bench(FakeProducer())
        bad = pod("a", 4)
        bad["spec"] = []
        await bench.feed.take([Observed("ns/a", bad, 4), Observed("ns/b", pod("b", 5), 5)])
        assert [message.name for message in bench.producer.messages] == ["b"]

    run(scenario())


def test_what_vanished_between_lists_is_a_deletion() -> None:
    async def scenario() -> None:
        bench = Bench(FakeProducer())
        await bench.feed.take([Deleted("ns/a", pod("a", 20), 20, synthetic=True)])
        (message,) = bench.producer.messages
        assert (message.action, message.uid, message.resource_version) == ("deleted", "u", 20)

    run(scenario())


def test_heartbeats_go_to_every_partition_with_what_is_known() -> None:
    async def scenario() -> None:
        bench = Bench(FakeProducer(), Place(2, 7, 3))
        assert await bench.feed.inherit() == 7
        assert await bench.feed.heartbeat()
        first, second = bench.producer.messages
        assert {
            first.heartbeat and first.heartbeat.partition,
            second.heartbeat and second.heartbeat.partition,
        } == {0, 1}
        assert first.id != second.id
        for message in (first, second):
            assert message.heartbeat is not None
            assert (message.epoch, message.resource_version) == (2, 7)
            assert (message.heartbeat.continuous_from, message.heartbeat.alive_at) == (3, None)
            assert not message.heartbeat.synced
        await bench.feed.take([Relisted("start", 9), Bookmark(9, gap=True)])
        await bench.feed.heartbeat()
        last = bench.producer.messages[-1]
        assert last.heartbeat is not None
        assert (last.resource_version, last.heartbeat.alive_at, last.heartbeat.synced) == (
            9,
            NOW,
            True,
        )

    run(scenario())


def test_a_reset_history_starts_an_epoch_before_its_first_object() -> None:
    async def scenario() -> None:
        bench = Bench(FakeProducer(), Place(2, 100, 90))
        await bench.feed.inherit()
        await bench.feed.before_list()
        await bench.feed.take([Relisted("start", 7), Observed("ns/a", pod("a", 5), 5)])
        await bench.feed.take([Page("", None, (), 7), Bookmark(7, gap=True)])
        assert [message.epoch for message in bench.producer.messages] == [3, 3]
        assert bench.feed.position.watermark == 7

    run(scenario())


def test_what_others_published_before_the_list_counts() -> None:
    async def scenario() -> None:
        bench = Bench(FakeProducer(), Place(0, 5, 5), Place(0, 50, 5))
        await bench.feed.inherit()
        await bench.feed.before_list()
        await bench.feed.take([Relisted("resync", 40)])
        assert bench.feed.position.epoch == 1

    run(scenario())


def test_offsets_that_went_back_mean_that_the_log_lost_what_it_had() -> None:
    async def scenario() -> None:
        producer = FakeProducer()
        bench = Bench(producer)
        await bench.feed.heartbeat()
        await bench.feed.heartbeat()
        assert bench.resets == []
        producer.next_offset = 0
        await bench.feed.heartbeat()
        assert set(bench.resets) == {TOPIC}

    run(scenario())


def test_a_cancelled_reflector_does_not_cut_a_delivery() -> None:
    async def scenario() -> None:
        producer = FakeProducer(held=asyncio.Event())
        bench = Bench(producer)
        taking = asyncio.create_task(bench.feed.take([Observed("ns/a", pod("a", 4), 4)]))
        await asyncio.sleep(0)
        taking.cancel()
        await asyncio.gather(taking, return_exceptions=True)
        assert producer.held is not None
        producer.held.set()
        assert await bench.feed.drain(5)
        assert [message.name for message in producer.messages] == ["a"]
        assert bench.feed.position.watermark == 4

    run(scenario())


def test_draining_has_an_end() -> None:
    async def scenario() -> None:
        bench = Bench(FakeProducer(held=asyncio.Event()))
        taking = asyncio.create_task(bench.feed.take([Observed("ns/a", pod("a", 4), 4)]))
        await asyncio.sleep(0)
        taking.cancel()
        assert not await bench.feed.drain(0.01)
        assert bench.feed.position.watermark == 0

    run(scenario())
