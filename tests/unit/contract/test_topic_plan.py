"""Which topics are made, and what is said about those that exist."""

import pytest

from consumers.contract.topic_plan import TopicFound, plan, remarks
from consumers.contract.topics import all_topics

GOOD = {
    "cleanup.policy": "delete",
    "retention.ms": str(24 * 3_600_000),
    "max.message.bytes": "1048588",
    "min.insync.replicas": "2",
}
BYTES_MAX = 1_048_576


def test_every_topic_is_planned_and_entries_have_one_partition() -> None:
    made = {each.name: each for each in plan("eni-ledger", partitions=9, replicas=3, hours=24)}
    assert set(made) == set(all_topics("eni-ledger"))
    assert made["eni-ledger.entries.v1"].partitions == 1
    assert {each.partitions for name, each in made.items() if "entries" not in name} == {9}
    assert made["eni-ledger.pod.v1"].settings == {
        "cleanup.policy": "delete",
        "retention.ms": "86400000",
        "min.insync.replicas": "2",
    }


def test_two_replicas_are_not_both_required() -> None:
    for each in plan("p", partitions=6, replicas=2, hours=24):
        assert "min.insync.replicas" not in each.settings


def test_what_is_planned_has_no_remark() -> None:
    for each in plan("p", partitions=6, replicas=3, hours=24):
        found = TopicFound(each.name, each.partitions, each.replicas, each.settings)
        assert remarks(found, BYTES_MAX) == []


@pytest.mark.parametrize(
    ("topic", "partitions", "replicas", "changes", "said"),
    [
        ("p.entries.v1", 6, 3, {}, "with 1"),
        ("p.pod.v1", 6, 1, {}, "1 replica"),
        ("p.pod.v1", 6, 3, {"cleanup.policy": "compact"}, "set delete"),
        ("p.pod.v1", 6, 3, {"retention.ms": "3600000"}, "at least 12 h"),
        ("p.pod.v1", 6, 3, {"max.message.bytes": "1000"}, "set 1048576"),
        ("p.pod.v1", 6, 3, {"min.insync.replicas": "1"}, "set 2"),
    ],
)
def test_what_should_be_set_otherwise(
    topic: str, partitions: int, replicas: int, changes: dict[str, str], said: str
) -> None:
    [remark] = remarks(TopicFound(topic, partitions, replicas, GOOD | changes), BYTES_MAX)
    assert said in remark


def test_a_retention_without_end_is_fine_and_settings_that_are_hidden_are_told() -> None:
    assert remarks(TopicFound("p.pod.v1", 6, 3, GOOD | {"retention.ms": "-1"}), BYTES_MAX) == []
    [remark] = remarks(TopicFound("p.pod.v1", 6, 3, None), BYTES_MAX)
    assert "DescribeConfigs" in remark
