"""Makes sure that each topic holds a whole list, so that a reader may begin at its beginning.

Retention takes the oldest records away, whatever a reader has read. One that was behind goes on at
the beginning of what is left: it knows everything again as soon as a list lies there. So when
the log begins beyond the place where its last list does, that resource is listed again.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from consumers.contract.kafka_client import consumer_options, started
from consumers.runtime.settings import KafkaSettings

_log = structlog.get_logger(__name__)

LOOK_EVERY_S: Final = 10.0
#: A list that retention takes away at once must not become a list without end.
LIST_AGAIN_AFTER_S: Final = 60.0


class Reach:
    """Where the last list of each topic lies; `list_again(topic)` is called when that is cut off."""

    def __init__(self, settings: KafkaSettings, list_again: Callable[[str], None]) -> None:
        self._settings = settings
        self._list_again = list_again
        self._lists: dict[str, dict[int, int]] = {}
        self._asked: dict[str, float] = {}

    async def mark(self, topic: str) -> None:
        """A list is about to be asked for: all of it will lie behind the end of now.

        Raises aiokafka's KafkaError.
        """
        async with started(self._reader([topic])) as reader:
            ends = await reader.end_offsets(sorted(reader.assignment()))
        self._lists[topic] = {each.partition: offset for each, offset in ends.items()}

    async def watch(self) -> None:
        """Look for ever; a broker that does not answer is asked again."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            try:
                await self._look()
            except (KafkaError, OSError) as unavailable:
                _log.warning("can't see where the logs begin", cause=repr(unavailable))

    async def _look(self) -> None:
        async with started(self._reader(self._lists)) as reader:
            begins = await reader.beginning_offsets(sorted(reader.assignment()))
        now = asyncio.get_running_loop().time()
        for topic, list_at in sorted(self._lists.items()):
            lost = cut_off(list_at, _of(topic, begins))
            if lost and now >= self._asked.get(topic, now):
                self._asked[topic] = now + LIST_AGAIN_AFTER_S
                _log.warning(
                    "retention has cut into the last list: listing again",
                    topic=topic,
                    partitions=lost,
                    next_step="keep the topic at least 12 h (retention.ms, retention.bytes)",
                )
                self._list_again(topic)

    def _reader(self, topics: Iterable[str]) -> AIOKafkaConsumer:
        return AIOKafkaConsumer(*topics, **consumer_options(self._settings, "eni-ledger-watcher"))


def cut_off(list_at: Mapping[int, int], begins: Mapping[int, int]) -> list[int]:
    """The partitions whose log begins beyond the offset from which on the list was written.

    One that only one of the two knows was added, or is away: nothing is known to be lost.
    """
    return sorted(each for each, at in list_at.items() if begins.get(each, at) > at)


def _of(topic: str, offsets: Mapping[TopicPartition, Any]) -> dict[int, int]:
    return {each.partition: offset for each, offset in offsets.items() if each.topic == topic}
