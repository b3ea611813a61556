"""Checks of what we lean on outside the cluster: cloud rights, Kafka, PostgreSQL, clocks. Pure."""

from collections.abc import Iterable, Mapping
from typing import Final

from consumers.contract.topics import (
    all_topics,
    entity_topics,
    entries_topic,
)
from consumers.doctor.facts import NOT_YET, Brokers, Facts, Look, Reading, Tail, Topic, Unseen
from consumers.doctor.judging import (
    Check,
    NotMade,
    NotSeen,
    Part,
    Verdict,
    blocks,
    fine,
    listed,
    seen,
    warns,
)

OLDEST_KAFKA: Final = (2, 6)
REPLICAS: Final = 3
IN_SYNC: Final = 2
#: A weekend is longer, but a night is what an outage is mended in; the intake reads on from there.
RETENTION_H: Final = 12
#: Heartbeats come every second; the reading of six topics takes one or two.
HEARTBEAT_LATE_S: Final = 30.0
OLDEST_POSTGRES: Final = 150000
#: A clock may differ by this much and nobody would notice.
SKEW_S: Final = 5.0
#: The cloud refuses signatures from 15 min on; the incumbent's lease is dead after 45 s.
SKEW_BLOCKS_S: Final = 600.0
_ALTER: Final = (
    "kafka-configs.sh --bootstrap-server HOST:PORT --alter --entity-type topics --entity-name {topic} "
    "--add-config {config}"
)


# --- the cloud ------------------------------------------------------------------------------------


def _cloud(facts: Facts) -> Verdict:
    seen(facts.cloud.api)
    return fine(f"ECS and VPC answer in {facts.meant.region_id}, and take our credentials")


def _rights(facts: Facts) -> Verdict:
    seen(facts.cloud.api)
    rights = facts.cloud.rights
    refused = [
        f"{api} ({right.code})"
        for api, right in rights.items()
        if not isinstance(right, Unseen) and not right.granted
    ]
    unknown = {api: right for api, right in rights.items() if isinstance(right, Unseen)}
    if refused:
        rest = f"; not known: {listed(list(unknown))}" if unknown else ""
        return blocks(
            f"this identity may not call {', '.join(refused)}{rest}",
            "grant it in RAM: ecs:<API> for each, vpc:DescribeVSwitches",
        )
    if unknown:
        raise NotSeen(Unseen("; ".join(f"{api}: {why.cause}" for api, why in unknown.items())))
    return fine(f"all {len(rights)} APIs may be called")


# --- Kafka ----------------------------------------------------------------------------------------


def _brokers(facts: Facts) -> Verdict:
    brokers: Brokers = seen(facts.kafka.brokers)
    version = ".".join(map(str, brokers.version))
    told = f"{brokers.count} brokers, of release {version} or later"
    if brokers.version < OLDEST_KAFKA:
        oldest = ".".join(map(str, OLDEST_KAFKA))
        return warns(f"{told}: nothing below {oldest} was ever tried", "upgrade the brokers")
    return fine(told)


def _topics(facts: Facts) -> Verdict:
    there = seen(facts.kafka.topics)
    missing = [name for name in all_topics(facts.meant.topic_prefix) if name not in there]
    if missing:
        return blocks(
            f"missing: {listed(missing)}",
            "eni-ledger topics, as a Kafka user that may create topics; or start the watcher and the "
            "intake, which make them where they may",
        )
    return fine(f"all {len(there)} topics are there")


def _partitions(facts: Facts) -> Verdict:
    entries = seen(facts.kafka.topics).get(entries_topic(facts.meant.topic_prefix))
    if entries is None or entries.partitions == 1:
        return fine("entries have one partition, so one order")
    return blocks(
        f"{entries_topic(facts.meant.topic_prefix)} has {entries.partitions} partitions: entries have "
        "one order, and readers would see another",
        "delete the topic and let the intake make it again; it publishes every entry anew",
    )


