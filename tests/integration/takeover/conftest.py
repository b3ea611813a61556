"""A terway cluster on a database of its own, emptied between tests."""

from collections.abc import Iterator

import pytest

from deploy.local.parts.postgres import PostgresServer
from tests.integration.takeover.terway import TerwayCluster
from tests.simulation.ground import Ground, ground_of_its_own


@pytest.fixture(scope="session")
def takeover_ground(postgres_server: PostgresServer, migrated_template: str) -> Iterator[Ground]:
    with ground_of_its_own(postgres_server, "takeover", migrated_template) as ground:
        yield ground


@pytest.fixture
def cluster(takeover_ground: Ground) -> TerwayCluster:
    takeover_ground.clear()
    return TerwayCluster(takeover_ground)
