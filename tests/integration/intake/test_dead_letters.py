"""Bad messages: each becomes a row and a record on the dead-letter topic; its partition goes on."""

import asyncio
import json
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
from typer.testing import CliRunner

from consumers.cli import dlq
from consumers.contract.events import Encoded
from consumers.contract.topics import dead_letter_topic, entity_topic
from consumers.runtime.settings import Settings
from deploy.local.stack import plan
from tests.integration.intake.ground import (
    effects,
    environment_of,
    eventually,
    intake,
    observed,
    producing,
    read_topic,
    rows,
    seen_pods,
    send,
    send_with_odd_name,
    settings,
)


def _header(message: Encoded, name: str, value: bytes | None) -> Encoded:
    kept = tuple(pair for pair in message.headers if pair[0] != name)
    # A header without a value is legal in Kafka; the type says otherwise.
    return Encoded(message.key, message.value, (*kept, (name, value)))  # type: ignore[arg-type]


def _value(message: Encoded, change: Callable[[bytes], bytes]) -> Encoded:
    return Encoded(message.key, change(message.value), message.headers)


def _bad() -> dict[str, tuple[Encoded, str]]:
    """Name -> (message, error class)."""
    good = observed("bad-0", 50)
    broken = _value(good, lambda value: b"{not json")
    return {
        "not JSON": (broken, "not-json"),
        "NUL": (_value(good, lambda v: v.replace(b"node-h1", b"a\\u0000b")), "unstorable-text"),
        "surrogate": (_value(good, lambda v: v.replace(b"node-h1", b"\\ud800")), "unstorable-text"),
        "wrong type": (_value(good, lambda v: b"[1, 2]"), "not-json"),
        "wrong type of a field": (
            _value(good, lambda v: v.replace(b'"node-h1"', b"7")),
            "data",
        ),
        "unknown version": (
            _header(good, "ce_type", b"io.eni-ledger.pod.observed.v9"),
            "unknown-type",
        ),
        "missing uid": (_value(good, lambda v: v.replace(b'"uid"', b'"uidx"')), "data"),
        "5 MB": (_value(good, lambda v: v + b" " * 5_000_000), "oversize"),
        "header without a value": (_header(broken, "trace", None), "not-json"),
        "ce_id without a value": (_header(good, "ce_id", None), "envelope"),
        "header name with NUL": (_header(broken, "a\x00b", b"c"), "not-json"),
        "header of any bytes": (_header(broken, "trace", b"\xff\x00"), "not-json"),
    }


@pytest.mark.on_kafka("older")
def test_each_bad_message_becomes_a_row_and_a_record_and_the_partition_goes_on(
    broker: str, topic_prefix: str, database: str
) -> None:
    configured = settings(broker, topic_prefix, database)
    topic = entity_topic("pod", topic_prefix)
    bad = _bad()

    async def play() -> list[Any]:
        async with producing(configured) as producer, intake(configured):
            for number, (message, _) in enumerate(bad.values()):
                around = [observed(f"good-{number}", 10), message, observed(f"next-{number}", 11)]
                await send(producer, configured, around, partition=2)
            odd = [observed("before-odd", 10), observed("odd", 10), observed("last", 10)]
            await send_with_odd_name(producer, topic, odd, partition=2)
            await eventually(lambda: "last" in seen_pods(database), "what came after them")
            await eventually(
                lambda: (
                    not rows(database, "SELECT FROM ledger.dead_letter WHERE published_at IS NULL")
                ),
                "all of them published",
            )
            return await read_topic(configured, dead_letter_topic(topic), len(bad))

    published = {dict(record.headers)["dlq-offset"]: record for record in asyncio.run(play())}
    kept = rows(
        database,
        'SELECT topic, "partition", "offset", value, key, error_class, message '
        "FROM ledger.dead_letter ORDER BY id",
    )
    assert [row[5] for row in kept] == [error_class for _, error_class in bad.values()]
    for (name, (message, error_class)), row in zip(bad.items(), kept, strict=True):
        assert row[:2] == (topic, 2), name
        assert bytes(row[3]) == message.value, name
        assert row[6], name
        record = published[str(row[2]).encode()]
        assert (record.key, record.value) == (message.key, message.value), name
        headers = {header: bytes(value or b"") for header, value in record.headers}
        assert headers["dlq-topic"] == topic.encode(), name
        assert headers["dlq-partition"] == b"2", name
        assert headers["dlq-error-class"] == error_class.encode(), name
        assert headers["dlq-error-message"] == row[6].encode(), name
        assert headers["ce_source"] == b"/clusters/c1", name
    around = {f"{side}-{number}" for side in ("good", "next") for number in range(len(bad))}
    # A header is nobody's business but its reader's, and nothing of ours reads that one.
    assert {row[0] for row in effects(database)} == around | {"before-odd", "odd", "last"}


