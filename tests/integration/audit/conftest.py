"""A world that lived a little, for the command line to be asked about."""

import os
from collections.abc import Iterator
from datetime import timedelta

import pytest

from deploy.local.parts.postgres import PostgresServer
from tests.simulation.ground import Ground, ground_of_its_own
from tests.simulation.world import CLUSTER, SimulatedWorld, elastic


@pytest.fixture(scope="session")
def audited_ground(postgres_server: PostgresServer, migrated_template: str) -> Iterator[Ground]:
    with ground_of_its_own(postgres_server, "audited", migrated_template) as ground:
        yield ground


@pytest.fixture
def world(audited_ground: Ground, monkeypatch: pytest.MonkeyPatch) -> SimulatedWorld:
    """web-0 (fixed, TTL 1h) was bound on node-h1, went, and is bound on node-h2 again; web-1
    (elastic) is bound; web-2 (fixed) is away and reserved."""
    audited_ground.clear()
    world = SimulatedWorld(audited_ground)
    for variable in [name for name in os.environ if name.startswith("ENI_LEDGER_")]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("ENI_LEDGER_POSTGRES__DSN", world.dsn)
    monkeypatch.setenv("ENI_LEDGER_CLUSTER_ID", CLUSTER)
    monkeypatch.setenv("COLUMNS", "200")
    world.create_pod("web-0")
    world.create_pod("web-1", networks=[elastic()])
    world.create_pod("web-2")
    world.settle(10)
    world.delete_pod("web-0")
    world.delete_pod("web-2")
    world.settle(10)
    world.advance(timedelta(minutes=10))
    world.create_pod("web-0", node="node-h2")
    world.settle(10)
    return world
