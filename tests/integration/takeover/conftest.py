"""A terway cluster on a database of its own, emptied between tests."""

from collections.abc import Iterator

import pytest

from deploy.local.parts.postgres import PostgresServer, create_database, drop_database
from tests.integration.takeover.terway import TerwayCluster
from tests.simulation.ground import Ground


@pytest.fixture(scope="session")
def takeover_ground(postgres_server: PostgresServer, migrated_template: str) -> Iterator[Ground]:
    dsn = create_database(postgres_server.dsn(), "takeover", template=migrated_template)
    ground = Ground(dsn)
    yield ground
    ground.close()
    drop_database(postgres_server.dsn(), "takeover")


@pytest.fixture
def cluster(takeover_ground: Ground) -> TerwayCluster:
    takeover_ground.clear()
    return TerwayCluster(takeover_ground)
