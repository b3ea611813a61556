"""A simulated API server in memory, on a clock that the test moves."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.local.kubernetes.core import Core, Options
from deploy.local.kubernetes.port_adapter import InProcess
from deploy.local.kubernetes.sources import Sources

CRDS = Path(__file__).parents[3] / "deploy" / "crds"
CRD_PATH = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


class Clock:
    """Time that only moves when told to."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session")
def crds() -> list[dict[str, Any]]:
    """The project's CRDs, parsed once."""
    return [yaml.safe_load(path.read_text()) for path in sorted(CRDS.glob("*.yaml"))]


@pytest.fixture
def core(clock: Clock, crds: list[dict[str, Any]]) -> Core:
    made = Core(Sources.seeded(1, clock), Options(history=500, tokens={"t": "admin"}))
    made.create_default_namespaces()
    for crd in crds:
        InProcess(made).create(CRD_PATH, crd)
    return made


@pytest.fixture
def api(core: Core, clock: Clock) -> InProcess:
    return InProcess(core, wait=clock.advance)
