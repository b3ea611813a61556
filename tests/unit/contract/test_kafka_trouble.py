"""Failures of Kafka's in words: the object, the cause, the next step."""

import pytest
from aiokafka.errors import (
    GroupAuthorizationFailedError,
    InvalidSessionTimeoutError,
    KafkaTimeoutError,
    TopicAuthorizationFailedError,
)

from consumers.contract.kafka_trouble import explain


@pytest.mark.parametrize(
    ("failure", "topic", "said"),
    [
        (TopicAuthorizationFailedError({"b", "a"}), "", "Kafka user me may not use topic a, b"),
        (TopicAuthorizationFailedError(), "mine", "Kafka user me may not use topic mine"),
        (GroupAuthorizationFailedError("g"), "", "Kafka user me may not read as group g"),
        (InvalidSessionTimeoutError(), "", "kafka.session_timeout_ms"),
        (KafkaTimeoutError("late"), "", "KafkaTimeoutError: late"),
        (OSError("no route"), "", "OSError: no route"),
    ],
)
def test_each_names_what_it_is_about(failure: Exception, topic: str, said: str) -> None:
    assert explain(failure, "me", topic).startswith(said) or said in explain(failure, "me", topic)


def test_a_client_without_a_user_is_named_as_that() -> None:
    assert "names no user" in explain(TopicAuthorizationFailedError("t"))
