"""The servers of the local stack: they start, refuse strangers, and never outlive their parent."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from deploy.local.parts.child import PartError
from deploy.local.parts.kafka_probe import answers_metadata
from deploy.local.parts.postgres import PostgresServer, database_dsn, start_postgres
from deploy.local.parts.tansu import start_tansu
from tests.integration.local.processes import runs, wait_until

START_BOTH_THEN_DIE = """
import os, signal, sys
from pathlib import Path
from deploy.local.parts.postgres import start_postgres
from deploy.local.parts.tansu import start_tansu
place = Path(sys.argv[1])
server = start_postgres(place / "postgres", log=place / "postgres.log", throwaway=True)
broker = start_tansu(log=place / "broker.log")
print(server.child.pid, broker.child.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_postgres_answers_only_to_its_password(postgres_server: PostgresServer) -> None:
    with psycopg.connect(postgres_server.dsn()) as connection:
        row = connection.execute("SHOW listen_addresses").fetchone()
    assert row == ("127.0.0.1",)
    wrong = postgres_server.dsn().replace(postgres_server.password, "wrong")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(wrong)


def test_each_database_is_its_own(empty_database: str, postgres_server: PostgresServer) -> None:
    with psycopg.connect(empty_database) as connection:
        row = connection.execute("SELECT current_database()").fetchone()
    assert row is not None
    assert database_dsn(postgres_server.dsn(), row[0]) == empty_database


def test_broker_answers_metadata(broker: str) -> None:
    assert answers_metadata(broker)


def test_a_taken_port_is_explained(broker: str, tmp_path: Path) -> None:
    port = int(broker.rpartition(":")[2])
    with pytest.raises(PartError, match=rf"port {port} is in use by tansu.*--kafka-port"):
        start_tansu(log=tmp_path / "broker.log", port=port)


def test_a_postgres_that_cannot_start_says_why(stack_directory: Path) -> None:
    log = stack_directory / "refused.log"
    with pytest.raises(PartError, match=r"(?s)PostgreSQL ended with code 1.*no_such_setting.*log"):
        start_postgres(stack_directory / "refused", log=log, settings={"no_such_setting": "1"})


def test_servers_end_when_their_parent_is_killed(stack_directory: Path) -> None:
    place = stack_directory / "orphans"
    place.mkdir()
    died = subprocess.run(
        [sys.executable, "-c", START_BOTH_THEN_DIE, str(place)],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert died.returncode == -signal.SIGKILL
    pids = [int(word) for word in died.stdout.split()]
    assert len(pids) == 2
    wait_until(lambda: not any(runs(pid) for pid in pids), "both servers ended")
