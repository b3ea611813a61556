"""The names of everything that crosses Kafka: entities, topics and event types.

The names are a contract (design: "Kafka"): other producers and consumers rely on them.
"""

import re
from typing import Final, Literal, get_args

Entity = Literal["pod", "node", "podnetworking", "podeni", "namespace", "config"]
Action = Literal["observed", "deleted", "listed", "heartbeat"]

ENTITIES: Final[tuple[Entity, ...]] = get_args(Entity)
ACTIONS: Final[tuple[Action, ...]] = get_args(Action)

#: Entities whose objects live in a namespace; the others are cluster-scoped.
NAMESPACED: Final[frozenset[Entity]] = frozenset({"pod", "podeni", "config"})

DEFAULT_PREFIX: Final = "eni-ledger"

#: Of each topic we create. More than the readers we expect (two or three), few enough that a
#: heartbeat a second on every partition of six topics stays cheap.
DEFAULT_PARTITIONS: Final = 6

TYPE_VERSION: Final = "v1"

#: The only type on the topic of entries.
ENTRY_TYPE: Final = f"io.eni-ledger.entry.recorded.{TYPE_VERSION}"
_TYPE = re.compile(r"io\.eni-ledger\.([a-z]+)\.([a-z]+)\.(v[0-9]+)")


class UnknownTypeError(ValueError):
    """An event type that is not one of ours, or of a version we do not read."""


def entity_topic(entity: Entity, prefix: str = DEFAULT_PREFIX) -> str:
    """The topic that carries one entity's messages, for example `eni-ledger.pod.v1`."""
    return f"{prefix}.{entity}.v1"


def entity_topics(prefix: str = DEFAULT_PREFIX) -> dict[str, Entity]:
    """Topic name -> entity, for all six."""
    return {entity_topic(entity, prefix): entity for entity in ENTITIES}


def entries_topic(prefix: str = DEFAULT_PREFIX) -> str:
    """The topic of the ledger's own entries, in feed order."""
    return f"{prefix}.entries.v1"


def partitions_of(topic: str) -> int:
    """How many partitions a topic gets when we create it. Entries have one order, hence one."""
    return 1 if topic.endswith(".entries.v1") else DEFAULT_PARTITIONS


def dead_letter_topic(topic: str) -> str:
    """The topic that carries the messages of `topic` that could not be used."""
    return f"{topic}.dlq"


def all_topics(prefix: str = DEFAULT_PREFIX) -> tuple[str, ...]:
    """Every topic of the system, in creation order: the six entities', their dead letters, the
    entries."""
    entities = tuple(entity_topics(prefix))
    return (*entities, *map(dead_letter_topic, entities), entries_topic(prefix))


def event_type(entity: Entity, action: Action) -> str:
    """The CloudEvents `type`, for example `io.eni-ledger.pod.observed.v1`."""
    return f"io.eni-ledger.{entity}.{action}.{TYPE_VERSION}"


def parse_event_type(text: str) -> tuple[Entity, Action]:
    """Entity and action of a CloudEvents `type`; raises UnknownTypeError saying what is wrong
    with it."""
    match = _TYPE.fullmatch(text)
    if match is None:
        raise UnknownTypeError(
            f"type {text[:120]!r} is not io.eni-ledger.<entity>.<action>.{TYPE_VERSION}"
        )
    entity, action, version = match.groups()
    if version != TYPE_VERSION:
        raise UnknownTypeError(
            f"type {text[:120]!r}: version {version} is unknown, {TYPE_VERSION} is read: upgrade"
        )
    for known_entity in ENTITIES:
        for known_action in ACTIONS:
            if entity == known_entity and action == known_action:
                return known_entity, known_action
    raise UnknownTypeError(
        f"type {text[:120]!r}: entities are {', '.join(ENTITIES)}; actions {', '.join(ACTIONS)}"
    )
