"""A topic of entries that takes little: what is published in smaller batches, and what stops it by name."""

import asyncio

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from consumers.contract.kafka_client import connection_options, ensure_topics, started
from consumers.intake import outbox as room
from consumers.runtime.health import Health
from consumers.runtime.metrics import exposition
from consumers.runtime.settings import Settings
from deploy.local.parts.apache_kafka import ApacheKafka
from tests.integration.intake.ground import eventually, settings
from tests.integration.intake.test_outbox import (
    check_order,
    cursor,
    note_home,
    published,
    publishing,
    topic_of,
)
from tests.integration.store.sealing import SealedLedger

_LARGE = (
    "INSERT INTO ledger.entry (cluster, kind, recorded_at, cause, data) "
    "VALUES ('c1', 'paused', ledger.now(), '{}', jsonb_build_object('why', repeat('x', 20000)))"
)


async def set_limit(configured: Settings, limit: int) -> None:
    topic, told = topic_of(configured), {"max.message.bytes": str(limit)}
    async with started(AIOKafkaAdminClient(**connection_options(configured.kafka, "t"))) as admin:
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, told)])


@pytest.mark.genuine("kafka")
def test_batches_are_as_large_as_the_topic_takes_and_what_never_fits_is_named(
    apache_kafka: ApacheKafka,
    topic_prefix: str,
    database: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    configured, health = settings(apache_kafka.bootstrap, topic_prefix, database), Health()
    monkeypatch.setattr(room, "_STOPPED_RETRY_S", 0.1)

    def reason() -> str:
        part = health.parts().get("entries")
        return part.reason if part else ""

    async def story() -> None:
        await ensure_topics(configured.kafka, [topic_of(configured)])
        await set_limit(configured, 9000)
        ledger.append(150)
        ledger.owner.execute(_LARGE)
        ledger.append(3)
        async with publishing(configured, health=health):
            await eventually(lambda: "too large" in reason(), "what is wrong is said")
            said = reason()
            assert cursor(database) == 150
            assert "entry at position 151 (paused)" in said
            assert b'cause="too-large"} 1.0' in exposition()[0]
            assert health.is_ready, "taking in does not wait for it"
            await set_limit(configured, int(said.rpartition(" ")[2]))
            await eventually(lambda: cursor(database) == 154, "it goes on with that very entry")
            await eventually(lambda: reason() == "published up to position 154", "said")
        found = await published(configured, 154)
        assert [each.entry.position for each in found] == list(range(1, 155))
        check_order(found, database)

    ledger = SealedLedger(database)
    note_home(ledger)
    asyncio.run(story())
    ledger.close()
