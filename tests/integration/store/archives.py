"""A ledger to archive: a world that lived, archiving in one transaction, and every answer it gives."""

import contextlib
import random
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from ledger.audit.past import MovedAway, states_at
from ledger.audit.questions import reservations
from ledger.rules.allocation import Allocation
from ledger.store import archiving, outbox
from ledger.store.archiving import Plan
from ledger.store.book import append_remark
from ledger.store.feed import stamp
from ledger.store.seal import seal
from tests.simulation.world import CLUSTER, Crash, SimulatedWorld, elastic, fixed

REBUILT = ("allocation", "tenure", "cloud_call")
CAUSE = {"command": "archive", "by": "ann@host"}
#: What archiving itself tells.
TOLD = ("carried-forward", "archived")


def archive(connection: Connection, before: datetime, at_most: int = 10**6) -> Plan:
    """What `eni-ledger archive` does, in the transaction of `connection`."""
    plan = archiving.plan(connection, before, at_most)
    for ids in archiving.batches(plan.to_carry):
        archiving.carry(connection, ids, CAUSE)
    for range_ in plan.ranges:
        archiving.move(connection, CLUSTER, range_, "ann@host")
    return plan


def stamp_and_seal(connection: Connection, per_seal: int = 2000) -> None:
    while stamp(connection):
        pass
    while seal(connection, per_seal):
        pass


def rows(connection: Connection, query: str, **bound: Any) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in connection.exec_driver_sql(query, bound or None)]


def held(connection: Connection) -> dict[str, list[tuple[Any, ...]]]:
    """Every row that rebuild writes, as PostgreSQL prints it."""
    return {t: sorted(rows(connection, f"SELECT t::text FROM ledger.{t} t")) for t in REBUILT}


def answers(connection: Connection, moments: Sequence[datetime]) -> dict[str, Any]:
    """What the public schema and the questions say, now and at each moment.

    Not an allocation's version and the time of its newest entry: carrying it forward is an entry.
    """
    ips = [
        ip for (ip,) in rows(connection, "SELECT DISTINCT host(ipv4) FROM ledger.tenure ORDER BY 1")
    ]
    told: dict[str, Any] = {
        "tenures": rows(connection, "SELECT * FROM audit.tenures ORDER BY opened_by_entry"),
        "calls": rows(connection, "SELECT * FROM audit.calls ORDER BY intent"),
        "reservations": rows(connection, "SELECT * FROM audit.reservations ORDER BY allocation_id"),
        "story": rows(
            connection, "SELECT * FROM audit.story WHERE NOT kind = ANY(%(told)s) ORDER BY entry",
            told=list(TOLD),
        ),
        "allocations": [
            {k: v for k, v in row._mapping.items() if k not in ("version", "changed_at")}
            for row in connection.exec_driver_sql("SELECT * FROM audit.allocations ORDER BY allocation_id")
        ],
    }  # fmt: skip
    for ip in ips:
        told[f"timeline {ip}"] = rows(
            connection, "SELECT * FROM audit.timeline(%(ip)s, %(cluster)s)", ip=ip, cluster=CLUSTER
        )
        for at in moments:
            told[f"owner {ip} {at}"] = rows(
                connection, "SELECT * FROM audit.ip_owner_at(%(ip)s, %(at)s, %(cluster)s)",
                ip=ip, at=at, cluster=CLUSTER,
            )  # fmt: skip
    for at in moments:
        told[f"states {at}"] = states(connection, at)
        told[f"reservations {at}"] = kept(connection, at)
    return told


def states(connection: Connection, at: datetime) -> list[Allocation] | MovedAway:
    ids = rows(
        connection, "SELECT allocation_id FROM audit.allocations WHERE created_at <= %(at)s", at=at
    )
    try:
        return states_at(connection, CLUSTER, [id_ for (id_,) in ids], at)
    except MovedAway as missing:
        return missing


def kept(connection: Connection, at: datetime) -> Any:
    try:
        return reservations(connection, CLUSTER, at)
    except MovedAway as missing:
        return missing


def published(connection: Connection, upto: int) -> list[outbox.Unpublished]:
    """What a reader gets who begins with the first entry, up to a position."""
    found: list[outbox.Unpublished] = []
    while len(found) < upto:
        found += outbox.read_unpublished(connection, len(found), min(97, upto - len(found)))
    return found


def live(world: SimulatedWorld, dice: random.Random, acts: int = 14) -> None:
    """Pods of every kind come, go and come back; a command, a remark, a crash amid a cloud call."""
    there: list[str] = []
    networks = {
        "ttl": [fixed("10m")], "never": [fixed(strategy="Never")], "elastic": [elastic()],
    }  # fmt: skip
    for act in range(acts):
        if len(there) > 2 and dice.random() < 0.5:
            world.delete_pod(there.pop(dice.randrange(len(there))))
        else:
            kind = dice.choice(sorted(networks))
            name = f"{kind}-{dice.randrange(3)}"
            if name not in there:
                world.create_pod(name, networks=networks[kind], node=f"node-h{dice.choice((1, 2))}")
                there.append(name)
        world.settle(dice.randint(1, 6))
        world.advance(timedelta(minutes=dice.choice((0, 0, 3, 12))))
        if act in (3, 9):
            with world.database.transaction() as connection:
                _remark(connection, act, world)
    with world.killed_at("after CreateNetworkInterface"), contextlib.suppress(Crash):
        world.create_pod("crashed", networks=[elastic()])
        world.settle(5)


def _remark(connection: Connection, act: int, world: SimulatedWorld) -> None:
    told = {"namespace": "example", "pod": "missed", "uid": f"uid-{act}"}
    append_remark(connection, CLUSTER, "missed-by-admission", told, {"by": "test"}, world.now())
