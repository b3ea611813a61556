"""What the reconciler logs about an allocation: which one, whose, and the entries, by id."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from structlog.contextvars import merge_contextvars

from deploy.local.cloud.faults import read_fault
from tests.simulation.world import SimulatedWorld


@pytest.fixture
def lines() -> Iterator[list[Any]]:
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.INFO))
    with structlog.testing.capture_logs(processors=[merge_contextvars]) as captured:
        yield captured
    structlog.configure(**before)


def test_every_line_about_an_allocation_names_it_its_pod_and_its_entries(
    world: SimulatedWorld, lines: list[Any]
) -> None:
    world.cloud.faults.put(
        read_fault(
            {"api": "AttachNetworkInterface", "kind": "error", "code": "InternalError", "times": 1}
        )
    )
    world.create_pod("web-0")
    world.settle(20)
    world.delete_pod("web-0")
    world.settle(20)
    recorded = [line for line in lines if line["event"] == "recorded"]
    # Each entry that the reconciler wrote is in one line; those of messages are the intake's.
    told = sorted(id_ for line in recorded for id_ in line["entries"])
    written = world.ground.rows(
        "SELECT id FROM ledger.entry WHERE allocation_id IS NOT NULL AND NOT cause ? 'topic' ORDER BY id"
    )
    assert told == [id_ for (id_,) in written]
    assert {line["pod"] for line in recorded} == {"example/web-0"}
    [unknown] = [line for line in lines if line["event"] == "outcome unknown: looking"]
    assert unknown["pod"] == "example/web-0"
    assert unknown["allocation"] in unknown["allocations"]
    assert set(unknown["entries"]) <= set(told)
    assert unknown["entries"]


def test_a_turn_leaves_nothing_behind_in_the_context(world: SimulatedWorld) -> None:
    structlog.contextvars.clear_contextvars()
    world.create_pod("web-0")
    world.settle(10)
    assert structlog.contextvars.get_contextvars() == {}
