"""How our processes connect to Kafka: aiokafka arguments from the settings, and the topics made
sure of.

No idempotence and no transactions: managed Kafka of older versions and topics without them must
work (design: "Kafka"), and every reader drops duplicates anyway. Keys go through murmur2,
aiokafka's default.
"""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Iterable
from typing import Any, Final, TypeVar

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import (
    KafkaConnectionError,
    KafkaError,
    TopicAlreadyExistsError,
    for_code,
)

from consumers.contract.kafka_records import read_any_header_name
from consumers.contract.kafka_trouble import explain, why_unreachable
from consumers.contract.topic_plan import TopicFound, TopicPlan
from consumers.contract.topics import all_topics, partitions_of
from consumers.runtime.errors import OperatorError
from consumers.runtime.settings import KafkaSettings

_log = structlog.get_logger(__name__)

#: The broker's own default would be better (replication factor -1), but aiokafka 0.14 can't ask for it.
_REPLICAS_WANTED: Final = 3
_SETUP: Final = "eni-ledger-setup"
#: A person waits for this one: a cold broker may need a while for a hundred partitions.
_MAKING_TIMEOUT_MS: Final = 60_000
#: How long one request may take before the client gives up on a broker: several times a leader
#: election, and still within the 10 s in which another watcher or intake takes over.
REQUEST_TIMEOUT_MS: Final = 8_000
#: How soon a client sees partitions that were added. aiokafka's 5 min would leave what a producer
#: puts there unread for as long.
METADATA_AGE_MS: Final = 10_000


#: An AIOKafkaConsumer, AIOKafkaProducer or AIOKafkaAdminClient (aiokafka has no types).
Client = TypeVar("Client")


class KafkaSetupError(OperatorError):
    """The topics are not as they must be: the text names the topic, the cause and the next step."""


def connection_options(settings: KafkaSettings, client_id: str) -> dict[str, Any]:
    """What producers, consumers and admin clients have in common: where, as whom, how guarded."""
    options: dict[str, Any] = {
        "bootstrap_servers": settings.bootstrap_servers,
        "client_id": client_id,
        "security_protocol": settings.security_protocol,
        "request_timeout_ms": REQUEST_TIMEOUT_MS,
        "metadata_max_age_ms": METADATA_AGE_MS,
    }
    if settings.security_protocol in ("SSL", "SASL_SSL"):
        options["ssl_context"] = _tls(settings)
    if settings.sasl_mechanism is not None:
        password = settings.sasl_password
        options["sasl_mechanism"] = settings.sasl_mechanism
        options["sasl_plain_username"] = settings.sasl_username
        options["sasl_plain_password"] = password.get_secret_value() if password else None
    return options


def _tls(settings: KafkaSettings) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=settings.ssl_cafile)
    if settings.ssl_certfile is not None:
        context.load_cert_chain(settings.ssl_certfile, settings.ssl_keyfile)
    return context


def producer_options(settings: KafkaSettings, client_id: str) -> dict[str, Any]:
    """Arguments of AIOKafkaProducer: a send is acknowledged by all in-sync replicas."""
    return connection_options(settings, client_id) | {
        "acks": "all",
        "enable_idempotence": False,
        "max_request_size": settings.message_bytes_max,
        "max_batch_size": 131_072,
    }


