"""Fixtures that start the parts of the local stack for tests: PostgreSQL, a broker, simulators.

Load it with `pytest_plugins = ["deploy.local.pytest_plugin"]`. Servers live for the session and
end with it, also when pytest is killed; databases and topic prefixes are fresh for each test.
"""

import itertools
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local.parts.postgres import (
    PostgresServer,
    create_database,
    drop_database,
    start_postgres,
)
from deploy.local.parts.tansu import start_tansu

TEMPLATE_DATABASE = "migrated"

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def stack_directory() -> Iterator[Path]:
    """A directory for the session's servers that unprivileged accounts can enter."""
    directory = Path(tempfile.mkdtemp(prefix="eni-ledger-test-"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture(scope="session")
def postgres_server(stack_directory: Path) -> Iterator[PostgresServer]:
    """A PostgreSQL server with fsync off: `postgres_server.dsn("postgres")`.

    Not for figures about durability or speed: those start their own.
    """
    server = start_postgres(
        stack_directory / "postgres", log=stack_directory / "postgres.log", throwaway=True
    )
    yield server
    server.stop()


@pytest.fixture
def empty_database(postgres_server: PostgresServer) -> Iterator[str]:
    """The DSN of a database that holds nothing, for tests of the migrations themselves."""
    name = f"empty_{next(_numbers)}"
    yield create_database(postgres_server.dsn(), name)
    drop_database(postgres_server.dsn(), name)


@pytest.fixture(scope="session")
def migrated_template(postgres_server: PostgresServer) -> str:
    """The name of a database migrated to head, which each test's database is copied from."""
    from ledger.store import migrate

    migrate.upgrade(create_database(postgres_server.dsn(), TEMPLATE_DATABASE))
    return TEMPLATE_DATABASE


@pytest.fixture
def database(postgres_server: PostgresServer, migrated_template: str) -> Iterator[str]:
    """The DSN (superuser, a libpq URL) of a fresh database migrated to head."""
    name = f"test_{next(_numbers)}"
    yield create_database(postgres_server.dsn(), name, template=migrated_template)
    drop_database(postgres_server.dsn(), name)


@pytest.fixture(scope="session")
def broker(stack_directory: Path) -> Iterator[str]:
    """host:port of an in-memory broker (Tansu: evidence of nothing about Kafka itself)."""
    running = start_tansu(log=stack_directory / "broker.log")
    yield running.bootstrap
    running.stop()


@pytest.fixture
def topic_prefix() -> str:
    """A prefix of topic names that no other test of this session uses."""
    return f"test-{next(_numbers)}"
