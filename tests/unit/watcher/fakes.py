"""A producer that refuses when told to, and remembers what it took."""

import asyncio
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from aiokafka.errors import MessageSizeTooLargeError

from consumers.contract.events import Message, Record, decode


class Metadata(NamedTuple):
    partition: int
    offset: int


@dataclass
class FakeProducer:
    """Two partitions; `refusals` are raised, one per send, before anything is taken.

    What is sent together is one batch, refused whole above `batch_bytes_max`.
    """

    refusals: list[Exception | None] = field(default_factory=list)
    taken: list[Record] = field(default_factory=list)
    held: asyncio.Event | None = None
    next_offset: int = 0
    batch_bytes_max: int = 1 << 30
    batch: list[int] = field(default_factory=list)

    async def send(
        self,
        topic: str,
        value: bytes | None = None,
        key: bytes | None = None,
        partition: int | None = None,
        *,
        headers: list[tuple[str, bytes]] | None = None,
    ) -> "asyncio.Future[Any]":
        assert isinstance(headers, list), "aiokafka takes nothing else"
        return asyncio.ensure_future(
            self._acknowledge(Record(topic, partition or 0, 0, key, value, tuple(headers or ())))
        )

    async def _acknowledge(self, record: Record) -> Metadata:
        if self.held is not None:
            await self.held.wait()
        self.batch.append(len(record.value or b""))
        await asyncio.sleep(0)
        asyncio.get_running_loop().call_soon(self.batch.clear)
        if sum(self.batch) > self.batch_bytes_max:
            raise MessageSizeTooLargeError("the batch")
        refusal = self.refusals.pop(0) if self.refusals else None
        if refusal is not None:
            raise refusal
        offset = self.next_offset
        self.next_offset += 1
        self.taken.append(record._replace(offset=offset))
        return Metadata(record.partition, offset)

    async def partitions_for(self, topic: str) -> set[int]:
        return {0, 1}

    @property
    def messages(self) -> list[Message]:
        return [decode(record) for record in self.taken]
