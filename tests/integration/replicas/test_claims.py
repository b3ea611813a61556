"""P10 and failover with real reconciler processes: frozen beyond their claim, killed, cut off.

The cloud simulator's own log says what was sent and what took effect.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from ledger.store.database import Database
from ledger.store.rebuild import check
from tests.integration.replicas.fleet import Fleet, running_fleet, wait_for

CREATE, ATTACH = "CreateNetworkInterface", "AttachNetworkInterface"
ELASTIC = {
    "interface": "eth0",
    "vSwitchOptions": ["vsw-bpxxxx"],
    "securityGroupIDs": ["sg-bpxxxx"],
    "allocationType": {"type": "Elastic"},
}
#: Everything is given up on sooner than by default, to wait less; how soon is tests/integration/store's.
QUICK = {
    "CLOUD__CONNECT_TIMEOUT_S": "1",
    "CLOUD__READ_TIMEOUT_S": "2",
    "KUBE__REQUEST_TIMEOUT_S": "3",
    "RECONCILER__CLAIM_S": "2",
}

OPEN_CALLS = "SELECT api FROM ledger.cloud_call WHERE settled_at IS NULL"
#: Reconcilers' transactions that wait for a lock which a test holds.
RECORDING = (
    "SELECT pid FROM pg_stat_activity WHERE application_name = 'eni-ledger-reconciler' "
    "AND datname = current_database() AND wait_event_type = 'Lock'"
)

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def fleet(database: str, tmp_path: Path) -> Iterator[Fleet]:
    with running_fleet(tmp_path / "fleet", database, QUICK) as running:
        yield running


def bound(fleet: Fleet, pod: str) -> bool:
    return fleet.phases().get(pod) == "bound"


def story(fleet: Fleet, pod: str) -> list[tuple[str, Any]]:
    """(kind, data) of each entry of a Pod."""
    query = (
        "SELECT e.kind, e.data FROM ledger.entry e JOIN ledger.allocation a ON a.id = e.allocation_id "
        "WHERE a.pod = %s ORDER BY e.version"
    )
    return [(row[0], row[1]) for row in fleet.rows(query, pod)]


def check_one_eni(fleet: Fleet, pod: str) -> None:
    """One ENI, made once, by one intent; and state is what the entries say."""
    assert len(fleet.effects(CREATE)) == 1
    [eni] = fleet.member_enis()
    assert fleet.rows("SELECT eni FROM ledger.allocation WHERE pod = %s", pod) == [(eni["id"],)]
    kinds = [kind for kind, _ in story(fleet, pod)]
    assert kinds.count("requested") == 1
    assert fleet.rows(OPEN_CALLS) == []
    database = Database(fleet.dsn, pool_size=1)
    with database.transaction() as connection:
        assert check(connection) == []
    database.close()


def freeze_in_call(fleet: Fleet, api: str) -> int:
    """The first replica, stopped while the cloud takes its time over a call that took effect."""
    fleet.fault(kind="slow", api=api, seconds=1.5, times=1)
    first = fleet.start()
    wait_for(lambda: fleet.effects(api), f"{api} is on its way")
    fleet.freeze(first)
    assert [row[0] for row in fleet.rows(OPEN_CALLS)] == [api], "frozen before it could record"
    return first


@pytest.mark.parametrize("api", [CREATE, ATTACH])
def test_p10_who_was_frozen_beyond_its_claim_records_nothing(fleet: Fleet, api: str) -> None:
    """SIGSTOP in the middle of a call, until another has settled it by a look; then SIGCONT."""
    fleet.create_pod("web-0", "node-0", ELASTIC)
    first = freeze_in_call(fleet, api)
    second = fleet.start()
    wait_for(lambda: bound(fleet, "web-0"), "the successor binds it")
    settled = [data for kind, data in story(fleet, "web-0") if kind == "call-done"]
    assert settled[(CREATE, ATTACH).index(api)]["settled_by"] == "look"
    before = story(fleet, "web-0")
    fleet.thaw(first)
    wait_for(
        lambda: fleet.metric(first, "eni_ledger_reconciler_claims_lost_total") >= 1,
        "the one that woke finds its claim lost",
    )
    assert story(fleet, "web-0") == before
    assert len(fleet.effects(ATTACH)) == 1
    check_one_eni(fleet, "web-0")
    # It is none the worse for it: it goes on with whatever is due.
    fleet.replicas[second].kill()
    fleet.create_pod("web-1", "node-1", ELASTIC)
    wait_for(lambda: bound(fleet, "web-1"), "the one that woke serves the next Pod")


def test_p10_cut_off_while_it_records_an_outcome_the_next_turn_settles_it_by_a_look(
    fleet: Fleet,
) -> None:
    """The connection is ended in the middle of the transaction that was to say what was created."""
    fleet.create_pod("web-0", "node-0", ELASTIC)
    fleet.fault(kind="slow", api=CREATE, seconds=1.5, times=1)
    first = fleet.start()
    wait_for(lambda: fleet.effects(CREATE), "the create is on its way")
    with psycopg.connect(fleet.dsn) as blocking:
        blocking.execute("LOCK TABLE ledger.entry IN SHARE MODE")
        wait_for(lambda: fleet.rows(RECORDING), "the answer is being recorded")
        fleet.rows(f"SELECT pg_terminate_backend(pid) FROM ({RECORDING}) recording")
        wait_for(lambda: not fleet.rows(RECORDING), "its connection is gone")
    wait_for(lambda: bound(fleet, "web-0"), "it binds all the same")
    settled = [data["settled_by"] for kind, data in story(fleet, "web-0") if kind == "call-done"]
    assert settled[0] == "look"
    check_one_eni(fleet, "web-0")
    assert fleet.replicas[first].exit_code is None


def test_failover_claims_of_a_killed_reconciler_move_when_they_run_out(fleet: Fleet) -> None:
    """Killed between two calls, with Pods claimed: the other takes all of them over."""
    first, second = fleet.start(), fleet.start()
    fleet.freeze(second)
    for number in range(4):
        fleet.create_pod(f"web-{number}", f"node-{number}", ELASTIC)
    with psycopg.connect(fleet.dsn) as blocking:
        blocking.execute("LOCK TABLE ledger.entry IN SHARE MODE")
        wait_for(lambda: fleet.rows(RECORDING), "the first is recording what it looked at")
        fleet.replicas[first].kill()
    [(left,)] = fleet.rows(
        "SELECT max(claimed_until) - ledger.now() FROM ledger.work WHERE kind = 'pod'"
    )
    longest = float(QUICK["RECONCILER__CLAIM_S"]) + float(QUICK["KUBE__REQUEST_TIMEOUT_S"])
    assert left is None or left.total_seconds() <= longest, "it was in no cloud call"
    fleet.thaw(second)
    wait_for(
        lambda: all(bound(fleet, f"web-{number}") for number in range(4)), "the other binds all"
    )
    assert len(fleet.effects(CREATE)) == len(fleet.member_enis()) == 4
    assert fleet.rows(OPEN_CALLS) == []
