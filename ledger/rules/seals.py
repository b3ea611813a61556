"""What a seal is, byte for byte: the canonical bytes of an entry, their hashes, and the chain.

The same entry gives the same bytes on every PostgreSQL it was dumped and restored into, and in
every language: ledger/store/README.md has them in words, the unit tests have vectors.
"""

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import sha256
from itertools import pairwise
from typing import Final, Literal, NamedTuple

import msgspec
from pydantic import BaseModel, ConfigDict, Field

HASH_BYTES: Final = 32
CHECK_BYTES: Final = 4
#: The columns of an entry that have a check of their own, in the order of the checks.
COLUMNS: Final = ("cluster", "allocation_id", "version", "kind", "recorded_at", "cause", "data")
CHECKS_BYTES: Final = CHECK_BYTES * len(COLUMNS)

_ENTRY_FORMAT: Final = b'"eni-ledger.entry.v1"'
_SEAL_FORMAT: Final = b'"eni-ledger.seal.v1"'
_INTEGER: Final = re.compile(r"-?[0-9]+", re.ASCII)

# Numbers stay the text that PostgreSQL gives: a float would merge numbers that differ.
_read = msgspec.json.Decoder(float_hook=lambda text: msgspec.Raw(text.encode())).decode
_write = msgspec.json.Encoder(order="deterministic").encode


class Unsealable(ValueError):  # noqa: N818 - names what was found
    """Content that has no canonical bytes: the text says where and why."""


class FeedRow(NamedTuple):
    """An entry at its place in the feed, as text that loses nothing.

    `allocation_id` is a UUID as PostgreSQL prints it; `recorded_at` is in whole microseconds since
    1970-01-01T00:00:00Z; `cause` and `data` are `jsonb::text`.
    """

    position: int
    entry_id: int
    cluster: str
    allocation_id: str | None
    version: int | None
    kind: str
    recorded_at: str
    cause: str
    data: str


class Leaf(NamedTuple):
    """What a seal keeps of one entry."""

    entry_id: int
    hash: bytes
    checks: bytes


@dataclass(frozen=True, slots=True)
class Seal:
    """A sealed range of the feed, positions `since` to `upto`, both inclusive.

    `sealed_at` is written as `recorded_at` of a FeedRow is. `row_hashes` holds 32 bytes an entry and
    `column_checks` 28, in feed order; `previous` is the hash of the seal before, None in the first.
    """

    since: int
    upto: int
    sealed_at: str
    entry_ids: Sequence[int]
    row_hashes: bytes
    column_checks: bytes
    previous: bytes | None
    hash: bytes

    def leaf(self, position: int) -> Leaf:
        """What was sealed at a position of the range."""
        index = position - self.since
        return Leaf(
            self.entry_ids[index],
            self.row_hashes[HASH_BYTES * index : HASH_BYTES * (index + 1)],
            self.column_checks[CHECKS_BYTES * index : CHECKS_BYTES * (index + 1)],
        )


class Head(BaseModel):
    """The newest seal, to be kept where the database's owner can't reach it.

    `ledger` is the first seal's hash: it tells one ledger from another. Hashes are hexadecimal.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["eni-ledger.head.v1"] = "eni-ledger.head.v1"
    algorithm: Literal["sha256"] = "sha256"
    ledger: str = Field(pattern=r"^[0-9a-f]{64}$")
    cluster: str
    position: int = Field(ge=1)
    entry: int
    hash: str = Field(pattern=r"^[0-9a-f]{64}$")
    sealed_at: datetime
    exported_at: datetime


def canonical_json(text: str) -> bytes:
    """JSON in its one canonical form. Raises Unsealable where it is too deep or too large."""
    try:
        return _write(_read(text))
    except (RecursionError, ValueError) as refused:
        raise Unsealable(str(refused)) from refused


def canonical_columns(row: FeedRow) -> tuple[bytes, ...]:
    """Canonical bytes of each of COLUMNS. Raises Unsealable."""
    return (
        _write(row.cluster),
        _write(row.allocation_id),
        _write(row.version),
        _write(row.kind),
        _moment(row.recorded_at),
        canonical_json(row.cause),
        canonical_json(row.data),
    )


def leaf(row: FeedRow) -> Leaf:
    """What a seal keeps of this row. Raises Unsealable."""
    columns = canonical_columns(row)
    whole = (_ENTRY_FORMAT, b"%d" % row.position, b"%d" % row.entry_id, *columns)
    digest = sha256(b"[" + b",".join(whole) + b"]").digest()
    return Leaf(row.entry_id, digest, b"".join(map(_check, columns)))


def differing_columns(row: FeedRow, sealed: Leaf) -> tuple[str, ...]:
    """Which columns are not what was sealed, as far as their checks tell. Raises Unsealable."""
    checks = b"".join(map(_check, canonical_columns(row)))
    bounds = range(0, CHECKS_BYTES + 1, CHECK_BYTES)
    return tuple(
        name
        for name, (begin, end) in zip(COLUMNS, pairwise(bounds), strict=True)
        if checks[begin:end] != sealed.checks[begin:end]
    )


def close(since: int, leaves: Sequence[Leaf], previous: bytes | None, sealed_at: str) -> Seal:
    """The seal over `leaves`, which stand in the feed from position `since` on."""
    open_ = Seal(
        since=since,
        upto=since + len(leaves) - 1,
        sealed_at=sealed_at,
        entry_ids=tuple(each.entry_id for each in leaves),
        row_hashes=b"".join(each.hash for each in leaves),
        column_checks=b"".join(each.checks for each in leaves),
        previous=previous,
        hash=b"",
    )
    return replace(open_, hash=seal_hash(open_))


def seal_hash(seal: Seal) -> bytes:
    """The hash that belongs to what else a seal says."""
    ids = b"".join(each.to_bytes(8, "big", signed=True) for each in seal.entry_ids)
    parts = (
        _SEAL_FORMAT,
        b"%d" % seal.since,
        b"%d" % seal.upto,
        _moment(seal.sealed_at),
        b"null" if seal.previous is None else _quoted(seal.previous),
        *(_quoted(sha256(each).digest()) for each in (ids, seal.row_hashes, seal.column_checks)),
    )
    return sha256(b"[" + b",".join(parts) + b"]").digest()


def _moment(microseconds: str) -> bytes:
    # PostgreSQL's infinities are text here: no entry of ours has them, an edited one may.
    return microseconds.encode() if _INTEGER.fullmatch(microseconds) else _write(microseconds)


def _check(column: bytes) -> bytes:
    return zlib.crc32(column).to_bytes(CHECK_BYTES, "big")


def _quoted(digest: bytes) -> bytes:
    return b'"' + digest.hex().encode() + b'"'