def eni_ledger(configured: Settings, *words: str) -> "subprocess.CompletedProcess[str]":
    """As a user runs it: with exit code and errors."""
    return subprocess.run(
        plan.eni_ledger_command(*words),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=plan.part_environment(environment_of(configured)),
    )


def told(configured: Settings, *words: str) -> str:
    """The same command in this process, where it starts sooner; it must succeed."""
    done = CliRunner().invoke(dlq.app, words, env=environment_of(configured))
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.mark.on_kafka
def test_dead_letters_are_listed_shown_and_redriven(
    broker: str, topic_prefix: str, database: str
) -> None:
    """A message too large for the setting of then; the setting is raised, and it is redriven twice."""
    small = settings(broker, topic_prefix, database, message_bytes_max=2048)
    ample = settings(broker, topic_prefix, database)
    large = _value(observed("large", 10), lambda value: value + b" " * 4096)
    tombstone = Encoded(b"c1/shop/gone", None, ())  # type: ignore[arg-type]

    async def refuse() -> None:
        async with producing(small) as producer, intake(small):
            await send(producer, small, [large, tombstone], partition=1)
            await eventually(
                lambda: len(rows(database, "SELECT FROM ledger.dead_letter")) == 2, "two letters"
            )

    async def accept() -> None:
        async with intake(ample):
            await eventually(lambda: "large" in seen_pods(database), "the large one")
            before = effects(database)
            again = await asyncio.to_thread(eni_ledger, ample, "dlq", "redrive", str(ids[0]))
            assert again.returncode == 0, again.stderr
            await eventually(lambda: _taken_in() == 4, "the second copy")
            assert effects(database) == before

    def _taken_in() -> int:
        return int(rows(database, "SELECT sum(next) FROM ledger.kafka_offset")[0][0])

    asyncio.run(refuse())
    listed = json.loads(told(small, "list", "--json"))
    ids = [letter["id"] for letter in listed]
    assert [letter["error_class"] for letter in listed] == ["oversize", "tombstone"]
    assert [letter["bytes"] for letter in listed] == [len(large.value), 0]
    assert "oversize" in told(small, "list")
    shown = json.loads(told(small, "show", str(ids[0]), "--json"))
    assert shown["value"].encode() == large.value
    assert ["ce_source", "/clusters/c1"] in shown["headers"]
    assert "the limit is 2048" in told(small, "show", str(ids[0]))

    redriven = eni_ledger(ample, "dlq", "redrive", str(ids[0]))
    assert redriven.returncode == 0, redriven.stderr
    assert "1 sent" in redriven.stdout
    asyncio.run(accept())
    assert effects(database) == [("large", "uid-of-large", 1, "requested")]
    left = json.loads(told(ample, "list", "--json"))
    assert [letter["error_class"] for letter in left] == ["tombstone"]
    missing = eni_ledger(ample, "dlq", "show", "999999")
    assert missing.returncode == 1
    assert "eni-ledger dlq list" in missing.stderr


@pytest.mark.parametrize("words", [("dlq", "redrive"), ("dlq", "redrive", "7", "--all")])
def test_redrive_wants_one_or_all(
    words: tuple[str, ...], broker: str, topic_prefix: str, database: str
) -> None:
    answer = eni_ledger(settings(broker, topic_prefix, database), *words)
    assert answer.returncode == 2
    assert "--all" in answer.stderr
