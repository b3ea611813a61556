"""Kafka arguments from the settings; topic names."""

from pydantic import SecretStr

from consumers.contract import topics
from consumers.contract.kafka_client import consumer_options, producer_options
from consumers.runtime.settings import KafkaSettings


def test_a_producer_asks_for_all_acknowledgements_and_no_idempotence() -> None:
    options = producer_options(KafkaSettings(bootstrap_servers="k:1"), "x")
    assert (options["acks"], options["enable_idempotence"]) == ("all", False)
    assert (options["bootstrap_servers"], options["client_id"]) == ("k:1", "x")
    assert "partitioner" not in options, "aiokafka's default is murmur2"


def test_a_consumer_commits_nothing() -> None:
    options = consumer_options(KafkaSettings(), "x", group_id="g")
    assert (options["group_id"], options["enable_auto_commit"]) == ("g", False)
    assert options["heartbeat_interval_ms"] < options["session_timeout_ms"]
    assert consumer_options(KafkaSettings(), "x")["group_id"] is None


def test_sasl_over_tls() -> None:
    settings = KafkaSettings(
        security_protocol="SASL_SSL",
        sasl_mechanism="SCRAM-SHA-512",
        sasl_username="u",
        sasl_password=SecretStr("p"),
    )
    options = producer_options(settings, "x")
    assert options["ssl_context"].check_hostname
    assert (options["sasl_plain_username"], options["sasl_plain_password"]) == ("u", "p")
    assert "ssl_context" not in producer_options(KafkaSettings(), "x")


def test_topic_names_are_the_contract() -> None:
    assert topics.entity_topic("pod") == "eni-ledger.pod.v1"
    assert topics.entity_topics("p")["p.podeni.v1"] == "podeni"
    assert topics.dead_letter_topic("p.pod.v1") == "p.pod.v1.dlq"
    assert len(set(topics.all_topics())) == 13
    assert topics.parse_event_type(topics.event_type("config", "listed")) == ("config", "listed")