def consumer_options(
    settings: KafkaSettings, client_id: str, *, group_id: str | None = None
) -> dict[str, Any]:
    """Arguments of AIOKafkaConsumer.

    With a group, the group decides only who reads which partition; positions are the ledger's, so
    nothing is committed. Without one the caller assigns partitions itself.
    """
    read_any_header_name()
    options = connection_options(settings, client_id) | {
        "group_id": group_id,
        "enable_auto_commit": False,
        "auto_offset_reset": "earliest",
        "fetch_max_bytes": settings.fetch_bytes_max,
        "fetch_max_wait_ms": 100,
    }
    if group_id is not None:
        options["session_timeout_ms"] = settings.session_timeout_ms
        options["heartbeat_interval_ms"] = max(500, settings.session_timeout_ms // 6)
    return options


async def start(client: Any) -> None:
    """client.start(); what could not start, or was not to go on, is closed.

    A cancellation waits for the start's own end (REQUEST_TIMEOUT_MS for each address): aiokafka
    0.14 forgets the connection over which a start was cut short, and leaves it open.
    """
    starting = asyncio.create_task(client.start())
    try:
        await asyncio.shield(starting)
    except KafkaConnectionError as unreachable:
        await stop(client)
        looking = asyncio.create_task(why_unreachable(_options_of(client)))
        try:
            why = await asyncio.shield(looking)
        except asyncio.CancelledError:  # for the same reason
            await asyncio.gather(looking, return_exceptions=True)
            raise
        raise KafkaConnectionError(why or str(unreachable)) from unreachable
    except BaseException:
        await asyncio.gather(starting, return_exceptions=True)
        await stop(client)
        raise


async def stop(client: Any) -> None:
    """client.stop(), which leaves no connection open, also where the broker is gone.

    aiokafka 0.14 hands the cancellation of a consumer's own waiting fetches on to whoever stops
    it, who would end as if cancelled, with the other fetches still running and every connection open.
    """
    ours = asyncio.current_task()
    cancelled_before = ours.cancelling() if ours else 0
    try:
        await (client.close() if isinstance(client, AIOKafkaAdminClient) else client.stop())
    except asyncio.CancelledError:
        if ours is not None and ours.cancelling() > cancelled_before:
            raise
    finally:
        fetcher = getattr(client, "_fetcher", None)
        fetches = tuple(fetcher._pending_tasks) if fetcher is not None else ()
        for fetch in fetches:
            fetch.cancel()
        await asyncio.gather(*fetches, return_exceptions=True)
        await _inner(client).close()


def _options_of(client: Any) -> dict[str, Any]:
    """How a client connects, as it was told."""
    inner = _inner(client)
    return {
        "bootstrap_servers": ",".join(f"{host}:{port}" for host, port, _ in inner.hosts),
        "client_id": inner._client_id,
        "request_timeout_ms": inner._request_timeout_ms,
        "security_protocol": inner._security_protocol,
        "ssl_context": inner._ssl_context,
        "sasl_mechanism": inner._sasl_mechanism,
        "sasl_plain_username": inner._sasl_plain_username,
        "sasl_plain_password": inner._sasl_plain_password,
    }


def _inner(client: Any) -> Any:
    return client.client if isinstance(client, AIOKafkaProducer) else client._client


@contextlib.asynccontextmanager
async def started(client: Client) -> AsyncIterator[Client]:
    """A consumer, producer or admin client for the time of the block."""
    await start(client)
    try:
        yield client
    finally:
        await stop(client)


async def ensure_topics(
    settings: KafkaSettings,
    topics: Iterable[str] | None = None,
    *,
    client_id: str = _SETUP,
) -> tuple[str, ...]:
    """Create the missing topics and return their names; existing ones are left as they are.

    Replication is min(3, brokers). Safe to call from
    several processes at once. Raises KafkaSetupError (refused by the broker) or aiokafka's
    KafkaError (unreachable).
    """
    wanted = tuple(topics) if topics is not None else all_topics(settings.topic_prefix)
    async with started(AIOKafkaAdminClient(**connection_options(settings, client_id))) as admin:
        missing = sorted(set(wanted) - set(await admin.list_topics()))
        if not missing:
            return ()
        brokers = len((await admin.describe_cluster()).get("brokers", [])) or 1
        replicas = min(_REPLICAS_WANTED, brokers)
        refused = await _create(
            admin, [NewTopic(name, partitions_of(name), replicas) for name in missing]
        )
    if refused:
        causes = "; ".join(f"topic {topic}: {error}" for topic, error in sorted(refused.items()))
        raise KafkaSetupError(
            f"{causes}: create them with `eni-ledger topics` as a user who may (deploy/howto/kafka.md), "
            f"or allow {settings.sasl_username or 'the user of this process'} to create them. One that "
            "exists looks missing to a user who may not describe it"
        )
    _log.info("topics created", topics=missing)
    return tuple(missing)


async def look_at_topics(settings: KafkaSettings) -> tuple[list[TopicFound], int]:
    """The topics of ours that exist, by name, and how many brokers there are.

    Raises aiokafka's KafkaError.
    """
    wanted = set(all_topics(settings.topic_prefix))
    async with started(AIOKafkaAdminClient(**connection_options(settings, _SETUP))) as admin:
        described = [each for each in await admin.describe_topics() if each["topic"] in wanted]
        brokers = len((await admin.describe_cluster()).get("brokers", [])) or 1
        told = await _settings_of(admin, [each["topic"] for each in described])
    found = [
        TopicFound(
            each["topic"],
            len(each["partitions"]),
            min(len(partition["replicas"]) for partition in each["partitions"]),
            told.get(each["topic"]),
        )
        for each in described
    ]
    return sorted(found, key=lambda each: each.name), brokers


async def make_topics(settings: KafkaSettings, plans: Iterable[TopicPlan]) -> dict[str, str]:
    """Make these topics; returns those that were refused, with the cause. One that exists is fine."""
    wanted = [
        NewTopic(each.name, each.partitions, each.replicas, topic_configs=dict(each.settings))
        for each in plans
    ]
    options = connection_options(settings, _SETUP) | {"request_timeout_ms": _MAKING_TIMEOUT_MS}
    async with started(AIOKafkaAdminClient(**options)) as admin:
        refused = await _create(admin, wanted)
    return {name: explain(error, settings.sasl_username) for name, error in refused.items()}


async def _settings_of(admin: AIOKafkaAdminClient, topics: list[str]) -> dict[str, dict[str, str]]:
    """The settings of each topic that this user may read."""
    if not topics:
        return {}
    asked = [ConfigResource(ConfigResourceType.TOPIC, topic) for topic in topics]
    found: dict[str, dict[str, str]] = {}
    for answer in await admin.describe_configs(asked):
        for code, _, _, topic, entries in answer.resources:
            if code == 0:
                found[topic] = {entry[0]: entry[1] for entry in entries}
    return found


async def _create(admin: AIOKafkaAdminClient, topics: list[NewTopic]) -> dict[str, KafkaError]:
    """The topics that could not be created, with the broker's reason."""
    response = await admin.create_topics(topics)
    refused: dict[str, KafkaError] = {}
    for topic, code, *rest in response.topic_errors:
        error = for_code(code)
        if code == 0 or error is TopicAlreadyExistsError:
            continue
        refused[topic] = error(*[part for part in rest[:1] if part])
    return refused
