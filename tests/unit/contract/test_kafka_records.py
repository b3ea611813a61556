"""A header name that is no UTF-8 must not end who reads its partition."""

import pytest
from aiokafka import TopicPartition
from aiokafka.consumer import fetcher

from consumers.contract.kafka_client import consumer_options
from consumers.runtime.settings import KafkaSettings
from tests.unit.contract.odd_batches import GZIP, PLAIN, ZSTD, RawName, builder


def batch(first: int, names: list[str], codec: int) -> bytes:
    """One record for each header name, from offset `first` on, as a broker sends them."""
    building = builder(codec)
    for at, name in enumerate(names):
        building.append(
            at, 1_700_000_000_000 + at, b"key", b"value %d" % at + b" " * 99, [(name, b"x")]
        )
    built = bytes(building.build())
    return first.to_bytes(8, "big") + built[8:]  # the base offset is not under the checksum


@pytest.mark.parametrize("codec", [PLAIN, GZIP, ZSTD])
def test_a_header_name_of_any_bytes_is_read_and_so_is_all_around_it(codec: int) -> None:
    consumer_options(KafkaSettings(), "test")  # what every consumer of ours is made with
    answer = (
        batch(5, ["ce_id", RawName("6365fffe"), "ce_id"], codec)
        + batch(8, ["ce_id"], codec)
        + batch(9, [RawName("80")], codec)
        + batch(10, ["cut off"], codec)[:-1]
    )
    read = list(
        fetcher.PartitionRecords(
            TopicPartition("t", 0), fetcher.MemoryRecords(answer), [], 5, None, None, True, 0
        )
    )
    assert [(record.offset, record.headers[0][0], record.value.strip()) for record in read] == [
        (5, "ce_id", b"value 0"),
        (6, "ce\\xff\\xfe", b"value 1"),
        (7, "ce_id", b"value 2"),
        (8, "ce_id", b"value 0"),
        (9, "\\x80", b"value 0"),
    ]
    assert [record.timestamp - 1_700_000_000_000 for record in read] == [0, 1, 2, 0, 0]
    assert fetcher.MemoryRecords(answer).size_in_bytes() == len(answer)
