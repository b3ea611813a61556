"""What befalls a database while intake and reconciler work: killed in the middle of commits, cut off,
full, and followed by its standby. Both stop, say so, and go on by themselves; nothing is lost or doubled.

On PostgreSQL 15, the oldest that we support, with an owner that is no superuser and a login for each
process that has its group role and no more. Counted at the end of each: events against entries, Pods
against ENIs in the cloud.
"""

import asyncio
import os
import secrets
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest

from consumers.contract.encode import encode_observed
from consumers.runtime.settings import KafkaSettings, PostgresSettings, Settings
from deploy.local.parts.ports import LOOPBACK, free_port
from ledger.store import migrate
from ledger.store.database import Database
from ledger.store.rebuild import check
from tests.integration.intake import ground
from tests.integration.replicas.fleet import CLUSTER, Fleet, running_fleet, wait_for
from tests.integration.servers import Restartable, SmallDisk, Standby, binaries_of_15

pytestmark = [pytest.mark.genuine("postgres15"), pytest.mark.timeout(300)]

CREATE = "CreateNetworkInterface"
ELASTIC = {
    "interface": "eth0",
    "vSwitchOptions": ["vsw-bpxxxx"],
    "securityGroupIDs": ["sg-bpxxxx"],
    "allocationType": {"type": "Elastic"},
}
SETTINGS = {
    "CLOUD__CONNECT_TIMEOUT_S": "1",
    "CLOUD__READ_TIMEOUT_S": "2",
    "RECONCILER__CLAIM_S": "2",
    "POSTGRES__SYNCHRONOUS_STANDBY": "true",
}
#: Little that is written ahead, so that a small disk is full soon.
SMALL = {"max_wal_size": "48MB", "min_wal_size": "32MB", "wal_keep_size": "0"}
DISK_MB = 220

OURS = "application_name LIKE 'eni-ledger-%'"
OWNER, INTAKE, RECONCILER = "ledger_owner", "ledger_intake", "ledger_reconciler"


@dataclass
class Scene:
    """The database, an intake and a reconciler on it, and what has happened so far."""

    primary: Restartable
    standby_port: int
    password: str
    fleet: Fleet
    configured: Settings
    intake: ground.Process
    disk: SmallDisk | None
    pods: list[str] = field(default_factory=list)

    def come(self, prefix: str, count: int, ballast: int = 0) -> None:
        """So many Pods come, and are told about; `ballast` bytes of each can't be compressed."""
        made = []
        for number in range(count):
            name = f"{prefix}-{number}"
            told = self.fleet.make(name, f"node-{number % 4}", ELASTIC)
            if ballast:
                told["metadata"]["annotations"]["example.com/ballast"] = secrets.token_hex(ballast)
            made.append(encode_observed(CLUSTER, "pod", told, epoch=0))
            self.pods.append(name)

        async def tell() -> None:
            async with ground.producing(self.configured) as producer:
                await ground.send(producer, self.configured, made)

        asyncio.run(tell())

    def begun(self, prefix: str) -> None:
        """Wait until the ledger has heard of some of these Pods."""
        query = "SELECT FROM ledger.allocation WHERE pod LIKE %s"
        wait_for(lambda: self.fleet.rows(query, f"{prefix}-%"), f"some of {prefix} are taken in")

    def reconciler_says(self) -> dict[str, Any]:
        return ground.get_json(f"http://{LOOPBACK}:{self.fleet.ports[0]}/readyz")[1]

    def wait_not_ready(self) -> None:
        for name, says in (
            ("intake", lambda: self.intake.readyz()[1]),
            ("reconciler", self.reconciler_says),
        ):
            wait_for(
                lambda says=says: not says()["parts"]["postgres"]["ready"],  # type: ignore[misc]
                f"the {name} says that its database is away",
            )

    def check_settled(self) -> None:
        """Each Pod was requested once and has its ENI; there is no other; both processes are ready."""
        wait_for(lambda: self.intake.readyz()[0] == 200, "the intake is ready again")
        wait_for(lambda: self.reconciler_says()["ready"], "the reconciler is ready again")
        wait_for(
            lambda: self.fleet.phases() == dict.fromkeys(self.pods, "bound"),
            "every Pod has its ENI",
        )
        told = self.fleet.rows(
            "SELECT a.pod, count(*) FROM ledger.entry e JOIN ledger.allocation a "
            "ON a.id = e.allocation_id WHERE e.kind = 'requested' GROUP BY 1"
        )
        assert dict(told) == dict.fromkeys(self.pods, 1)
        assert len(self.fleet.effects(CREATE)) == len(self.fleet.member_enis()) == len(self.pods)
        assert self.fleet.rows("SELECT api FROM ledger.cloud_call WHERE settled_at IS NULL") == []
        assert self.fleet.rows("SELECT FROM ledger.dead_letter") == []
        assert self.fleet.rows("SELECT FROM ledger.brake") == []
        database = Database(self.fleet.dsn, pool_size=1)
        with database.transaction() as connection:
            assert check(connection) == []
        database.close()
        for child in (self.intake.child, self.fleet.replicas[0]):
            assert child.exit_code is None, "it went on by itself; nobody started it again"


