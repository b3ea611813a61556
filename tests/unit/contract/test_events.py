"""decode and encode: every kind of bad message has its class, and what goes in comes out."""

import copy
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from consumers.contract.encode import (
    dead_letter,
    encode_deleted,
    encode_heartbeat,
    encode_listed,
    encode_observed,
)
from consumers.contract.events import (
    ContractError,
    Encoded,
    Heartbeat,
    ListedItem,
    ListedPage,
    Message,
    Record,
    decode,
)

NOW = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
POD: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {
        "name": "web-0",
        "namespace": "example",
        "uid": "u-1",
        "resourceVersion": "41",
        "annotations": {"k8s.aliyun.com/pod-eni": "true"},
    },
    "spec": {"nodeName": "n1", "containers": [{"name": "c"}]},
    "status": {"phase": "Running"},
}


def record(encoded: Encoded, topic: str = "eni-ledger.pod.v1", **changes: Any) -> Record:
    return Record(topic, 0, 7, encoded.key, encoded.value, encoded.headers)._replace(**changes)


def observed() -> Encoded:
    return encode_observed("c1", "pod", POD, epoch=3, time=NOW)


def with_header(name: str, value: str | None) -> Record:
    kept = tuple(pair for pair in observed().headers if pair[0] != name)
    added = () if value is None else ((name, value.encode()),)
    return record(observed(), headers=(*kept, *added))


def with_object(change: Any) -> Record:
    pod = copy.deepcopy(POD)
    change(pod)
    return record(observed(), value=msgspec.json.encode(pod))


def error_class(bad: Record, **options: Any) -> str:
    with pytest.raises(ContractError) as caught:
        decode(bad, **options)
    assert caught.value.message
    return caught.value.error_class


class TestRoundTrip:
    def test_observed(self) -> None:
        message = decode(record(observed()))
        assert (message.entity, message.action, message.cluster) == ("pod", "observed", "c1")
        assert (message.epoch, message.resource_version, message.uid) == (3, 41, "u-1")
        assert (message.namespace, message.name, message.key) == (
            "example",
            "web-0",
            "example/web-0",
        )
        assert message.time == NOW
        assert message.object is not None
        assert message.object["spec"] == {"nodeName": "n1", "containers": [{"name": "c"}]}
        assert (message.page, message.heartbeat) == (None, None)

    def test_deleted_of_a_cluster_scoped_object(self) -> None:
        node = {"metadata": {"name": "n1.local", "uid": "u", "resourceVersion": "9"}}
        encoded = encode_deleted("c1", "node", node, epoch=0)
        assert encoded.key == b"c1/n1.local"
        message = decode(record(encoded, "eni-ledger.node.v1"))
        assert (message.action, message.namespace, message.name) == ("deleted", "", "n1.local")

    @pytest.mark.parametrize(
        "page",
        [
            ListedPage("", None, ()),
            ListedPage("a/b", "a/d", (ListedItem("a/b", "u1", 4), ListedItem("a/c", "u2", 5))),
        ],
    )
    def test_listed(self, page: ListedPage) -> None:
        encoded = encode_listed("c1", "pod", page, epoch=1, resource_version=12, time=NOW)
        message = decode(record(encoded))
        assert (message.page, message.resource_version, message.epoch) == (page, 12, 1)
        assert (message.object, message.name) == (None, "")

    def test_heartbeat_before_anything_is_known(self) -> None:
        beat = Heartbeat(2, 0, None, synced=False)
        encoded = encode_heartbeat("c1", "pod", beat, epoch=0, resource_version=0, time=NOW)
        message = decode(record(encoded))
        assert (message.heartbeat, message.resource_version) == (beat, 0)

    def test_two_producers_write_the_same_id_and_the_version_is_in_it(self) -> None:
        later = encode_observed("c1", "pod", POD, epoch=3, time=datetime(2027, 1, 1, tzinfo=UTC))
        newer = encode_observed("c1", "pod", POD, epoch=4)
        gone = encode_deleted("c1", "pod", POD, epoch=3)
        ids = [decode(record(each)).id for each in (observed(), later, newer, gone)]
        assert ids[0] == ids[1]
        assert len(set(ids)) == 3

    def test_structured_mode(self) -> None:
        event = {
            "specversion": "1.0",
            "id": "x",
            "source": "/clusters/c1",
            "type": "io.eni-ledger.pod.observed.v1",
            "subject": "example/web-0",
            "resourceversion": "41",
            "epoch": 2,
            "data": POD,
        }
        value = msgspec.json.encode(event)
        headers = (("content-type", b"application/cloudevents+json; charset=utf-8"),)
        message = decode(Record("p.pod.v1", 0, 0, b"c1/example/web-0", value, headers))
        assert (message.id, message.epoch, message.resource_version) == ("x", 2, 41)

    def test_epoch_is_optional_and_another_cluster_is_valid(self) -> None:
        foreign = encode_observed("c2", "pod", POD, epoch=0)
        headers = tuple(pair for pair in foreign.headers if pair[0] != "ce_epoch")
        message = decode(record(foreign, headers=headers))
        assert (message.cluster, message.epoch) == ("c2", 0)


