"""Who held what, from when to when, and why: periods of holding, read one by one.

Answers are of one cluster. They are streamed through a cursor of the server's: an export of ten
million periods is never held in memory.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import Connection

Key = Literal["ip", "eni", "mac", "pod", "node", "vswitch", "security-group"]

_WHERE: Mapping[Key, str] = {
    "ip": "(ipv4 = %(value)s::inet OR ipv6 = %(value)s::inet)",
    "eni": "eni = %(value)s",
    "mac": "mac = %(value)s",
    "pod": "namespace = split_part(%(value)s, '/', 1) AND pod = split_part(%(value)s, '/', 2)",
    "node": "node = %(value)s",
    "vswitch": "vswitch = %(value)s",
    "security-group": "%(value)s = ANY(security_groups)",
}
# Rows that one fetch brings at most: enough that the network does not matter, few enough to hold.
_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class Because:
    """The entry that opened or closed a period, and what led to it."""

    entry: int
    kind: str
    cause: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Tenure:
    """A period in which an ENI and its addresses served one holder in one way.

    `until` is None while it lasts. `kind`: preparing, bound, leaving, reserved or releasing.
    `message` (entry, kind, topic, partition, offset, event), `decision` (entry, kind, data) and
    `requests` (entry, kind, api, request_id) are what the period goes back to.
    """

    cluster: str
    vpc: str
    ipv4: str | None
    ipv6: str | None
    eni: str
    mac: str
    vswitch: str
    kind: str
    namespace: str
    pod: str
    interface: str
    pod_uid: str
    node: str
    vlan: int | None
    since: datetime
    until: datetime | None
    opened: Because
    closed: Because | None
    allocation_id: UUID
    message: dict[str, Any] | None = None
    decision: dict[str, Any] | None = None
    requests: tuple[dict[str, Any], ...] = ()
    security_groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class When:
    """Which periods are meant: those that hold `at` a moment, or that touch [`since`, `until`)."""

    at: datetime | None = None
    since: datetime | None = None
    until: datetime | None = None

    @property
    def condition(self) -> str:
        """As SQL, to follow others; its parameters are the fields."""
        return (
            (" AND since <= %(at)s AND (until IS NULL OR until > %(at)s)" if self.at else "")
            + (" AND (until IS NULL OR until > %(since)s)" if self.since else "")
            + (" AND since < %(until)s" if self.until else "")
        )


def each_tenure(
    connection: Connection, cluster: str, key: Key, value: str, when: When | None = None
) -> Iterator[Tenure]:
    """The periods of what `key` and `value` name, oldest first, as they are read.

    Raises sqlalchemy's DataError for an `ip` that is none.
    """
    when = when or When()
    source, condition = "audit.tenures", f"{_WHERE[key]}{when.condition}"
    if key == "ip" and when.at is not None:
        # One probe, however long the address's history is.
        source, condition = "audit.ip_owner_at(%(value)s::inet, %(at)s, %(cluster)s)", "true"
    found = connection.exec_driver_sql(
        f"SELECT *, host(ipv4) AS ipv4_text, host(ipv6) AS ipv6_text FROM {source} "  # noqa: S608 - our own words
        f"WHERE cluster = %(cluster)s AND {condition} ORDER BY since, opened_by_entry",
        {
            "cluster": cluster,
            "value": value,
            "at": when.at,
            "since": when.since,
            "until": when.until,
        },
        execution_options={"stream_results": True, "max_row_buffer": _AT_ONCE},
    )
    with found:
        yield from map(_tenure, found)


def tenures(
    connection: Connection, cluster: str, key: Key, value: str, at: datetime | None = None
) -> list[Tenure]:
    """The periods of an address, an ENI, a MAC or a Pod (`namespace/name`), oldest first.

    With `at`, only what held at that moment. Raises sqlalchemy's DataError for an `ip` that is none.
    """
    return list(each_tenure(connection, cluster, key, value, When(at=at)))


def neighbours(
    connection: Connection, cluster: str, key: Key, value: str, at: datetime
) -> tuple[Tenure | None, Tenure | None]:
    """The last period that was over by a moment, and the first that began after it."""
    return (
        _one(connection, cluster, key, value, at, "until <= %(at)s ORDER BY until DESC"),
        _one(connection, cluster, key, value, at, "since > %(at)s ORDER BY since"),
    )


def _one(
    connection: Connection, cluster: str, key: Key, value: str, at: datetime, which: str
) -> Tenure | None:
    row = connection.exec_driver_sql(
        f"SELECT *, host(ipv4) AS ipv4_text, host(ipv6) AS ipv6_text FROM audit.tenures "  # noqa: S608 - our own words
        f"WHERE cluster = %(cluster)s AND {_WHERE[key]} AND {which}, opened_by_entry LIMIT 1",
        {"cluster": cluster, "value": value, "at": at},
    ).one_or_none()
    return None if row is None else _tenure(row)


def _tenure(row: Any) -> Tenure:
    closed = None
    if row.closed_by_entry is not None:
        closed = Because(row.closed_by_entry, row.closed_by_kind, row.closed_because)
    return Tenure(
        row.cluster,
        row.vpc,
        row.ipv4_text,
        row.ipv6_text,
        row.eni,
        row.mac,
        row.vswitch,
        row.kind,
        row.namespace,
        row.pod,
        row.interface,
        row.pod_uid,
        row.node,
        row.vlan,
        row.since,
        row.until,
        Because(row.opened_by_entry, row.opened_by_kind, row.opened_because),
        closed,
        row.allocation_id,
        row.message,
        row.decision,
        tuple(row.requests),
        tuple(row.security_groups or ()),
    )