def _replication(facts: Facts) -> Verdict:
    thin = sorted(
        f"{name} (replicas {topic.replicas}, min.insync.replicas {topic.config.get(_MIN_ISR, 'untold')})"
        for name, topic in seen(facts.kafka.topics).items()
        if topic.replicas < REPLICAS or _number(topic, _MIN_ISR, IN_SYNC) < IN_SYNC
    )
    if not thin:
        return fine(f"every topic has {REPLICAS} replicas, {IN_SYNC} of them in step")
    return warns(
        f"a lost broker could lose what nobody has taken in yet: {listed(thin)}",
        "kafka-reassign-partitions.sh to three brokers, then: "
        + _ALTER.format(topic="TOPIC", config=f"{_MIN_ISR}={IN_SYNC}"),
    )


def _retention(facts: Facts) -> Verdict:
    topics = _entities(facts, seen(facts.kafka.topics))
    compacted = sorted(n for n, t in topics.items() if "compact" in t.config.get(_CLEANUP, ""))
    if compacted:
        return blocks(
            f"compacted: {listed(compacted)}; what was not taken in yet would be thinned out",
            _ALTER.format(topic=compacted[0], config=f"{_CLEANUP}=delete"),
        )
    untold = sorted(n for n, t in topics.items() if _RETENTION not in t.config)
    short = sorted(
        f"{name} ({hours:g} h)"
        for name, topic in topics.items()
        if 0 <= (hours := _number(topic, _RETENTION, -1) / 3_600_000) < RETENTION_H
    )
    if short:
        return warns(
            f"kept for less than {RETENTION_H} h: {listed(short)}; a longer outage of the intake would "
            "lose messages, and TTLs would count anew",
            _ALTER.format(topic=short[0].split(" ")[0], config=f"{_RETENTION}=604800000"),
        )
    if untold:
        return warns(
            f"the broker does not tell how long it keeps {listed(untold)}",
            f"see that it is {RETENTION_H} h or more",
        )
    return fine(f"messages are kept for {RETENTION_H} h or longer")


def _message_size(facts: Facts) -> Verdict:
    wanted = facts.meant.message_bytes_max
    small = sorted(
        f"{name} ({_number(topic, _MAX_BYTES, wanted)})"
        for name, topic in seen(facts.kafka.topics).items()
        if _number(topic, _MAX_BYTES, wanted) < wanted
    )
    if not small:
        return fine(f"messages of {wanted} bytes fit")
    return warns(
        f"{_MAX_BYTES} is below kafka.message_bytes_max ({wanted}): {listed(small)}; a large object is "
        "refused and its message never arrives",
        _ALTER.format(topic=small[0].split(" ")[0], config=f"{_MAX_BYTES}={wanted + 1024}"),
    )


def _heartbeats(facts: Facts) -> Verdict:
    topics, tails = seen(facts.kafka.topics), seen(facts.kafka.tails)
    problems = [
        problem
        for name in _entities(facts, topics)
        for problem in heartbeat_problems(
            name, topics[name].partitions, tails.get(name, ()), facts.meant.cluster_id
        )
    ]
    if not problems:
        return fine("heartbeats are fresh on every partition")
    return warns(
        f"{listed(problems)}. The watermark stands still there: before an address is given up, the live "
        "look at the API server is all that remains",
        "see that a watcher runs (eni-ledger run watcher); another producer should send "
        "io.eni-ledger.<entity>.heartbeat.v1 on each partition every second",
    )


def heartbeat_problems(
    topic: str, partitions: int, tails: Iterable[Tail], ours: str
) -> tuple[str, ...]:
    """Which clusters' heartbeats are missing or late on a topic, for a person to read. Pure."""
    by_cluster: dict[str, dict[int, float | None]] = {ours: {}}
    for tail in tails:
        by_cluster.setdefault(tail.cluster, {})[tail.partition] = tail.heartbeat_age_s
    problems = []
    for cluster, ages in sorted(by_cluster.items()):
        fresh = [age for age in ages.values() if age is not None and age <= HEARTBEAT_LATE_S]
        if len(fresh) == partitions:
            continue
        known = [age for age in ages.values() if age is not None]
        if not known:
            problems.append(f"{topic}: no heartbeat of cluster {cluster}")
        elif not fresh:
            problems.append(f"{topic}: last heartbeat of cluster {cluster} {min(known):.0f} s ago")
        else:
            problems.append(
                f"{topic}: heartbeats of cluster {cluster} on {len(fresh)} of {partitions} partitions"
            )
    return tuple(problems)