class TestRefusals:
    def test_tombstone(self) -> None:
        assert error_class(record(observed(), value=None)) == "tombstone"

    def test_oversize_is_not_parsed(self) -> None:
        assert error_class(record(observed(), value=b"{" * 5_000_000)) == "oversize"
        assert error_class(record(observed()), limit=10) == "oversize"

    @pytest.mark.parametrize("value", [b"", b"{", b"[]", b"7", b"\xff", b"[" * 100_000, b"NaN"])
    def test_not_json(self, value: bytes) -> None:
        assert error_class(record(observed(), value=value)) == "not-json"

    @pytest.mark.parametrize(
        "text", ["\\u0000", "a\\u0000b", "\\ud800", "\\uDFFF x", "\\udc00\\ud800"]
    )
    def test_text_that_postgresql_refuses(self, text: str) -> None:
        value = msgspec.json.encode(POD).replace(b'"n1"', f'"{text}"'.encode())
        assert error_class(record(observed(), value=value)) == "unstorable-text"

    def test_nul_in_a_name_and_in_a_header(self) -> None:
        value = msgspec.json.encode(POD).replace(b'"nodeName"', b'"node\\u0000Name"')
        assert error_class(record(observed(), value=value)) == "unstorable-text"
        assert error_class(with_header("ce_id", "a\x00")) == "unstorable-text"

    def test_an_escaped_backslash_before_u0000_is_harmless(self) -> None:
        value = msgspec.json.encode(POD).replace(b'"n1"', b'"\\\\u0000"')
        message = decode(record(observed(), value=value))
        assert message.object is not None
        assert message.object["spec"]["nodeName"] == "\\u0000"

    @pytest.mark.parametrize(
        "name", ["ce_id", "ce_source", "ce_type", "ce_resourceversion", "ce_specversion"]
    )
    def test_missing_attribute(self, name: str) -> None:
        assert error_class(with_header(name, None)) == "envelope"

    @pytest.mark.parametrize(
        "version", ["", "0", "-1", "1.0", "0x1", "007", "٣", "9223372036854775808", "9" * 30]
    )
    def test_resource_version_is_decimal(self, version: str) -> None:
        assert error_class(with_header("ce_resourceversion", version)) in ("envelope", "mismatch")

    @pytest.mark.parametrize(
        "type_",
        [
            "io.eni-ledger.pod.observed.v2",
            "io.eni-ledger.pod.renamed.v1",
            "io.eni-ledger.dog.observed.v1",
            "x",
        ],
    )
    def test_unknown_type(self, type_: str) -> None:
        assert error_class(with_header("ce_type", type_)) == "unknown-type"

    @pytest.mark.parametrize(
        "source", ["", "clusters/c1", "/clusters/", "/clusters/a b", "/clusters/c1/x"]
    )
    def test_source(self, source: str) -> None:
        assert error_class(with_header("ce_source", source)) == "envelope"

    def test_source_subject_key_and_object_agree(self) -> None:
        assert error_class(with_header("ce_source", "/clusters/c2")) == "mismatch"
        assert error_class(with_header("ce_subject", "example/web-1")) == "mismatch"
        assert error_class(record(observed(), key=None)) == "mismatch"
        assert error_class(record(observed(), key=b"c1/example/web-1")) == "mismatch"
        assert (
            error_class(with_object(lambda pod: pod["metadata"].update(name="web-1"))) == "mismatch"
        )
        assert (
            error_class(with_object(lambda pod: pod["metadata"].update(resourceVersion="42")))
            == "mismatch"
        )
        assert error_class(record(observed(), topic="eni-ledger.node.v1")) == "mismatch"

    def test_subject_has_the_shape_of_its_entity(self) -> None:
        for subject in ("web-0", "a/b/c", "/web-0", "Example/web-0", ""):
            assert error_class(with_header("ce_subject", subject)) == "envelope"

    def test_uid_is_needed(self) -> None:
        assert error_class(with_object(lambda pod: pod["metadata"].pop("uid"))) == "data"
        assert error_class(with_object(lambda pod: pod["metadata"].update(uid=""))) == "data"

    def test_wrong_types_within_the_object(self) -> None:
        assert error_class(with_object(lambda pod: pod.update(spec=[]))) == "data"
        assert (
            error_class(with_object(lambda pod: pod["metadata"].update(labels={"a": 1}))) == "data"
        )

    def test_time_needs_a_zone(self) -> None:
        for time in ("yesterday", "2026-11-01T12:00:00", "2026-13-01T12:00:00Z"):
            assert error_class(with_header("ce_time", time)) == "envelope"

    def test_nesting_is_bounded(self) -> None:
        deep: Any = "x"
        for _ in range(100):
            deep = {"a": deep}
        eni = {"metadata": POD["metadata"], "spec": {"extra": deep}}
        encoded = encode_observed("c1", "podeni", eni, epoch=0)
        assert error_class(record(encoded, "eni-ledger.podeni.v1")) == "data"

    def test_a_header_twice_and_a_batch(self) -> None:
        twice = (*observed().headers, ("ce_id", b"other"))
        assert error_class(record(observed(), headers=twice)) == "envelope"
        assert (
            error_class(with_header("content-type", "application/cloudevents-batch+json"))
            == "envelope"
        )
        assert error_class(with_header("content-type", "text/plain")) == "envelope"

    def test_a_page_keeps_its_own_order_and_range(self) -> None:
        page = ListedPage("a/b", "a/d", (ListedItem("a/c", "u", 1), ListedItem("a/b", "u", 1)))
        assert (
            error_class(record(encode_listed("c1", "pod", page, epoch=0, resource_version=2)))
            == "data"
        )
        outside = ListedPage("a/b", "a/d", (ListedItem("a/d", "u", 1),))
        assert (
            error_class(record(encode_listed("c1", "pod", outside, epoch=0, resource_version=2)))
            == "data"
        )

    def test_a_heartbeat_does_not_claim_more_than_its_watermark(self) -> None:
        beat = Heartbeat(0, 8, None, synced=True)
        encoded = encode_heartbeat("c1", "pod", beat, epoch=0, resource_version=7, time=NOW)
        assert error_class(record(encoded)) == "data"


def test_a_dead_letter_keeps_the_bytes_and_says_why() -> None:
    bad = record(observed(), value=b"\xff{")
    letter = dead_letter(bad, "not-json", "line 1: ü")
    assert (letter.key, letter.value) == (bad.key, b"\xff{")
    headers = dict(letter.headers)
    assert headers["dlq-topic"] == b"eni-ledger.pod.v1"
    assert headers["dlq-offset"] == b"7"
    assert headers["dlq-error-message"].decode() == "line 1: ü"
    assert headers["ce_id"] == dict(bad.headers)["ce_id"]


def test_a_message_is_a_value() -> None:
    one, two = decode(record(observed())), decode(record(observed()))
    assert isinstance(one, Message)
    assert one == two
