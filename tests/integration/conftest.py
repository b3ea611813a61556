"""What a test left open is found when that test ends, not whenever the collector comes by."""

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def nothing_left_open() -> Iterator[None]:
    """An unclosed connection or file warns when it is collected, and warnings are errors: without
    this they would fail some later test, and only at times."""
    yield
    gc.collect()
