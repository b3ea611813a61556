"""Audit questions on a large ledger, and on one of a tenth; `make bench PART=audit`.

The targets: who held an address at a moment p99 <= 5 ms, the timeline of an address p99 <= 20 ms, and
at most 1.5 times what the ledger of a tenth takes. Times are a client's on loopback, so an upper
bound of what the database takes. The two ledgers are asked in turn, so that whatever else the
machine does hits both. AUDIT_BENCH_TENURES=100000 makes it quick; the default needs about 10 GB.
"""

import os
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from deploy.local.parts.postgres import PostgresServer, create_database, start_postgres
from ledger.store import migrate
from tests.bench.generated_ledger import (
    CLUSTER,
    DAYS_EACH,
    ENTRIES_PER_ADDRESS,
    NODES,
    START,
    TENURES_PER_ADDRESS,
    VSWITCHES,
    generate,
)

TENURES = int(os.environ.get("AUDIT_BENCH_TENURES", "1020000"))
ADDRESSES = TENURES // TENURES_PER_ADDRESS
SIZES = (ADDRESSES // 10, ADDRESSES)
QUESTIONS, WARM_UP = 3000, 300

Connection = psycopg.Connection[Any]
Ask = Callable[[Connection, int, random.Random], Sequence[Any]]


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """Of its own: the session's is shared. Nothing is written while it is measured."""
    directory = Path(tempfile.mkdtemp(prefix="eni-ledger-bench-"))
    directory.chmod(0o755)
    settings = {"shared_buffers": "512MB", "max_wal_size": "4GB", "jit": "off"}
    log = directory / "postgres.log"
    running = start_postgres(directory / "postgres", log=log, throwaway=True, settings=settings)
    yield running
    running.stop()
    shutil.rmtree(directory)


@pytest.fixture(scope="module")
def ledgers(server: PostgresServer) -> Iterator[list[tuple[int, Connection]]]:
    """(addresses, connection), the smaller one first."""
    made: list[tuple[int, Connection]] = []
    for addresses in SIZES:
        began = time.perf_counter()
        dsn = create_database(server.dsn(), f"ledger_{addresses}")
        migrate.upgrade(dsn)
        generate(dsn, addresses)
        connection = psycopg.connect(dsn, autocommit=True)
        [size] = connection.execute("SELECT pg_database_size(current_database())").fetchone() or (
            0,
        )
        sys.__stdout__.write(  # type: ignore[union-attr]
            f"\n{addresses * TENURES_PER_ADDRESS:,} tenures, {addresses * ENTRIES_PER_ADDRESS:,} "
            f"entries: {size / 1e9:.1f} GB, generated in {time.perf_counter() - began:.0f} s\n"
        )
        made.append((addresses, connection))
    yield made
    for _, connection in made:
        connection.close()


def some_ip(addresses: int, dice: random.Random) -> str:
    number = dice.randint(1, addresses)
    return f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"


def some_time(dice: random.Random) -> datetime:
    return START + timedelta(days=dice.uniform(0, 4 * DAYS_EACH))


def owner(connection: Connection, addresses: int, dice: random.Random) -> Sequence[Any]:
    return connection.execute(
        "SELECT * FROM audit.ip_owner_at(%s::text::inet, %s)",
        [some_ip(addresses, dice), some_time(dice)],
    ).fetchall()


def timeline(connection: Connection, addresses: int, dice: random.Random) -> Sequence[Any]:
    return connection.execute(
        "SELECT * FROM audit.timeline(%s::text::inet)", [some_ip(addresses, dice)]
    ).fetchall()


def percentile(times: list[float], of_hundred: int) -> float:
    return statistics.quantiles(times, n=100, method="inclusive")[of_hundred - 1]


@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("what", "ask", "target"),
    [("owner at a moment", owner, 5), ("timeline of an IP", timeline, 20)],
)
def test_hot_questions(
    ledgers: list[tuple[int, Connection]],
    capsys: pytest.CaptureFixture[str],
    what: str,
    ask: Ask,
    target: float,
) -> None:
    dice = random.Random(7)
    times: list[list[float]] = [[] for _ in ledgers]
    empty: list[float] = []
    rows = 0
    for number in range(WARM_UP + QUESTIONS):
        for taken, (addresses, connection) in zip(times, ledgers, strict=True):
            began = time.perf_counter()
            answer = ask(connection, addresses, dice)
            if number >= WARM_UP:
                taken.append((time.perf_counter() - began) * 1000)
                rows += len(answer)
        began = time.perf_counter()
        connection.execute("SELECT")
        empty.append((time.perf_counter() - began) * 1000)
    assert rows > QUESTIONS / 4, "the questions are about addresses that were held"
    with capsys.disabled():
        sys.stdout.write(
            f"\n{what}, {QUESTIONS} each, {rows / len(ledgers) / QUESTIONS:.1f} rows\n"
        )
        for of_hundred in (50, 99):
            small, large = (percentile(taken, of_hundred) for taken in times)
            sys.stdout.write(
                f"  p{of_hundred}: a tenth {small:.2f} ms, whole {large:.2f} ms (target {target}), "
                f"ratio {large / small:.2f} (target 1.5); "
                f"an empty query {percentile(empty, of_hundred):.2f} ms\n"
            )


@pytest.mark.timeout(3600)
def test_other_questions(
    ledgers: list[tuple[int, Connection]], capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a target: what an operator waits for."""
    addresses, connection = ledgers[-1]
    dice = random.Random(11)
    at = "since <= %(at)s AND (until IS NULL OR until > %(at)s)"
    asked: dict[str, str] = {
        "a Pod": "SELECT * FROM audit.tenures WHERE cluster = %(cluster)s AND namespace = %(ns)s "
        "AND pod = %(pod)s ORDER BY since",
        "a node at a moment": "SELECT * FROM audit.tenures WHERE cluster = %(cluster)s "
        f"AND node = %(node)s AND {at}",
        "a vSwitch at a moment": "SELECT * FROM audit.tenures WHERE cluster = %(cluster)s "
        f"AND vswitch = %(vswitch)s AND {at}",
        "a security group at a moment": "SELECT * FROM audit.tenures WHERE cluster = %(cluster)s "
        f"AND 'sg-1' = ANY(security_groups) AND {at}",
        "capacity of every vSwitch": "SELECT * FROM audit.vswitch_capacity",
        "a week of a vSwitch": "SELECT * FROM audit.vswitch_history(%(vswitch)s, %(at)s)",
    }
    with capsys.disabled():
        sys.stdout.write("\nother questions on the large ledger\n")
        for what, query in asked.items():
            times = []
            rows = 0
            for _ in range(5):
                number = dice.randint(1, addresses)
                given = {
                    "cluster": CLUSTER, "at": some_time(dice), "ns": f"shop-{number % 20}",
                    "pod": f"web-{number}-0", "node": f"node-{dice.randrange(NODES)}",
                    "vswitch": f"vsw-{dice.randrange(VSWITCHES)}",
                }  # fmt: skip
                began = time.perf_counter()
                rows += len(connection.execute(query, given).fetchall())
                times.append((time.perf_counter() - began) * 1000)
            sys.stdout.write(
                f"  {what}: median {statistics.median(times):.1f} ms, slowest {max(times):.1f} ms, "
                f"{rows / 5:.0f} rows\n"
            )
