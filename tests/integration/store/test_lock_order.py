"""Two transactions that want the same rows take them in the same order: one waits, none is a victim.

A third connection holds a row, so that both are where they would collide when it lets go.
"""

import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import psycopg

from consumers.contract.encode import encode_listed, encode_observed
from consumers.contract.events import Encoded, ListedItem, ListedPage, Record
from consumers.contract.topics import entity_topic
from consumers.intake.taking_in import Taken, take_in
from ledger.store.database import Database
from ledger.store.inputs import begin_offset

CLUSTER, TOPIC = "c1", entity_topic("pod")


def observed(name: str, version: int) -> Encoded:
    pod = {
        "metadata": {
            "name": name,
            "namespace": "shop",
            "uid": f"uid-{name}",
            "resourceVersion": str(version),
        },
        "spec": {"nodeName": "node-h1", "containers": [{"name": "c", "image": "i"}]},
    }
    return encode_observed(CLUSTER, "pod", pod, epoch=0)


def take(dsn: str, partition: int, messages: list[Encoded]) -> Taken:
    database = Database(dsn, pool_size=1, application_name=f"intake-{partition}")
    try:
        with database.transaction() as connection:
            first, _ = begin_offset(connection, TOPIC, partition, 0)
        records = [
            Record(TOPIC, partition, first + number, *message)
            for number, message in enumerate(messages)
        ]
        return take_in(database, records, {(TOPIC, partition): first}, 1 << 20, uuid.uuid4)
    finally:
        database.close()


def wait_for_lock(dsn: str, name: str) -> None:
    query = (
        "SELECT 1 FROM pg_stat_activity WHERE application_name = %s AND wait_event_type = 'Lock' "
        "AND datname = current_database()"
    )
    until = time.monotonic() + 20
    with psycopg.connect(dsn, autocommit=True) as looking:
        while looking.execute(query, [name]).fetchone() is None:
            assert time.monotonic() < until, f"{name} never waited"
            time.sleep(0.02)


def test_a_listing_beside_events_of_what_it_misses(database: str) -> None:
    """One batch holds z and marks a as gone; the other has news of a, and then of z."""
    take(database, 0, [observed("a", 1), observed("z", 2)])
    page = ListedPage("", None, (ListedItem("shop/z", "uid-z", 2),))
    listed = encode_listed(CLUSTER, "pod", page, epoch=0, resource_version=10)
    with ThreadPoolExecutor(2) as pool, psycopg.connect(database) as holding:
        holding.execute("SELECT 1 FROM ledger.observation WHERE name = 'z' FOR UPDATE")
        one = pool.submit(take, database, 1, [observed("z", 5), listed])
        wait_for_lock(database, "intake-1")
        two = pool.submit(take, database, 2, [observed("a", 12), observed("z", 13)])
        wait_for_lock(database, "intake-2")
        holding.rollback()
        assert one.result(20).records == 2
        assert two.result(20).news == 2
    with psycopg.connect(database) as looking:
        seen = looking.execute(
            "SELECT name, resource_version, alive FROM ledger.observation ORDER BY name"
        ).fetchall()
    assert seen == [("a", 12, True), ("z", 13, True)]
