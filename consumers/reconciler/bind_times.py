"""Measures how long binds took, from the ledger's own times, once for each bind.

Observed by whoever recorded the bind, so that sums over replicas count each one once.
"""

from collections.abc import Sequence

from consumers.reconciler.tools import Tools
from consumers.runtime import metrics
from ledger.rules.allocation import Allocation
from ledger.rules.bind_times import bind_times
from ledger.store.book import read_newest_life

#: Seconds; the node agent gives up on a Pod after 100 to 120.
BUCKETS = (0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 8.0, 13.0, 20.0, 30.0, 60.0, 120.0, 300.0, 900.0)

SECONDS = metrics.histogram(
    "bind_seconds",
    "From a Pod's request for an interface until it is bound: wait, create, attach, write, and all",
    ("stage",),
    BUCKETS,
)


def observe_binds(tools: Tools, bound: Sequence[Allocation]) -> None:
    """Measure interfaces whose bind was just recorded."""
    with tools.database.transaction() as connection:
        stories = [read_newest_life(connection, a.id) for a in bound]
    for story in stories:
        for stage, seconds in bind_times(story).items():
            SECONDS.labels(stage).observe(seconds)
