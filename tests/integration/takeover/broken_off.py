"""Kills a command of the take-over at each state that it can leave behind.

A kill is tried once for each such state: all that is committed and written up to a boundary. How many there
are is counted while the command runs without being killed.
"""

from collections.abc import Callable
from typing import Any

import pytest

from tests.integration.takeover.terway import (
    CONFIG_MAPS,
    DEPLOYMENT,
    GROUP,
    NI_PATH,
    WEBHOOKS,
    TerwayCluster,
)
from tests.simulation.world import Crash

Command = Callable[[TerwayCluster], Any]
_PATHS = (
    f"{GROUP}/podenis",
    NI_PATH,
    DEPLOYMENT,
    CONFIG_MAPS,
    *(WEBHOOKS.format(kind) for kind in ("mutating", "validating")),
)
#: What differs from one time to the next without meaning anything.
_CHANCE = ("uid", "resourceVersion", "managedFields", "creationTimestamp", "generation")


def persisted(cluster: TerwayCluster) -> Any:
    """All that outlives a process, told apart."""
    entries = cluster.ground.rows("SELECT count(*) FROM ledger.entry")
    brakes = cluster.ground.rows("SELECT scope, pulled_by FROM ledger.brake ORDER BY 1")
    return cluster.kube.core.store.revision, entries, brakes


def end(cluster: TerwayCluster) -> dict[str, Any]:
    """The end state, without ids that chance gave."""
    stories = cluster.ground.rows(
        "SELECT a.pod, a.interface, array_agg(e.kind ORDER BY e.version), a.phase, "
        "a.state->'address', a.state->>'ttl_due', a.state->>'podeni_uid', a.state->>'pod_uid' "
        "FROM ledger.allocation a JOIN ledger.entry e ON e.allocation_id = a.id GROUP BY a.id "
        "ORDER BY 1, 2, 4, 3"
    )
    shown = {}
    for path in _PATHS:
        for obj in cluster.kube.list(path)["items"]:
            metadata = {k: v for k, v in obj["metadata"].items() if k not in _CHANCE}
            shown[path, metadata["name"]] = {**obj, "metadata": metadata}
    brakes = cluster.ground.rows("SELECT cluster, scope, pulled_by FROM ledger.brake ORDER BY 2, 3")
    numbers = cluster.ground.rows("SELECT count(*) FROM ledger.incarnation")
    return {"stories": stories, "shown": shown, "brakes": brakes, "incarnations": numbers}


def states_left(
    cluster: TerwayCluster, command: Command, outlives: Callable[[TerwayCluster], Any] = persisted
) -> list[int]:
    """The boundaries of an uninterrupted run, one for each state that a kill can leave."""
    seen: list[Any] = []
    chosen: list[int] = []
    reached = 0

    def boundary(name: str) -> None:
        nonlocal reached
        if (state := outlives(cluster)) not in seen:
            seen.append(state)
            chosen.append(reached)
        reached += 1

    cluster.boundary = boundary
    command(cluster)
    cluster.boundary = lambda name: None
    return chosen


def killed(cluster: TerwayCluster, command: Command, at: int) -> None:
    """Run it until that boundary."""
    reached = 0

    def boundary(name: str) -> None:
        nonlocal reached
        reached += 1
        if reached > at:
            raise Crash(name)

    cluster.boundary = boundary
    with pytest.raises(Crash):
        command(cluster)
    cluster.boundary = lambda name: None
