"""The simulated world as a fixture."""

from collections.abc import Iterator

import pytest

from tests.simulation.world import SimulatedWorld


@pytest.fixture
def world(database: str) -> Iterator[SimulatedWorld]:
    simulated = SimulatedWorld(database)
    yield simulated
    simulated.close()