_MIN_ISR: Final = "min.insync.replicas"
_CLEANUP: Final = "cleanup.policy"
_RETENTION: Final = "retention.ms"
_MAX_BYTES: Final = "max.message.bytes"


def _entities(facts: Facts, topics: Mapping[str, Topic]) -> dict[str, Topic]:
    return {n: topics[n] for n in entity_topics(facts.meant.topic_prefix) if n in topics}


def _number(topic: Topic, name: str, otherwise: int) -> int:
    try:
        return int(topic.config.get(name, otherwise))
    except ValueError:
        return otherwise


# --- PostgreSQL -----------------------------------------------------------------------------------


def _server(facts: Facts) -> Verdict:
    server = seen(facts.database.server)
    version = f"PostgreSQL {server.version // 10000}.{server.version % 10000}"
    if server.version < OLDEST_POSTGRES:
        return blocks(f"{version}: 15 or later is needed", "upgrade the server")
    if server.in_recovery:
        return blocks(
            f"{version} is a standby: nothing can be written",
            "point ENI_LEDGER_POSTGRES__DSN at the primary (target_session_attrs=read-write)",
        )
    return fine(f"{version} answers")


def _durability(facts: Facts) -> Verdict:
    off = [name for name, value in seen(facts.database.server).settings.items() if value == "off"]
    if off:
        return blocks(
            f"{', '.join(off)} off: an intent that was recorded before a call may be gone after a crash",
            f"ALTER SYSTEM SET {off[0]} = on; SELECT pg_reload_conf(); and see ALTER ROLE, ALTER DATABASE",
        )
    return fine("a commit survives a crash")


def _schema(facts: Facts) -> Verdict:
    why = seen(facts.database.schema)
    return (
        fine("the schema is the one this version knows")
        if why is None
        else blocks(why, "eni-ledger migrate")
    )


def _clock_function(facts: Facts) -> Verdict:
    if seen(facts.database.schema) is not None:
        raise NotMade("no schema of ours")
    why = seen(facts.database.clock)
    if why is None:
        return fine("ledger.now() is PostgreSQL's own clock")
    if facts.meant.local_stack:
        return warns(
            f"{why}. This is the local stack, whose clock may be moved; every process refuses it elsewhere",
            "nothing, here; never point this ledger at a real cloud",
        )
    return blocks(
        why,
        "CREATE OR REPLACE FUNCTION ledger.now() RETURNS timestamptz LANGUAGE sql VOLATILE PARALLEL "
        "SAFE RETURN clock_timestamp();",
    )


def _roles(facts: Facts) -> Verdict:
    login = seen(facts.database.login)
    if login.missing_roles:
        return blocks(
            f"no role {', '.join(login.missing_roles)}: roles belong to the server, and a restored dump "
            "brings none",
            f"CREATE ROLE {login.missing_roles[0]} NOLOGIN; then the grants of migrations/sql",
        )
    if login.superuser or login.owner:
        who = "a superuser" if login.superuser else "the owner of the ledger"
        return warns(
            f"{login.name} is {who}: it could change what was written down",
            f"use a login of its own for the processes: GRANT eni_ledger_reconciler TO … (not {login.name})",
        )
    if not login.roles:
        return blocks(
            f"{login.name} is a member of none of our roles",
            f"GRANT eni_ledger_writer, eni_ledger_reconciler TO {login.name};",
        )
    return fine(f"{login.name} acts as {', '.join(sorted(login.roles))}")


