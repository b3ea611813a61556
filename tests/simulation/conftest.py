"""The simulated world as a fixture, on one database for the whole session."""

from collections.abc import Iterator

import pytest

from deploy.local.parts.postgres import PostgresServer
from tests.simulation.ground import Ground, ground_of_its_own
from tests.simulation.world import SimulatedWorld


@pytest.fixture(scope="session")
def ground(postgres_server: PostgresServer, migrated_template: str) -> Iterator[Ground]:
    with ground_of_its_own(postgres_server, "simulated", migrated_template) as ground:
        yield ground


@pytest.fixture
def world(ground: Ground) -> SimulatedWorld:
    ground.clear()
    return SimulatedWorld(ground)
