"""Record batches with header names that are not UTF-8, which aiokafka's own producer refuses."""

from typing import Any

from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy

PLAIN, GZIP, ZSTD = 0, 1, 4


class RawName(str):
    """A header name of any bytes, given as hexadecimal."""

    __slots__ = ()

    def encode(self, encoding: str = "utf-8", errors: str = "strict") -> bytes:
        return bytes.fromhex(self)


def builder(codec: int = PLAIN) -> Any:
    """Of one batch; takes a RawName for a name."""
    return _DefaultRecordBatchBuilderPy(
        magic=2, compression_type=codec, is_transactional=False, producer_id=-1,
        producer_epoch=-1, base_sequence=0, batch_size=1 << 20,
    )  # fmt: skip