def _standby(facts: Facts) -> Verdict:
    standby, meant = seen(facts.database.standby), facts.meant.synchronous_standby
    if standby.in_step is None:
        told = "its state is hidden from this login"
        if not meant:
            return fine(f"standbys: {told}")
        raise NotSeen(Unseen(f"{told}: GRANT pg_monitor TO the login of this check"))
    if meant and (not standby.names or standby.in_step == 0):
        return blocks(
            "postgres.synchronous_standby is on and no standby is in step: after a failover the newest "
            "entries would be missing, and nobody would be told",
            "set synchronous_standby_names on the server, or ENI_LEDGER_POSTGRES__SYNCHRONOUS_STANDBY=false",
        )
    if standby.in_step:
        return fine(f"{standby.in_step} standbys have every commit")
    return fine("no standby in step: after a failover `eni-ledger verify --accept` is asked for")


# --- clocks ---------------------------------------------------------------------------------------


def _database_clock(facts: Facts) -> Verdict:
    return _skew("PostgreSQL", facts.clocks.database, facts.database.server)


def _kubernetes_clock(facts: Facts) -> Verdict:
    return _skew("the API server", facts.clocks.kubernetes, facts.cluster.version)


def _cloud_clock(facts: Facts) -> Verdict:
    return _skew("the cloud", facts.clocks.cloud, facts.cloud.api)


def _skew(whose: str, look: Look[Reading], itself: Look[object]) -> Verdict:
    """`itself`: whether the other side could be reached for more than its clock."""
    if isinstance(look, Unseen) and isinstance(itself, Unseen) and itself is not NOT_YET:
        raise NotMade(itself.cause)
    reading: Reading = seen(look)
    least = max(0.0, abs(reading.ahead_s) - reading.within_s)
    way = "ahead of" if reading.ahead_s > 0 else "behind"
    told = f"{whose}'s clock is {abs(reading.ahead_s):.1f} s {way} this machine's"
    fix = "see that both are kept by NTP: chronyc tracking"
    if least > SKEW_BLOCKS_S:
        return blocks(told, fix)
    if least > SKEW_S:
        return warns(told, fix)
    return fine(f"{whose}'s clock agrees, within {reading.within_s + abs(reading.ahead_s):.1f} s")


CHECKS: Final = (
    Check("cloud-api", Part.CLOUD, "Nothing is made or attached without it.", _cloud, base=True),
    Check("ram-permissions", Part.CLOUD, "Each of them is called, sooner or later.", _rights),
    Check(
        "kafka-brokers",
        Part.KAFKA,
        "What happens in the cluster comes by Kafka.",
        _brokers,
        base=True,
    ),
    Check("kafka-topics", Part.KAFKA, "A producer without its topic waits.", _topics),
    Check("kafka-entries-order", Part.KAFKA, "Entries are published in one order.", _partitions),
    Check("kafka-replication", Part.KAFKA, "Kafka holds what was not taken in yet.", _replication),
    Check("kafka-retention", Part.KAFKA, "It must outlast an outage of the intake.", _retention),
    Check(
        "kafka-message-size", Part.KAFKA, "A message too large is never delivered.", _message_size
    ),
    Check(
        "kafka-heartbeats",
        Part.KAFKA,
        "They say how far a producer has told everything.",
        _heartbeats,
    ),
    Check("database", Part.DATABASE, "The ledger is in it.", _server, base=True),
    Check(
        "database-durability", Part.DATABASE, "An intent is recorded before its call.", _durability
    ),
    Check(
        "database-schema", Part.DATABASE, "No process starts on a schema it does not know.", _schema
    ),
    Check(
        "database-clock",
        Part.DATABASE,
        "TTLs end by it; a clock that runs ahead ends them early.",
        _clock_function,
    ),
    Check(
        "database-roles", Part.DATABASE, "They keep what was written from being changed.", _roles
    ),
    Check("database-standby", Part.DATABASE, "It decides what a failover may lose.", _standby),
    Check("clock-database", Part.CLOCKS, "Every due time is by its clock.", _database_clock),
    Check(
        "clock-kubernetes",
        Part.CLOCKS,
        "Leases and podLastSeen are by its clock.",
        _kubernetes_clock,
    ),
    Check("clock-cloud", Part.CLOCKS, "It refuses calls that are signed 15 min off.", _cloud_clock),
)
