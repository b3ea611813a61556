"""Feeds `<topic>.dlq` from the dead letters in the ledger: the original bytes, and why.

The row is written first, in the transaction that passed the message over; the topic follows at
least once. So a broker that is down loses no dead letter.
"""

import asyncio

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from consumers.contract.encode import dead_letter
from consumers.contract.events import Record
from consumers.contract.topics import dead_letter_topic
from ledger.store import inputs
from ledger.store.database import Database
from ledger.store.inputs import DeadLetter

_log = structlog.get_logger(__name__)
#: Held in memory together; each may be as large as a fetch.
_AT_ONCE = 10


async def publish_dead_letters(database: Database, producer: AIOKafkaProducer) -> int:
    """Send what the topics have not seen yet; returns how many were sent.

    One that the broker refuses (too large for its topic) is named in the log and stays in the
    table, where `eni-ledger dlq show` has it; it is not tried again, so that it blocks no other.
    """
    sent = 0
    while letters := await asyncio.to_thread(_unpublished, database):
        await _publish(database, producer, letters)
        sent += len(letters)
    return sent


async def _publish(
    database: Database, producer: AIOKafkaProducer, letters: list[DeadLetter]
) -> None:
    for letter in letters:
        try:
            encoded = dead_letter(_record(letter), letter.error_class, letter.message)
            await producer.send_and_wait(
                dead_letter_topic(letter.topic),
                value=encoded.value,
                key=encoded.key,
                headers=list(encoded.headers),
            )
        except KafkaError as refused:
            if refused.retriable:
                raise
            _log.error("dead letter is kept in the ledger only", id=letter.id, cause=str(refused))
        await asyncio.to_thread(_mark, database, letter.id)


def _record(letter: DeadLetter) -> Record:
    return Record(
        letter.topic, letter.partition, letter.offset, letter.key, letter.value, letter.headers
    )


def _unpublished(database: Database) -> list[DeadLetter]:
    with database.transaction() as connection:
        return inputs.unpublished_dead_letters(connection, _AT_ONCE)


def _mark(database: Database, dead_letter_id: int) -> None:
    with database.transaction() as connection:
        inputs.mark_published(connection, dead_letter_id)
