"""How long after its due time a reservation ends; `make bench PART=expiry`.

One reconciler process with default settings; the test beats as a watcher does. P2 says 1 s after
the due time has passed, the watermark is past the look, and the Pod is absent: what is printed is
counted from the due time alone, so it has the wait for the watermark in it.
"""

import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.replicas.fleet import Fleet, running_fleet, wait_for

PODS = 30
NETWORK = {
    "interface": "eth0",
    "vSwitchOptions": ["vsw-bpxxxx"],
    "securityGroupIDs": ["sg-bpxxxx"],
    "allocationType": {"type": "Fixed", "releaseStrategy": "TTL", "releaseAfter": "20s"},
}
DECIDED = """
SELECT extract(epoch FROM decided.recorded_at - (confirmed.data->>'ttl_due')::timestamptz)::float8
FROM ledger.entry decided JOIN ledger.entry confirmed USING (allocation_id)
WHERE decided.kind = 'release-decided' AND confirmed.kind = 'absence-confirmed' ORDER BY 1
"""

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def fleet(database: str, tmp_path: Path) -> Iterator[Fleet]:
    with running_fleet(tmp_path / "fleet", database, {}, instances=4) as running:
        yield running


@pytest.mark.parametrize("beat_s", [0.2, 1.0])
def test_expiry(fleet: Fleet, capsys: pytest.CaptureFixture[str], beat_s: float) -> None:
    fleet.start()
    names = [f"db-{number}" for number in range(PODS)]
    fleet.create_pods([(name, f"node-{n % 4}") for n, name in enumerate(names)], NETWORK)
    wait_for(lambda: list(fleet.phases().values()).count("bound") == PODS, "all are bound")
    for name in names:
        fleet.delete_pod(name)
    fleet.beat()
    until = time.monotonic() + 120
    while len(fleet.rows(DECIDED)) < PODS:
        assert time.monotonic() < until, fleet.phases()
        time.sleep(beat_s)
        fleet.beat()
    late = [seconds for (seconds,) in fleet.rows(DECIDED)]
    with capsys.disabled():
        sys.stdout.write(
            f"\n{PODS} reservations, a heartbeat every {beat_s:g} s: decided after their due time by "
            f"{min(late):.2f} s at least, {statistics.median(late):.2f} s at the median, "
            f"{statistics.quantiles(late, n=10)[-1]:.2f} s at p90, {max(late):.2f} s at most\n"
        )
