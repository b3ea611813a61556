"""P7: the canonical bytes of an entry and the chain of seals, against a plain reference and vectors."""

import hashlib
import json
import zlib
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.rules.seals import (
    COLUMNS,
    FeedRow,
    Unsealable,
    canonical_json,
    close,
    differing_columns,
    leaf,
    seal_hash,
)

ROW = FeedRow(
    position=7,
    entry_id=9,
    cluster="c1",
    allocation_id="6b0d2a44-4f3c-4f2e-8b0e-0f8f6f2a9b1d",
    version=2,
    kind="placed",
    recorded_at="1767225600000001",
    cause='{"look": "r-1", "ä": [1.50, 0.0000001, true, null]}',
    data='{"place": {"node": "node-h1", "zone": "cn-hangzhou-h"}, "a": "\\u001f\\"\\\\/\\u007f"}',
)
REMARK = ROW._replace(position=8, entry_id=10, allocation_id=None, version=None, kind="paused")

#: What another program, in another language, has to come to.
ROW_BYTES = (
    b'["eni-ledger.entry.v1",7,9,"c1","6b0d2a44-4f3c-4f2e-8b0e-0f8f6f2a9b1d",2,"placed",'
    b'1767225600000001,{"look":"r-1","\xc3\xa4":[1.50,0.0000001,true,null]},'
    b'{"a":"\\u001f\\"\\\\/\x7f","place":{"node":"node-h1","zone":"cn-hangzhou-h"}}]'
)
ROW_HASH = "70cce2a301156da588e625afbd8637ae5ab77b515f7c68a16598ba1dfc9bd801"
REMARK_HASH = "a5f11120e6255f69de9a6f673e0ab81394e13da5fd66fc048f6168d00b36ff86"
FIRST_SEAL = "2ae43d86296976e48867d6273debfea4d402f981dbff1547a9a91ad78dabe4cc"
SECOND_SEAL = "5dbae64ae6cf70b790ded5f1fc4308499f1ac5f5f802b4b50266f4f27765547f"


def test_p7_vectors_of_rows() -> None:
    assert hashlib.sha256(ROW_BYTES).hexdigest() == ROW_HASH
    assert leaf(ROW).hash.hex() == ROW_HASH
    assert leaf(REMARK).hash.hex() == REMARK_HASH


def test_p7_vectors_of_seals() -> None:
    first = close(7, [leaf(ROW), leaf(REMARK)], None, "1767225602000000")
    assert (first.since, first.upto, list(first.entry_ids)) == (7, 8, [9, 10])
    assert first.hash.hex() == FIRST_SEAL
    second = close(9, [leaf(ROW._replace(position=9))], first.hash, "1767225604000000")
    assert second.hash.hex() == SECOND_SEAL
    assert first.leaf(8) == leaf(REMARK)


def test_p7_a_seal_is_the_hash_of_these_bytes() -> None:
    ids = (9).to_bytes(8, "big") + (10).to_bytes(8, "big")
    rows = bytes.fromhex(ROW_HASH + REMARK_HASH)
    checks = leaf(ROW).checks + leaf(REMARK).checks
    parts = [hashlib.sha256(each).hexdigest() for each in (ids, rows, checks)]
    text = json.dumps(["eni-ledger.seal.v1", 7, 8, 1767225602000000, None, *parts])
    digest = hashlib.sha256(text.replace(" ", "").encode()).hexdigest()
    assert digest == FIRST_SEAL


def test_p7_a_check_is_the_crc_of_a_column() -> None:
    checks = leaf(ROW).checks
    assert checks[:4] == zlib.crc32(b'"c1"').to_bytes(4, "big")
    assert checks[8:12] == zlib.crc32(b"2").to_bytes(4, "big")
    assert leaf(REMARK).checks[4:12] == zlib.crc32(b"null").to_bytes(4, "big") * 2


