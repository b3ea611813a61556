"""What every integration test has: the command line, and a look at what it left open."""

import gc
from collections.abc import Iterator

import pytest

from tests.integration.commands import Say, saying


@pytest.fixture(autouse=True)
def nothing_left_open() -> Iterator[None]:
    """An unclosed connection or file warns when it is collected, and warnings are errors: without
    this they would fail some later test, and only at times."""
    yield
    gc.collect()


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Say:
    """Runs a command of ours in this process; the settings come from the environment."""
    return saying(capsys)
