"""A fleet that lived a while, and the console that is asked about it by a login that may only audit."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import httpx2
import psycopg
import pytest
from fastapi.testclient import TestClient
from psycopg import sql
from pydantic import SecretStr
from starlette.types import ASGIApp

from consumers.console.api import build_console
from consumers.console.authentication import Authenticator, StaticTokens
from consumers.console.desk import Desk
from consumers.runtime.settings import ConsoleSettings, PostgresSettings, Settings
from deploy.local.kubernetes.port_adapter import CoreTransport
from deploy.local.parts.postgres import PostgresServer, create_database, drop_database
from ledger.rules.entries import Address
from ledger.store.database import Database
from ledger.store.inputs import bury
from tests.simulation.ground import Ground
from tests.simulation.world import CLUSTER, SimulatedWorld, elastic
from tests.unit.rules.admission_cases import podnetworking_object

TOKEN = "s3cret-of-ann-0123456789"
OTHER_TOKEN = "s3cret-of-bob-0123456789"
ASKING = {"Authorization": f"Bearer {TOKEN}"}
READER = "console_reader"
READER_PASSWORD = "only-reads"

#: What a browser would run, or a database, or a spreadsheet, if anybody trusted it.
MARKUP = "<img src=x onerror=document.title='owned'>"


@pytest.fixture(scope="package")
def world(postgres_server: PostgresServer, migrated_template: str) -> Iterator[SimulatedWorld]:
    """web-0 (fixed) was bound on node-h1, was kept, and is bound on node-h2; web-1 (fixed) is away and
    kept; web-2 (elastic) is bound; job-0 and job-1 came and went."""
    dsn = create_database(postgres_server.dsn(), "console", template=migrated_template)
    ground = Ground(dsn)
    lived = SimulatedWorld(ground)
    _live(lived)
    _trouble(lived)
    yield lived
    ground.close()
    drop_database(postgres_server.dsn(), "console")


def _live(world: SimulatedWorld) -> None:
    world.kube.create(
        "/apis/network.alibabacloud.com/v1beta1/podnetworkings", podnetworking_object("example")
    )
    world.create_pod("web-0")
    world.create_pod("web-1")
    world.create_pod("job-0", networks=[elastic()])
    world.settle(10)
    world.advance(timedelta(minutes=14))
    world.delete_pod("web-0")
    world.delete_pod("job-0")
    world.settle(10)
    world.create_pod("job-1", networks=[elastic()])
    world.settle(10)
    world.advance(timedelta(minutes=11))
    world.create_pod("web-0", node="node-h2")
    world.create_pod("web-2", networks=[elastic()])
    world.delete_pod("job-1")
    world.settle(10)
    world.advance(timedelta(minutes=17))
    world.delete_pod("web-1")
    world.settle(10)
    world.advance(timedelta(minutes=9))
    world.settle(3)


def _trouble(world: SimulatedWorld) -> None:
    """What the fleet's page warns of, with markup wherever a text may come from outside."""
    with psycopg.connect(world.dsn) as connection:
        connection.execute(
            "INSERT INTO ledger.cluster VALUES (%s, 'uid-1', ledger.now()),"
            " ('c-other', 'uid-2', ledger.now()) ON CONFLICT DO NOTHING",
            [CLUSTER],
        )
        connection.execute(
            "INSERT INTO ledger.quarantine (cluster, eni, kind, detail, first_seen, last_seen) VALUES"
            " (%(c)s, 'eni-stray', 'unknown-intent', %(d)s, ledger.now() - interval '3 min', ledger.now()),"
            " ('c-other', 'eni-theirs', 'leak', 'theirs', ledger.now(), ledger.now())",
            {"c": CLUSTER, "d": f"its intent is in no entry of this ledger {MARKUP}"},
        )
        connection.execute(
            "INSERT INTO ledger.brake VALUES (%s, 'destructive', ledger.now(), 'eni-ledger',"
            " 'an ENI whose intent this ledger never wrote')",
            [CLUSTER],
        )
        connection.execute(
            "INSERT INTO ledger.work (cluster, kind, namespace, name, due_at, attempt, waiting_for)"
            " VALUES (%s, 'pod', 'shop', 'api-7', ledger.now() + interval '20 s', 5,"
            " 'no vSwitch in zone cn-hangzhou-k has an address left')",
            [CLUSTER],
        )
    record = (
        "eni-ledger.pod.v1",
        0,
        41,
        f"{CLUSTER}/shop/bad".encode(),
        b'{"password": "hunter2"}',
    )
    theirs = ("eni-ledger.pod.v1", 0, 42, b"c-other/shop/bad", b"x")
    nobodys = ("eni-ledger.pod.v1", 1, 7, b"\xff\xfe", b"x")
    with world.database.transaction() as connection:
        bury(
            connection,
            (*record, [("ce_secret", b"hunter2")]),
            "not-json",
            f"data: {MARKUP}",
            world.time,
        )
        bury(connection, (*theirs, []), "not-json", "theirs", world.time)
        bury(connection, (*nobodys, []), "envelope", "whose?", world.time)