CHANGES: dict[str, Any] = {
    "cluster": "c2",
    "allocation_id": None,
    "version": 3,
    "kind": "Placed",
    "recorded_at": "1767225600000002",
    "cause": '{"look": "r-2"}',
    "data": '{"place": {}}',
}


@pytest.mark.parametrize("column", COLUMNS)
def test_p7_a_changed_column_is_named(column: str) -> None:
    changed = ROW._replace(**{column: CHANGES[column]})
    assert leaf(changed).hash != leaf(ROW).hash
    assert differing_columns(changed, leaf(ROW)) == (column,)
    assert differing_columns(ROW, leaf(ROW)) == ()


def test_p7_place_and_id_are_part_of_the_hash() -> None:
    hashes = {leaf(row).hash for row in (ROW, ROW._replace(position=8), ROW._replace(entry_id=8))}
    assert len(hashes) == 3


@pytest.mark.parametrize(
    "changes",
    [
        {"since": 8, "upto": 9},
        {"sealed_at": "1767225602000001"},
        {"previous": b"\0" * 32},
        {"entry_ids": (9, 11)},
        {"row_hashes": b"\0" * 64},
        {"column_checks": b"\0" * 56},
    ],
)
def test_p7_everything_a_seal_says_is_in_its_hash(changes: dict[str, Any]) -> None:
    sealed = close(7, [leaf(ROW), leaf(REMARK)], None, "1767225602000000")
    assert seal_hash(sealed) == sealed.hash
    assert seal_hash(replace(sealed, **changes)) != sealed.hash


def test_a_time_without_end_is_text() -> None:
    hashes = {leaf(ROW._replace(recorded_at=at)).hash for at in ("Infinity", "-Infinity", "0")}
    assert len(hashes) == 3


@pytest.mark.parametrize("text", ["[" * 5000 + "]" * 5000, "1" + "0" * 5000, "{", ""])
def test_what_has_no_canonical_form_is_refused(text: str) -> None:
    with pytest.raises(Unsealable):
        canonical_json(text)
    with pytest.raises(Unsealable):
        leaf(ROW._replace(data=text))


# ------------------------------------------------------------------------------ the reference

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=12)
NUMBERS = st.integers(-(10**30), 10**30) | st.decimals(
    allow_nan=False, allow_infinity=False, places=7, min_value=-(10**12), max_value=10**12
)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=5),
    max_leaves=20,
)

_SHORT = {8: "\\b", 9: "\\t", 10: "\\n", 12: "\\f", 13: "\\r", 34: '\\"', 92: "\\\\"}


def plainly(value: Any) -> str:
    """The canonical form as ledger/store/README.md has it, written down without any library."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int):
        return str(value)
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, str):
        escaped = (
            _SHORT.get(ord(c), f"\\u{ord(c):04x}") if ord(c) < 32 or c in '"\\' else c
            for c in value
        )
        return '"' + "".join(escaped) + '"'
    if isinstance(value, list):
        return "[" + ",".join(map(plainly, value)) + "]"
    keys = sorted(value, key=lambda key: key.encode())
    return "{" + ",".join(f"{plainly(key)}:{plainly(value[key])}" for key in keys) + "}"


def loosely(value: Any) -> str:
    """The same value as another writer might put it: spaces, other order, everything escaped."""
    if isinstance(value, str):
        return json.dumps(value)
    if isinstance(value, list):
        return "[ " + " , ".join(map(loosely, value)) + " ]"
    if isinstance(value, dict):
        inner = (f"{json.dumps(key)} : {loosely(value[key])}" for key in reversed(value))
        return "{\n" + ",\n".join(inner) + "}"
    return plainly(value)


@given(JSON)
def test_p7_json_is_canonical_however_it_was_written(value: Any) -> None:
    assert canonical_json(loosely(value)).decode() == plainly(value)
    assert canonical_json(plainly(value)).decode() == plainly(value)
