"""The state of the fleet on one page: what is bound, kept, waiting and stopped. And what a word in a
search box may mean."""

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import get_args

from sqlalchemy import Connection

from ledger.audit.questions import Key
from ledger.store.database import ledger_now

KEYS: tuple[Key, ...] = get_args(Key)

_MAC = re.compile(r"[0-9a-f]{2}([:-]?[0-9a-f]{2}){5}")
_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_FOUND_MAX = 20


@dataclass(frozen=True, slots=True)
class Brake:
    """What stands still: scope `all` or `destructive`."""

    scope: str
    pulled_at: datetime
    pulled_by: str
    reason: str


@dataclass(frozen=True, slots=True)
class Fleet:
    """Interfaces by what they are doing at `at`, and what a person should know of.

    `preparing` has no network yet; `reserved` is kept for a Pod that is away; `leaving` and
    `releasing` are on their way. `parked` are among those, and stopped until a person acts.
    `waiting` counts objects whose work can't go on yet.
    """

    at: datetime
    preparing: int
    bound: int
    leaving: int
    reserved: int
    releasing: int
    parked: int
    waiting: int
    open_calls: int
    drift: int
    dead_letters: int
    swept_at: datetime | None
    brakes: tuple[Brake, ...]


@dataclass(frozen=True, slots=True)
class Meaning:
    """One thing that a search may mean: `key` is a key of `questions.tenures`, or `node`."""

    key: str
    value: str


_PHASES = """
SELECT phase, count(*) AS interfaces, count(parked) AS parked FROM audit.allocations
WHERE cluster = %(cluster)s AND phase <> 'released' GROUP BY phase ORDER BY phase
"""
_COUNTS = """
SELECT (SELECT count(*) FROM audit.waiting WHERE cluster = %(cluster)s) AS waiting,
       (SELECT count(*) FROM audit.calls WHERE cluster = %(cluster)s AND settled_at IS NULL) AS open_calls,
       (SELECT count(*) FROM audit.drift WHERE cluster = %(cluster)s AND accepted_at IS NULL) AS drift,
       (SELECT count(*) FROM audit.dead_letters WHERE cluster = %(cluster)s AND redriven_at IS NULL)
           AS dead_letters,
       (SELECT finished_at FROM audit.sweeps WHERE cluster = %(cluster)s) AS swept_at
"""
_BRAKES = """
SELECT scope, pulled_at, pulled_by, reason FROM audit.brakes WHERE cluster = %(cluster)s ORDER BY scope
"""
_PODS_NAMED = """
SELECT DISTINCT namespace FROM audit.tenures WHERE cluster = %(cluster)s AND pod = %(name)s
UNION SELECT DISTINCT namespace FROM audit.allocations
WHERE cluster = %(cluster)s AND pod = %(name)s AND phase <> 'released'
ORDER BY namespace LIMIT %(limit)s
"""
_NODES_NAMED = """
SELECT EXISTS (SELECT FROM audit.allocations
               WHERE cluster = %(cluster)s AND node = %(name)s AND phase <> 'released')
"""


def fleet(connection: Connection, cluster: str) -> Fleet:
    """The fleet of one cluster as it stands."""
    bound = {"cluster": cluster}
    phases = {
        row.phase: (row.interfaces, row.parked)
        for row in connection.exec_driver_sql(_PHASES, bound)
    }
    counts = connection.exec_driver_sql(_COUNTS, bound).one()
    brakes = tuple(Brake(*row) for row in connection.exec_driver_sql(_BRAKES, bound))

    def interfaces(phase: str) -> int:
        found: int = phases.get(phase, (0, 0))[0]
        return found

    return Fleet(
        at=ledger_now(connection),
        preparing=interfaces("wanted"),
        bound=interfaces("bound"),
        leaving=interfaces("leaving"),
        reserved=interfaces("reserved"),
        releasing=interfaces("releasing"),
        parked=sum(parked for _, parked in phases.values()),
        waiting=counts.waiting,
        open_calls=counts.open_calls,
        drift=counts.drift,
        dead_letters=counts.dead_letters,
        swept_at=counts.swept_at,
        brakes=brakes,
    )


def meanings(connection: Connection, cluster: str, text: str) -> list[Meaning]:
    """What `text` may mean, the likeliest first; empty where it can't mean anything.

    An address, an id and `namespace/name` are known by their form; a bare name is looked up.
    """
    word = text.strip()
    by_form = _by_form(word)
    if by_form is not None:
        return [by_form]
    name = word.lower()
    if not _NAME.fullmatch(name):
        return []
    bound = {"cluster": cluster, "name": name, "limit": _FOUND_MAX}
    pods = connection.exec_driver_sql(_PODS_NAMED, bound).scalars()
    found = [Meaning("pod", f"{namespace}/{name}") for namespace in pods]
    if connection.exec_driver_sql(_NODES_NAMED, bound).scalar_one():
        found.append(Meaning("node", name))
    return found


def canonical(key: Key, value: str) -> str:
    """`value` as the ledger writes it. Raises ValueError that says what is wrong and what to give."""
    word = value.strip()
    if "\x00" in word or any("\ud800" <= c <= "\udfff" for c in word):
        raise ValueError("the value contains characters that no name has: remove them")
    if key == "ip":
        return str(_address(word))
    if key == "mac":
        plain = re.sub(r"[:-]", "", word.lower())
        if not _MAC.fullmatch(plain):
            raise ValueError(f"{word[:60]!r} is no MAC address: give one like 00:16:3e:01:02:03")
        return ":".join(re.findall("..", plain))
    if key == "pod":
        namespace, _, name = word.partition("/")
        if not (_NAME.fullmatch(namespace) and _NAME.fullmatch(name)):
            raise ValueError(f"{word[:60]!r} is no Pod: give namespace/name, as in shop/web-0")
        return word
    if not word:
        raise ValueError(f"the value is empty: give the {key}'s id or name")
    return word


def _by_form(word: str) -> Meaning | None:
    try:
        return Meaning("ip", str(_address(word)))
    except ValueError:
        pass
    lower = word.lower()
    if _MAC.fullmatch(lower):
        return Meaning("mac", canonical("mac", lower))
    prefixes: Sequence[tuple[str, str]] = (
        ("eni-", "eni"),
        ("vsw-", "vswitch"),
        ("sg-", "security-group"),
    )
    for prefix, key in prefixes:
        if lower.startswith(prefix) and key in KEYS:
            return Meaning(key, lower)
    namespace, slash, name = word.partition("/")
    if slash and _NAME.fullmatch(namespace) and _NAME.fullmatch(name):
        return Meaning("pod", word)
    return None


def _address(word: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    try:
        found = ipaddress.ip_address(word)
    except ValueError as wrong:
        raise ValueError(f"{word[:60]!r} is no IP address: give one like 192.168.0.3") from wrong
    if getattr(found, "scope_id", None):
        raise ValueError(f"{word[:60]!r} has a scope: give the address alone")
    # ::ffff:192.168.0.3 is how sockets of both families, and so many logs, write 192.168.0.3.
    return getattr(found, "ipv4_mapped", None) or found


def readable(connection: Connection) -> None:
    """Raises what PostgreSQL raises where the newest of what this module reads can't be read."""
    connection.exec_driver_sql("SELECT FROM audit.brakes LIMIT 1")
