"""A world that lived a little and measured itself; where the genuine promtool is."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from consumers.reconciler.measuring import measure
from consumers.runtime import metrics
from deploy.local.parts.postgres import PostgresServer
from tests.integration.deploy.files import ROOT
from tests.simulation.ground import Ground, ground_of_its_own
from tests.simulation.world import CLUSTER, SimulatedWorld, elastic
from tests.unit.runtime.test_golden_metrics import table


@pytest.fixture(scope="session")
def prometheus_folder() -> Path:
    """The folder of promtool and prometheus, as .ci/parts/promtool built them."""
    script = ROOT / ".ci" / "parts" / "promtool"
    told = subprocess.run([script, "--print"], capture_output=True, text=True, check=True)
    return Path(told.stdout.strip())


@pytest.fixture(scope="session")
def measured_ground(postgres_server: PostgresServer, migrated_template: str) -> Iterator[Ground]:
    with ground_of_its_own(postgres_server, "measured", migrated_template) as ground:
        yield ground


@pytest.fixture
def exposition(measured_ground: Ground) -> Iterator[SimulatedWorld]:
    """Two Pods are bound, one is away and its address reserved; this process's metrics say so."""
    table()  # imports every room, so that each has declared its metrics
    measured_ground.clear()
    world = SimulatedWorld(measured_ground)
    metrics.identify(CLUSTER)
    world.create_pod("web-0")
    world.create_pod("web-1", networks=[elastic()])
    world.create_pod("web-2")
    world.settle(10)
    world.delete_pod("web-2")
    world.settle(10)
    measure(world.tools)
    yield world
    metrics.identify("")
