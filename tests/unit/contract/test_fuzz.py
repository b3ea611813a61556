"""Whatever the bytes: a Message or a ContractError. Whatever a Message holds: PostgreSQL can store it."""

import json
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from consumers.contract.encode import encode_observed
from consumers.contract.events import ContractError, Message, Record, decode
from consumers.contract.topics import ACTIONS, ENTITIES, NAMESPACED, Entity, event_type

names = st.from_regex(r"[a-z0-9]([-a-z0-9.]{0,20}[a-z0-9])?", fullmatch=True)
words = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=20)
labels = st.none() | st.dictionaries(words, words, max_size=3)
json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)


def attempt(record: Record) -> Message | None:
    """The message, or None for a ContractError; any other exception fails the test."""
    try:
        message = decode(record)
    except ContractError:
        return None
    stored = json.dumps(message.object, ensure_ascii=False)
    assert "\x00" not in stored
    stored.encode()
    return message


headers = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "ce_id",
                "ce_source",
                "ce_type",
                "ce_subject",
                "ce_epoch",
                "ce_time",
                "content-type",
                "x",
            ]
        )
        | st.text(max_size=5),
        st.binary(max_size=30)
        | st.sampled_from([b"1.0", b"/clusters/c1", b"7", b"application/cloudevents+json"]),
    ),
    max_size=10,
).map(tuple)


@settings(max_examples=200)
@given(st.none() | st.binary(max_size=60), st.none() | st.binary(max_size=200), headers)
def test_any_bytes(
    key: bytes | None, value: bytes | None, pairs: tuple[tuple[str, bytes], ...]
) -> None:
    attempt(Record("eni-ledger.pod.v1", 0, 0, key, value, pairs))


@settings(max_examples=300)
@given(st.sampled_from(ENTITIES), st.sampled_from(ACTIONS), json_values, st.text(max_size=6))
def test_any_json_in_a_sound_envelope(entity: Entity, action: Any, data: Any, name: str) -> None:
    metadata = {"name": "a", "namespace": "b", "uid": "u", "resourceVersion": "1", name: data}
    subject = "b/a" if entity in NAMESPACED else "a"
    event = {
        "specversion": "1.0",
        "id": "i",
        "source": "/clusters/c1",
        "type": event_type(entity, action),
        "subject": subject if action in ("observed", "deleted") else "",
        "resourceversion": "1",
        "data": data
        if name == ""
        else {"metadata": metadata, "spec": data, "status": data, "data": data},
    }
    key = f"c1/{subject}" if action in ("observed", "deleted") else "c1"
    value = json.dumps(event).encode(errors="surrogatepass")
    content_type = (("content-type", b"application/cloudevents+json"),)
    attempt(Record(f"eni-ledger.{entity}.v1", 0, 0, key.encode(), value, content_type))


@settings(max_examples=150)
@given(
    entity=st.sampled_from(ENTITIES),
    cluster=st.from_regex(r"[A-Za-z0-9._-]{1,30}", fullmatch=True),
    namespace=names,
    name=names,
    version=st.integers(1, 2**63 - 1),
    epoch=st.integers(0, 2**31 - 1),
    labels=labels,
    deleting=st.none() | st.just("2026-11-01T12:00:00Z"),
)
def test_encode_then_decode(
    entity: Entity,
    cluster: str,
    namespace: str,
    name: str,
    version: int,
    epoch: int,
    labels: dict[str, str] | None,
    deleting: str | None,
) -> None:
    metadata = {"name": name, "uid": "u", "resourceVersion": str(version), "labels": labels}
    if entity in NAMESPACED:
        metadata["namespace"] = namespace
    if deleting is not None:
        metadata["deletionTimestamp"] = deleting
    encoded = encode_observed(cluster, entity, {"metadata": metadata}, epoch=epoch)
    topic = f"eni-ledger.{entity}.v1"
    message = attempt(Record(topic, 0, 0, encoded.key, encoded.value, encoded.headers))
    assert message is not None
    kept = {field: value for field, value in metadata.items() if value is not None}
    assert message.object == {"metadata": kept}
    assert (message.cluster, message.epoch, message.resource_version) == (cluster, epoch, version)
    again = encode_observed(cluster, entity, message.object, epoch=epoch)
    assert again == encoded
    assert msgspec.json.decode(encoded.value) == message.object
