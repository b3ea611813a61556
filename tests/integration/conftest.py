"""What every integration test has: the command line, and a look at what it left open."""

import gc
from collections.abc import Iterator
from typing import Literal

import pytest

from tests.integration.commands import Say, saying

KubePart = Literal["simulated", "genuine"]


@pytest.fixture(autouse=True)
def nothing_left_open() -> Iterator[None]:
    """An unclosed connection or file warns when it is collected, and warnings are errors: without
    this they would fail some later test, and only at times."""
    yield
    gc.collect()


@pytest.fixture(
    scope="session",
    params=["simulated", pytest.param("genuine", marks=pytest.mark.genuine("kube"))],
)
def kube_part(request: pytest.FixtureRequest) -> KubePart:
    """Which Kubernetes API a test talks to: one contract suite, held to by both."""
    chosen: KubePart = request.param
    return chosen


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Say:
    """Runs a command of ours in this process; the settings come from the environment."""
    return saying(capsys)