def lists_both(user: str, password: str, ports: Sequence[int]) -> str:
    """A DSN for whichever of the servers takes writes."""
    hosts = ",".join(f"{LOOPBACK}:{port}" for port in ports)
    return f"postgresql://{user}:{password}@{hosts}/ledger?target_session_attrs=read-write"


def prepare(primary: Restartable, password: str, owner_dsn: str) -> None:
    """An owner that may make roles and is no superuser; logins with one group role each."""
    with psycopg.connect(primary.server.dsn(), autocommit=True) as admin:
        admin.execute(f"CREATE ROLE {OWNER} LOGIN CREATEROLE PASSWORD '{password}'")
        admin.execute(f"CREATE DATABASE ledger OWNER {OWNER}")
    migrate.upgrade(owner_dsn)
    with psycopg.connect(owner_dsn, autocommit=True) as owner:
        for login, role in ((INTAKE, "writer"), (RECONCILER, "reconciler")):
            owner.execute(f"CREATE ROLE {login} LOGIN PASSWORD '{password}'")
            owner.execute(f"GRANT eni_ledger_{role} TO {login}")


@pytest.fixture(scope="module")
def disk() -> Iterator[SmallDisk | None]:
    """The database's disk: a small one where it can be had, which only one of the tests needs."""
    if os.geteuid() != 0:
        yield None
        return
    made = SmallDisk(Path(tempfile.mkdtemp(prefix="eni-ledger-disk-")) / "disk", DISK_MB)
    made.place.parent.chmod(0o755)
    yield made
    made.unmount()
    made.place.parent.rmdir()


@pytest.fixture(scope="module")
def scene(
    disk: SmallDisk | None,
    stack_directory: Path,
    broker: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Scene]:
    directory = disk.place if disk is not None else stack_directory / "postgres15"
    primary = Restartable(
        directory / "primary",
        stack_directory / "postgres15.log",
        binaries=binaries_of_15(),
        settings=SMALL,
    )
    ports = [primary.server.port, free_port()]
    password = secrets.token_hex(12)
    owner_dsn = lists_both(OWNER, password, ports)
    prepare(primary, password, owner_dsn)
    configured = Settings(
        cluster_id=CLUSTER,
        kafka=KafkaSettings(
            bootstrap_servers=broker, topic_prefix="database-failures", group_id="database-failures"
        ),
        postgres=PostgresSettings(dsn=lists_both(INTAKE, password, ports)),
    )
    logs = tmp_path_factory.mktemp("database-failures")
    try:
        with (
            running_fleet(logs / "fleet", owner_dsn, SETTINGS) as fleet,
            ground.process(configured, logs / "intake.log") as intake,
        ):
            fleet.start(ENI_LEDGER_POSTGRES__DSN=lists_both(RECONCILER, password, ports))
            intake.wait_ready()
            yield Scene(primary, ports[1], password, fleet, configured, intake, disk)
    finally:
        primary.kill()


def test_p4_p5_the_postmaster_killed_in_the_middle_of_commits(scene: Scene) -> None:
    for turn in range(3):
        scene.come(f"killed-{turn}", 6)
        scene.begun(f"killed-{turn}")
        scene.primary.kill()
        scene.wait_not_ready()
        scene.primary.start_after_a_crash()
    scene.check_settled()


def test_p4_p5_connections_cut_all_the_time(scene: Scene) -> None:
    scene.come("cut", 10)
    cut = 0
    with psycopg.connect(scene.primary.server.dsn("ledger"), autocommit=True) as admin:
        while cut < 60:
            cut += admin.execute(
                f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {OURS}"
            ).rowcount
    scene.check_settled()


@pytest.mark.genuine("small-disk")
def test_a_full_disk(scene: Scene) -> None:
    """What no longer fits is not taken in, and no message is blamed for it."""
    assert scene.disk is not None, ".ci/parts/small-disk has made sure of it"
    scene.disk.fill()
    scene.come("full", 8, ballast=60_000)
    wait_for(
        lambda: not scene.intake.readyz()[1]["parts"]["postgres"]["ready"],
        "the intake says what it waits for",
    )
    scene.disk.clear()
    if scene.primary.child.exit_code is not None:  # it ends where it can't write ahead
        scene.primary.start_after_a_crash()
    scene.check_settled()


def test_p4_p5_failover_to_a_standby_promoted_by_hand(scene: Scene, stack_directory: Path) -> None:
    """Its commits were synchronous, so nothing is missing, and nobody has to accept anything."""
    standby = Standby(
        scene.primary,
        stack_directory / "standby",
        stack_directory / "standby.log",
        binaries=binaries_of_15(),
        port=scene.standby_port,
    )
    try:
        with psycopg.connect(scene.primary.server.dsn(), autocommit=True) as admin:
            admin.execute("ALTER SYSTEM SET synchronous_standby_names = 'standby'")
            admin.execute("SELECT pg_reload_conf()")
        scene.come("failed-over", 8)
        scene.begun("failed-over")
        scene.primary.kill()
        scene.wait_not_ready()
        standby.promote()
        scene.check_settled()
        numbers = scene.fleet.rows("SELECT number FROM ledger.incarnation ORDER BY number")
        assert numbers == [(1,), (2,)], "the other timeline was noticed"
    finally:
        standby.child.kill()
