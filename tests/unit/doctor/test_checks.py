"""The checks on facts that no world of the local stack can show, and how a cause is told once."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from consumers.cloud.failures import failure
from consumers.cloud.port import Refused
from consumers.contract.events import Heartbeat, Message
from consumers.doctor.checks import CHECKS, findings
from consumers.doctor.facts import (
    Brokers,
    CloudFacts,
    ClusterFacts,
    ConfigText,
    DaemonSet,
    Facts,
    Incumbent,
    KafkaFacts,
    Login,
    Look,
    Reading,
    Right,
    Server,
    Standby,
    Tail,
    Topic,
    Unseen,
    blind,
)
from consumers.doctor.judging import Part, Report, Severity
from consumers.doctor.probe_clocks import reading
from consumers.doctor.probe_cloud import right_of
from consumers.doctor.probe_kafka import release_of, tails_of
from tests.unit.doctor.test_fixing import MEANT

PREFIX = MEANT.topic_prefix


def nothing_seen() -> Facts:
    """Every part unseen, each for one cause of its own."""
    facts = Facts(MEANT)
    for part in (facts.cluster, facts.cloud, facts.kafka, facts.database, facts.clocks):
        blind(part, Unseen(f"no {type(part).__name__}"))
    return facts


def verdict(report: Report, id_: str) -> tuple[Severity, str]:
    found = next(each for each in report.findings if each.id == id_)
    return found.severity, found.what


def test_one_cause_is_told_once_and_by_the_check_that_the_others_rest_on() -> None:
    report = findings(nothing_seen())
    unseen = {each.id for each in report.findings if each.severity is Severity.UNSEEN}
    assert unseen == {"kubernetes-api", "cloud-api", "kafka-brokers", "database"}
    assert {f.id for f in report.findings} | set(report.not_made) == {c.id for c in CHECKS}
    assert not report.passed
    only = findings(nothing_seen(), {Part.NODES})
    causes = [each.what for each in only.findings]
    assert causes == ["could not look: no ClusterFacts", "could not look: no CloudFacts"]


def test_ids_are_unique_and_each_says_why_it_matters() -> None:
    ids = [check.id for check in CHECKS]
    assert len(set(ids)) == len(ids)
    assert all(check.why.endswith(".") for check in CHECKS)
    assert {check.part for check in CHECKS} == set(Part)


# --- Kafka ----------------------------------------------------------------------------------------


def kafka(config: Mapping[str, str], replicas: int = 3, partitions: int = 6) -> Report:
    names = [
        f"{PREFIX}.{e}.v1"
        for e in ("pod", "node", "podnetworking", "podeni", "namespace", "config")
    ]
    topics = {name: Topic(partitions, replicas, config) for name in names}
    topics[f"{PREFIX}.entries.v1"] = Topic(1, replicas, config)
    tails = {name: tuple(Tail(n, "c", 0.5, None) for n in range(partitions)) for name in names}
    facts = Facts(MEANT, kafka=KafkaFacts(Brokers(3, (3, 0)), topics, tails))
    return findings(facts, {Part.KAFKA})


@pytest.mark.parametrize(
    ("config", "id_", "severity", "says"),
    [
        (
            {"min.insync.replicas": "1"},
            "kafka-replication",
            Severity.WARNS,
            "min.insync.replicas 1",
        ),
        ({"min.insync.replicas": "2"}, "kafka-replication", Severity.FINE, "3 replicas"),
        ({"retention.ms": "3600000"}, "kafka-retention", Severity.WARNS, "(1 h)"),
        ({"retention.ms": "-1"}, "kafka-retention", Severity.FINE, "12 h"),
        ({"retention.ms": "43200000"}, "kafka-retention", Severity.FINE, "12 h"),
        (
            {"retention.ms": "-1", "cleanup.policy": "compact,delete"},
            "kafka-retention",
            Severity.BLOCKS,
            "compacted",
        ),
        ({"max.message.bytes": "0"}, "kafka-message-size", Severity.WARNS, "max.message.bytes"),
        ({}, "kafka-heartbeats", Severity.FINE, "fresh"),
    ],
)
def test_how_topics_are_set_up(
    config: Mapping[str, str], id_: str, severity: Severity, says: str
) -> None:
    found = verdict(kafka(config), id_)
    assert found[0] is severity
    assert says in found[1]


@pytest.mark.parametrize(
    ("spans", "release"),
    [
        ({1: (0, 11), 48: (0, 1)}, (2, 6)),
        ({1: (0, 12), 48: (0, 1), 60: (0, 0)}, (2, 8)),
        ({1: (0, 13), 60: (0, 0), 66: (0, 0)}, (3, 0)),
        ({1: (4, 17), 66: (0, 1), 68: (0, 1)}, (4, 0)),
        ({1: (0, 11), 37: (0, 1)}, (1, 0)),
        ({}, (0, 0)),
    ],
)
def test_a_broker_is_at_least_as_new_as_what_it_offers(
    spans: dict[int, tuple[int, int]], release: tuple[int, ...]
) -> None:
    assert release_of(spans) == release


def message(cluster: str, heartbeat: bool) -> Message:
    beat = Heartbeat(0, 1, datetime.now(UTC), synced=True) if heartbeat else None
    return Message(
        id="x",
        source=f"/clusters/{cluster}",
        type="t",
        cluster=cluster,
        entity="pod",
        action="heartbeat" if heartbeat else "observed",
        namespace="",
        name="",
        epoch=1,
        resource_version=1,
        time=None,
        uid="",
        object=None,
        page=None,
        heartbeat=beat,
    )


def test_the_end_of_a_topic_tells_who_sends_no_heartbeats() -> None:
    seen = [(10.0, message("a", True)), (12.0, message("a", False)), (15.0, message("b", False))]
    assert tails_of(3, seen, 20.0) == (Tail(3, "a", 10.0, 8.0), Tail(3, "b", None, 5.0))


# --- the cloud ------------------------------------------------------------------------------------


def refusal(code: str, status: int = 404) -> Refused:
    made = failure(
        "DeleteNetworkInterface",
        subject="eni-x",
        status=status,
        code=code,
        message="",
        request_id="r",
    )
    assert isinstance(made, Refused)
    return made


@pytest.mark.parametrize(
    ("code", "granted"),
    [
        ("InvalidEniId.NotFound", True),
        ("InvalidVSwitchId.NotFound", True),
        ("InvalidParameter", True),
        ("MissingParameter.InstanceId", True),
        ("Forbidden.RAM", False),
        ("Forbidden", False),
        ("NoPermission", False),
        # Who asked was not accepted, or nobody knows what the code means: says nothing of rights.
        ("InvalidAccessKeyId.NotFound", None),
        ("InvalidSecurityToken.Expired", None),
        ("SomethingNew", None),
    ],
)
def test_what_a_refusal_says_of_the_right_to_call(code: str, granted: bool | None) -> None:
    right = right_of(refusal(code))
    assert (right.granted if isinstance(right, Right) else None) is granted


def test_a_right_that_could_not_be_told_is_not_taken_for_granted() -> None:
    rights: dict[str, Look[Right]] = {
        "AttachNetworkInterface": Unseen("Throttling"),
        "DescribeVSwitches": Right(True, ""),
    }
    facts = Facts(MEANT, cloud=CloudFacts(api="answers", rights=rights))
    severity, what = verdict(findings(facts, {Part.CLOUD}), "ram-permissions")
    assert severity is Severity.UNSEEN
    assert "AttachNetworkInterface: Throttling" in what


# --- clocks, database, cluster --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ahead", "within", "severity"),
    [
        (0.4, 0.6, Severity.FINE),
        (-5.5, 0.6, Severity.FINE),
        (-5.7, 0.6, Severity.WARNS),
        (60.0, 0.6, Severity.WARNS),
        (60.0, 58.0, Severity.FINE),
        (901.0, 0.6, Severity.BLOCKS),
    ],
)
def test_a_clock_is_off_only_by_what_the_way_there_can_not_explain(
    ahead: float, within: float, severity: Severity
) -> None:
    facts = nothing_seen()
    facts.clocks.database = Reading(ahead, within)
    assert verdict(findings(facts, {Part.CLOCKS}), "clock-database")[0] is severity


def test_an_http_date_counts_for_the_middle_of_its_second_and_of_the_way() -> None:
    assert reading(1000.0, 1000.0, 1001.0, 1.0) == Reading(0.0, 1.0)
    assert reading(1007.0, 1000.0, 1000.0, 0.0) == Reading(7.0, 0.0)


def test_who_keeps_a_copy() -> None:
    facts = nothing_seen()
    facts.database.standby = Standby("ANY 1 (*)", 1)
    assert verdict(findings(facts, {Part.DATABASE}), "database-standby")[0] is Severity.FINE
    facts.database.standby = Standby("ANY 1 (*)", None)
    assert verdict(findings(facts, {Part.DATABASE}), "database-standby")[0] is Severity.FINE
    sure = replace(facts, meant=replace(MEANT, synchronous_standby=True))
    assert verdict(findings(sure, {Part.DATABASE}), "database-standby")[0] is Severity.UNSEEN
    sure.database.standby = Standby("ANY 1 (*)", 0)
    assert verdict(findings(sure, {Part.DATABASE}), "database-standby")[0] is Severity.BLOCKS


@pytest.mark.parametrize(
    ("server", "says"),
    [
        (Server(140012, {}, False), "15 or later"),
        (Server(170002, {}, True), "is a standby"),
    ],
)
def test_a_database_that_can_not_be_the_ledger_s(server: Server, says: str) -> None:
    facts = nothing_seen()
    facts.database.server = server
    found = verdict(findings(facts, {Part.DATABASE}), "database")
    assert found[0] is Severity.BLOCKS
    assert says in found[1]


def test_a_server_without_our_roles() -> None:
    facts = nothing_seen()
    facts.database.login = Login("x", False, False, frozenset(), ("eni_ledger_auditor",))
    severity, what = verdict(findings(facts, {Part.DATABASE}), "database-roles")
    assert severity is Severity.BLOCKS
    assert "no role eni_ledger_auditor" in what


def test_kubernetes_too_old() -> None:
    facts = nothing_seen()
    facts.cluster.version = (1, 18)
    assert verdict(findings(facts), "kubernetes-api")[0] is Severity.BLOCKS


@pytest.mark.parametrize(
    ("image", "severity"),
    [
        ("registry-vpc.cn-x.aliyuncs.com/acs/terway:v1.11.0", Severity.FINE),
        ("registry-vpc.cn-x.aliyuncs.com/acs/terway:v1.11.0-abc-aliyun", Severity.FINE),
        ("registry-vpc.cn-x.aliyuncs.com/acs/terway:1.10.9", Severity.WARNS),
        ("registry-vpc.cn-x.aliyuncs.com/acs/terway@sha256:00", Severity.WARNS),
    ],
)
def test_the_agents_version_is_their_image_s(image: str, severity: Severity) -> None:
    facts = nothing_seen()
    facts.cluster.daemon_sets = (DaemonSet("terway-eniip", (image,), 1, 1),)
    assert verdict(findings(facts), "terway-version")[0] is severity


@pytest.mark.parametrize(
    ("incumbent", "text", "severity"),
    [
        (None, "{}", Severity.FINE),
        (None, '{"ipam_type": "crd"}', Severity.BLOCKS),
        (Incumbent(1, True, True), "{}", Severity.FINE),
        (Incumbent(0, True, True), "{}", Severity.BLOCKS),
    ],
)
def test_where_shared_addresses_are_the_incumbent_s_it_must_run(
    incumbent: Incumbent | None, text: str, severity: Severity
) -> None:
    cluster = ClusterFacts(incumbent=incumbent, eni_config=ConfigText(text, "1", ""))
    facts = Facts(MEANT, cluster=cluster)
    assert verdict(findings(facts, {Part.INCUMBENT}), "central-ipam")[0] is severity
