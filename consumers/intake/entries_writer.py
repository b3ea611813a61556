"""Writes entries to their topic in batches as large as the broker takes.

A broker's limit is one of a batch: what it refuses is halved until it takes it, or until it is one entry. An
entry that is too large alone is named and stops whoever publishes, because the topic promises no gap.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import structlog
from aiokafka import AIOKafkaProducer

from consumers.contract.entries import RecordedEntry, encode_entry
from consumers.contract.kafka_trouble import REFUSED_AS_TOO_LARGE

_log = structlog.get_logger(__name__)


class EntryTooLarge(Exception):  # noqa: N818 - names what was found
    """The broker refuses a batch of one entry: the text names it, `next_step` what lets it pass."""

    def __init__(self, recorded: RecordedEntry, size: int, topic: str) -> None:
        entry = recorded.entry
        about = f" of {recorded.subject}" if recorded.subject else ""
        super().__init__(
            f"the entry at position {entry.position} ({entry.kind}{about}) takes {size} bytes, more than "
            f"topic {topic} takes; nothing behind it is published, because readers are promised no gap"
        )
        self.next_step = f"raise max.message.bytes of topic {topic} to at least {size}"


class Written(NamedTuple):
    """One write to the log: how many entries, and the offset of the first."""

    number: int
    offset: int


class EntriesWriter:
    """One producer's writes to partition 0. What it has learned of the broker's limit it keeps."""

    def __init__(self, producer: AIOKafkaProducer, topic: str) -> None:
        self._producer = producer
        self._topic = topic
        self._bytes_max: int | None = None

    async def write(self, entries: Sequence[RecordedEntry]) -> Written:
        """Write the first of them, as many as go into one batch, at least one.

        Raises EntryTooLarge and aiokafka's KafkaError; then none is written.
        """
        while True:
            batch = self._producer.create_batch()
            count, size = self._fill(batch, entries)
            whole = batch.size()
            try:
                sent = await self._producer.send_batch(batch, self._topic, partition=0)
                return Written(count, (await sent).offset)
            except REFUSED_AS_TOO_LARGE as refused:
                if count == 1:
                    raise EntryTooLarge(entries[0], whole, self._topic) from refused
                self._bytes_max = size // 2
                _log.warning(
                    "the broker refuses a batch of entries as too large: it is halved",
                    topic=self._topic,
                    entries=count,
                    bytes=whole,
                )

    def _fill(self, batch: Any, entries: Sequence[RecordedEntry]) -> tuple[int, int]:
        """Put in as many as one batch takes, at least one; how many, and how many bytes they are."""
        total = 0
        for count, recorded in enumerate(entries):
            encoded = encode_entry(recorded)
            headers = list(encoded.headers)
            size = len(encoded.key) + len(encoded.value)
            size += sum(len(name) + len(value or b"") for name, value in headers)
            if count > 0 and self._bytes_max is not None and total + size > self._bytes_max:
                return count, total
            # No timestamp: a broker may refuse, or drop at once, what says that it is a year old.
            taken = batch.append(
                timestamp=None, key=encoded.key, value=encoded.value, headers=headers
            )
            if taken is None:
                assert count > 0, "the first message of a batch always fits"
                return count, total
            total += size
        return len(entries), total
