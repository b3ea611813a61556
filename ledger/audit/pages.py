"""Lists a page at a time in a stable order, and whole, a row at a time: over the `audit` schema."""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection

#: How many rows of an export are in memory at once.
ROWS_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class Listing:
    """One list: what it selects and in which order.

    `order` are (SQL expression, its type), together unique; `descending` is true of all of them.
    `filters` are SQL conditions by the name of their parameter. `streamed_by` is the order of a whole
    list where its own would have to be sorted first; an index gives this one.
    """

    columns: str
    source: str
    order: Sequence[tuple[str, str]]
    filters: Mapping[str, str] = field(default_factory=dict)
    descending: bool = False
    streamed_by: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """Rows by column name; `after` is the place of the last one, None where no more follow."""

    rows: Sequence[Mapping[str, Any]]
    after: tuple[str, ...] | None


_ADDRESS = "vpc, host(ipv4) AS ipv4, host(ipv6) AS ipv6, eni, mac, vswitch"

ALLOCATIONS = Listing(
    f"allocation_id, namespace, pod, interface, phase, parked, pod_uid, node, {_ADDRESS}, instance, "
    "trunk, vlan, ttl_due, created_at, changed_at, version",
    "audit.allocations",
    (("namespace", "text"), ("pod", "text"), ("allocation_id", "uuid")),
    {
        "allocation": "allocation_id = %(allocation)s",
        "phase": "phase = %(phase)s",
        "namespace": "namespace = %(namespace)s",
        "pod": "pod = %(pod)s",
        "node": "node = %(node)s",
        "vswitch": "vswitch = %(vswitch)s",
        "parked": "(parked IS NOT NULL) = %(parked)s",
        "live": "(phase <> 'released') = %(live)s",
    },
    streamed_by="allocation_id",
)

TENURES = Listing(
    f"namespace, pod, interface, kind, since, until, pod_uid, node, {_ADDRESS}, instance, trunk, vlan, "
    "opened_by_entry, opened_by_kind, opened_because, closed_by_entry, closed_by_kind, closed_because, "
    "allocation_id",
    "audit.tenures",
    (("since", "timestamptz"), ("opened_by_entry", "bigint")),
    {"start": "(until IS NULL OR until > %(start)s)", "end": "since < %(end)s"},
    streamed_by="allocation_id, since",
)

RESERVATIONS = Listing(
    "allocation_id, namespace, pod, interface, vpc, host(ipv4) AS ipv4, host(ipv6) AS ipv6, eni, vswitch, "
    "zone, rule, absent_since, ttl_due AS due",
    "audit.reservations",
    (
        ("coalesce(ttl_due, 'infinity')", "timestamptz"),
        ("namespace", "text"),
        ("pod", "text"),
        ("allocation_id", "uuid"),
    ),
    {"namespace": "namespace = %(namespace)s", "vswitch": "vswitch = %(vswitch)s"},
)

CALLS = Listing(
    "intent, api, intended_at, deadline, settled_at, outcome, code, request_id, client_token, parameters, "
    "allocation_id, namespace, pod, interface",
    "audit.calls",
    (("intended_at", "timestamptz"), ("intent", "uuid")),
    {
        "api": "api = %(api)s",
        "outcome": "outcome = %(outcome)s",
        # In these words an index knows them: few are open, of millions.
        "open": "settled_at IS NULL AND %(open)s",
        "allocation": "allocation_id = %(allocation)s",
        "start": "intended_at >= %(start)s",
        "end": "intended_at < %(end)s",
    },
    descending=True,
)

_ENTRY = "entry, allocation_id, namespace, pod, interface, version, kind, recorded_at, cause, data"

#: Of one allocation: by version, which is the order of its entries and has an index with it.
STORY = Listing(
    _ENTRY,
    "audit.story",
    (("version", "integer"),),
    {"allocation": "allocation_id = %(allocation)s"},
)

ENTRIES = Listing(
    _ENTRY,
    "audit.story",
    (("entry", "bigint"),),
    {
        "start": "recorded_at >= %(start)s",
        "end": "recorded_at < %(end)s",
    },
)

DRIFT = Listing(
    "eni, kind, detail, first_seen, last_seen, accepted_at, accepted_by",
    "audit.drift",
    (("eni", "text"),),
    {"accepted": "(accepted_at IS NOT NULL) = %(accepted)s"},
)

DEAD_LETTERS = Listing(
    'id, topic, partition, "offset", key, bytes, error_class, message, recorded_at, published_at, '
    "redriven_at",
    "audit.dead_letters",
    (("id", "bigint"),),
    {"redriven": "(redriven_at IS NOT NULL) = %(redriven)s"},
)

WAITING = Listing(
    "kind, namespace, name, waiting_for, attempts, next_try_at",
    "audit.waiting",
    (("kind", "text"), ("namespace", "text"), ("name", "text")),
)


def read_page(
    connection: Connection,
    listing: Listing,
    cluster: str,
    filters: Mapping[str, Any],
    after: Sequence[str] | None,
    limit: int,
) -> Page:
    """At most `limit` rows of one cluster behind the place `after`; filters that are None are left out.

    Places are texts of the order's expressions, so that a page neither repeats nor loses a row
    that was there all the time. Raises sqlalchemy's DataError for a place that is none.
    """
    given = {name: value for name, value in filters.items() if value is not None}
    bound: dict[str, Any] = {"cluster": cluster, "limit": limit + 1, **given}
    conditions = ["cluster = %(cluster)s", *(listing.filters[n] for n in given)]
    if after is not None:
        bound |= {f"place{index}": text for index, text in enumerate(after)}
        conditions.append(_behind(listing))
    places = ", ".join(f"({sql})::text" for sql, _ in listing.order)
    found = connection.exec_driver_sql(
        f"SELECT {listing.columns}, ARRAY[{places}] AS place FROM {listing.source} "  # noqa: S608 - our own words
        f"WHERE {' AND '.join(conditions)} ORDER BY {_order(listing)} LIMIT %(limit)s",
        bound,
    )
    rows = [dict(row) for row in found.mappings()]
    more = len(rows) > limit
    kept = rows[:limit]
    last = tuple(kept[-1]["place"]) if more else None
    return Page([{k: v for k, v in row.items() if k != "place"} for row in kept], last)


def stream(
    connection: Connection, listing: Listing, cluster: str, filters: Mapping[str, Any]
) -> Generator[Mapping[str, Any], None, None]:
    """Every row of one cluster, in the list's order, through a cursor of the server: nothing whole
    is held, whatever the number of rows. Valid until the connection's transaction ends."""
    given = {name: value for name, value in filters.items() if value is not None}
    conditions = ["cluster = %(cluster)s", *(listing.filters[n] for n in given)]
    found = connection.exec_driver_sql(
        f"SELECT {listing.columns} FROM {listing.source} "  # noqa: S608 - our own words
        f"WHERE {' AND '.join(conditions)} ORDER BY {listing.streamed_by or _order(listing)}",
        {"cluster": cluster, **given},
        execution_options={"yield_per": ROWS_AT_ONCE},
    )
    try:
        for row in found.mappings():
            yield dict(row)
    finally:
        found.close()


def _order(listing: Listing) -> str:
    direction = " DESC" if listing.descending else ""
    return ", ".join(f"{sql}{direction}" for sql, _ in listing.order)


def _behind(listing: Listing) -> str:
    names = ", ".join(sql for sql, _ in listing.order)
    values = ", ".join(f"%(place{i})s::{kind}" for i, (_, kind) in enumerate(listing.order))
    return f"({names}) {'<' if listing.descending else '>'} ({values})"