@pytest.fixture(scope="package")
def reader_dsn(world: SimulatedWorld) -> Iterator[str]:
    """A login with the role eni_ledger_auditor and nothing else: what the README says to grant."""
    with psycopg.connect(world.dsn, autocommit=True) as connection:
        role = sql.Identifier(READER)
        connection.execute(
            sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(role, sql.Literal(READER_PASSWORD))
        )
        connection.execute(sql.SQL("GRANT eni_ledger_auditor TO {}").format(role))
        # The clock of these tests is a table; a real one is a function of PostgreSQL's.
        connection.execute(sql.SQL("GRANT SELECT ON ledger.virtual_clock TO {}").format(role))
    parts = psycopg.conninfo.conninfo_to_dict(world.dsn)
    yield (
        f"postgresql://{READER}:{quote(READER_PASSWORD)}@{parts['host']}:{parts['port']}/{parts['dbname']}"
    )
    with psycopg.connect(world.dsn, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(READER)))
        connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(READER)))


@contextmanager
def console_app(
    dsn: str,
    *,
    cluster: str = CLUSTER,
    kube: httpx2.Client | None = None,
    authenticator: Authenticator | None = None,
    pool_size: int = 4,
) -> Iterator[ASGIApp]:
    """The console as its process builds it."""
    settings = Settings(
        cluster_id=cluster,
        postgres=PostgresSettings(dsn=SecretStr(dsn), pool_size=pool_size),
        console=ConsoleSettings(tokens={"ann": SecretStr(TOKEN), "bob": SecretStr(OTHER_TOKEN)}),
    )
    database = Database(dsn, pool_size=pool_size, statement_timeout_s=30)
    known = StaticTokens({n: t.get_secret_value() for n, t in settings.console.tokens.items()})
    desk = Desk(settings, database, kube, "" if kube else "no cluster in this test")
    try:
        yield build_console(desk, authenticator or known)
    finally:
        database.close()


@pytest.fixture(scope="package")
def app(world: SimulatedWorld, reader_dsn: str) -> Iterator[ASGIApp]:
    with (
        httpx2.Client(transport=CoreTransport(world.kube), base_url="http://kube") as kube,
        console_app(reader_dsn, kube=kube) as built,
    ):
        yield built


@pytest.fixture
def api(app: ASGIApp) -> Iterator[TestClient]:
    with TestClient(app, headers=ASKING) as opened:
        yield opened


@pytest.fixture
def anybody(app: ASGIApp) -> Iterator[TestClient]:
    """Without a token."""
    with TestClient(app) as opened:
        yield opened


@pytest.fixture
def elsewhere(reader_dsn: str) -> Iterator[TestClient]:
    """The console of another cluster on the same ledger."""
    with (
        console_app(reader_dsn, cluster="c-other") as built,
        TestClient(built, headers=ASKING) as opened,
    ):
        yield opened


@pytest.fixture(scope="package")
def address(world: SimulatedWorld) -> Callable[[str], Address]:
    """The newest address of a Pod."""

    def found(pod: str) -> Address:
        addresses = [a.address for a in world.allocations() if a.pod == pod and a.address]
        return addresses[-1]

    return found


Json = dict[str, Any]
