"""Which topics there should be, how each should be set, and what is wrong with those that exist. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from consumers.contract.topics import all_topics, partitions_of

#: The watcher lists everything again every 6 h: a log that keeps twice as long holds a whole list.
RETENTION_HOURS_MIN: Final = 12
_HOUR_MS: Final = 3_600_000


@dataclass(frozen=True, slots=True)
class TopicPlan:
    """A topic as it should be made; `settings` as Kafka names them."""

    name: str
    partitions: int
    replicas: int
    settings: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class TopicFound:
    """A topic as it is; `settings` None: this user may not read them."""

    name: str
    partitions: int
    replicas: int
    settings: Mapping[str, str] | None = field(default_factory=dict)


def plan(prefix: str, *, partitions: int, replicas: int, hours: int) -> list[TopicPlan]:
    """Every topic of the system. The topic of entries has one order, hence one partition."""
    settings = {"cleanup.policy": "delete", "retention.ms": str(hours * _HOUR_MS)}
    if replicas > 2:
        settings["min.insync.replicas"] = "2"
    return [
        TopicPlan(name, 1 if partitions_of(name) == 1 else partitions, replicas, settings)
        for name in all_topics(prefix)
    ]


def remarks(found: TopicFound, message_bytes_max: int) -> list[str]:
    """What is wrong with a topic that exists; each says what to set. Empty: all is well."""
    said: list[str] = []
    if partitions_of(found.name) == 1 and found.partitions != 1:
        said.append(f"{found.partitions} partitions: entries have one order, make it anew with 1")
    if found.replicas == 1:
        said.append("1 replica: a lost disk loses what only this log knew")
    settings = found.settings
    if settings is None:
        return [
            *said,
            "its settings can't be read: allow DescribeConfigs, or look at them yourself",
        ]
    policy = settings.get("cleanup.policy", "delete")
    if policy != "delete":
        said.append(
            f"cleanup.policy={policy}: set delete; compaction takes away what readers count on"
        )
    hours = int(settings.get("retention.ms", -1)) / _HOUR_MS
    if 0 <= hours < RETENTION_HOURS_MIN:
        said.append(f"retention.ms is {hours:.1f} h: set at least {RETENTION_HOURS_MIN} h")
    if (size := int(settings.get("max.message.bytes", message_bytes_max))) < message_bytes_max // 2:
        said.append(
            f"max.message.bytes={size}: a large object does not fit; set {message_bytes_max}"
        )
    if found.replicas > 2 and settings.get("min.insync.replicas") == "1":
        said.append(
            "min.insync.replicas=1: one broker's loss may lose what was acknowledged; set 2"
        )
    return said
