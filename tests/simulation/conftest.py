"""The simulated world as a fixture, on one database for the whole session."""

from collections.abc import Iterator

import pytest

from deploy.local.parts.postgres import PostgresServer, create_database, drop_database
from tests.simulation.ground import Ground
from tests.simulation.world import SimulatedWorld


@pytest.fixture(scope="session")
def ground(postgres_server: PostgresServer, migrated_template: str) -> Iterator[Ground]:
    dsn = create_database(postgres_server.dsn(), "simulated", template=migrated_template)
    ground = Ground(dsn)
    yield ground
    ground.close()
    drop_database(postgres_server.dsn(), "simulated")


@pytest.fixture
def world(ground: Ground) -> SimulatedWorld:
    ground.clear()
    return SimulatedWorld(ground)
