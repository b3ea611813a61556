"""The dashboard shows what the ledger holds: its queries have answers from a genuine Prometheus."""

import contextlib
import json
import re
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from consumers.reconciler.measuring import measure
from consumers.runtime import metrics
from tests.integration.deploy.exposed import answer_of_a_process, ask, scraped
from tests.integration.deploy.files import ALERTS, DASHBOARD, panel_queries
from tests.simulation.world import CLUSTER, SimulatedWorld

#: Nothing went wrong in that world, and it has neither watcher, webhook, broker nor seal.
QUIET = re.compile(
    r"outcome!=|quarantined|podenis_different|watermark|intake|admission|outbox|unsealed|ready|sweep_"
)


def test_what_is_shown_is_what_the_ledger_holds(exposition: SimulatedWorld) -> None:
    """Counts by phase, reservations, waiting Pods, and each stage of a bind, of this cluster."""
    text = answer_of_a_process().decode()
    of = f'cluster="{CLUSTER}"'
    for series in (
        f'eni_ledger_allocations{{{of},phase="bound"}} 2.0',
        f'eni_ledger_allocations{{{of},phase="reserved"}} 1.0',
        f'eni_ledger_reservations{{{of},rule="ttl"}} 1.0',
        f'eni_ledger_pods_waiting{{{of},over_s="0"}} 0.0',
        f"eni_ledger_allocations_parked{{{of}}} 0.0",
        f'eni_ledger_member_slots{{{of},use="attached",zone="cn-hangzhou-h"}} 2.0',
        f'eni_ledger_trunk_nodes{{{of},room="no",zone="cn-hangzhou-h"}} 0.0',
    ):
        assert series in text.splitlines()
    assert "eni_ledger_brake{" not in text
    stages = set(re.findall(r'eni_ledger_bind_seconds_count{[^}]*stage="(\w+)"', text))
    assert stages == {"wait", "create", "attach", "write", "all"}
    done = (
        r'cloud_calls_total{(?=.*api="Attach)(?=.*code="")(?=.*cluster="c-sim)[^}]*outcome="done"'
    )
    assert re.search(done, text)


def test_what_cannot_be_measured_goes_away() -> None:
    """An old figure that looks like a new one would hide the trouble that keeps it from being measured."""
    clock = [0.0]
    snapshot = metrics.Snapshot(fresh_s=45, now=lambda: clock[0])
    kinds = snapshot.gauge("test_things_held", "Things", ("kind",))
    assert b"test_things_held" not in metrics.exposition()[0]
    with snapshot.renewed():
        kinds.labels("old").set(1)
        kinds.labels("new").set(2)
    assert metrics.exposition()[0].count(b"eni_ledger_test_things_held{") == 2
    with snapshot.renewed():
        kinds.labels("new").set(3)
    assert b'eni_ledger_test_things_held{kind="new"} 3.0' in metrics.exposition()[0]
    assert b'kind="old"' not in metrics.exposition()[0]
    clock[0] = 45.1
    assert b"test_things_held" not in metrics.exposition()[0]


def test_panels_do_not_overlap_and_say_what_they_show() -> None:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    taken: Counter[tuple[int, int]] = Counter()
    for panel in panels:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        taken.update(
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        )
        assert panel["title"]
        assert panel["type"] == "row" or panel["description"]
    assert max(taken.values()) == 1
    ids = [panel["id"] for panel in panels]
    assert len(set(ids)) == len(ids)


@contextlib.contextmanager
def measured_again(world: SimulatedWorld) -> Iterator[None]:
    """As a reconciler does: figures go away after 45 s, and Prometheus may take longer to start."""
    over = threading.Event()

    def go_on() -> None:
        while not over.wait(10):
            measure(world.tools)

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@pytest.mark.genuine("promtool")
def test_a_genuine_prometheus_answers_every_query(
    prometheus_folder: Path, tmp_path: Path, exposition: SimulatedWorld
) -> None:
    with measured_again(exposition), scraped(prometheus_folder, tmp_path, ALERTS) as base:
        unanswered = [
            query
            for query in panel_queries()
            if not ask(base, query.replace("$cluster", ".*").replace("$__rate_interval", "1m"))
        ]
        assert [query for query in unanswered if not QUIET.search(query)] == []
        [bound] = ask(base, 'sum(max by (cluster) (eni_ledger_allocations{phase="bound"}))')
        assert bound["value"][1] == "2"
