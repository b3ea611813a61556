"""Lets our consumers read records with a header name that is not UTF-8, which aiokafka 0.14 can't.

It raises UnicodeDecodeError for them, at each attempt anew: a single such record of whatever producer
would end every intake and every watcher that reads its partition, for good. Java's client reads them.
"""

from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

from aiokafka.consumer import fetcher
from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.record.memory_records import MemoryRecords

_LENGTH_AT: Final = 8
_BEFORE_BATCH: Final = 12


class AnyHeaderName:
    """The record batches of one answer of a broker, for aiokafka's fetcher.

    Rejected: aiokafka's readers in Python for everything, at a quarter of the speed; and giving such
    a record up, which loses the whole batch around it, since a batch is read from its beginning.
    """

    def __init__(self, answer: bytes) -> None:
        self._answer = answer
        self._batches = MemoryRecords(answer)
        self._at = 0

    def has_next(self) -> bool:
        """Whether there is another whole batch."""
        return bool(self._batches.has_next())

    def size_in_bytes(self) -> int:
        """Of all batches, a part of one at the end included."""
        return int(self._batches.size_in_bytes())

    def next_batch(self) -> "_Batch | None":
        """The next batch; None after the last."""
        batch = self._batches.next_batch()
        if batch is None:
            return None
        begin = self._at
        size = int.from_bytes(self._answer[begin + _LENGTH_AT : begin + _BEFORE_BATCH], "big")
        self._at += _BEFORE_BATCH + size
        return _Batch(batch, memoryview(self._answer)[begin : self._at])


class _Batch:
    """A record batch; what is no UTF-8 in the name of a header is read as its escapes, `\\xff`."""

    def __init__(self, batch: Any, raw: memoryview) -> None:
        self._batch = batch
        self._raw = raw

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __iter__(self) -> Iterator[Any]:
        read = 0
        try:
            for record in self._batch:
                yield record
                read += 1
        except UnicodeDecodeError:
            yield from islice(_escaped(self._raw), read, None)


class _Escaping(bytearray):
    """Bytes whose parts decode without fail."""

    def __getitem__(self, at: Any) -> Any:
        found = super().__getitem__(at)
        return _Escaping(found) if isinstance(at, slice) else found

    def decode(self, encoding: str = "utf-8", errors: str = "backslashreplace") -> str:
        return super().decode(encoding, errors)


def _escaped(raw: memoryview) -> Any:
    """The batch by aiokafka's reader in Python, which takes its names from a buffer that we may choose."""
    batch = _DefaultRecordBatchPy(raw)
    iter(batch)  # uncompresses
    batch._buffer = _Escaping(batch._buffer)
    return batch


def read_any_header_name() -> None:
    """From now on, for every consumer of this process. Safe to repeat."""
    fetcher.MemoryRecords = AnyHeaderName
