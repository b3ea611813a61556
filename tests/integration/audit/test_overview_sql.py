"""The views of what a person looks at first: open to auditors, described, and never of another cluster."""

import psycopg
import pytest

from ledger.store.inputs import bury
from tests.simulation.ground import START, Ground
from tests.simulation.world import CLUSTER, SimulatedWorld

VIEWS = ("waiting", "brakes", "sweeps", "dead_letters")


def test_an_auditor_reads_the_views(database: str) -> None:
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("SET ROLE eni_ledger_auditor")
        for view in VIEWS:
            connection.execute(f"SELECT * FROM audit.{view}")


def test_every_view_and_column_is_described(database: str) -> None:
    with psycopg.connect(database) as connection:
        found = connection.execute(
            """
            SELECT c.relname, a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
            WHERE c.relnamespace = 'audit'::regnamespace AND c.relname = ANY(%s) AND a.attnum > 0
              AND (col_description(c.oid, a.attnum) IS NULL OR obj_description(c.oid) IS NULL)
            ORDER BY 1, 2
            """,
            [list(VIEWS)],
        ).fetchall()
    assert found == []


def test_what_only_lets_time_pass_does_not_wait(world: SimulatedWorld) -> None:
    """web-2 is kept for an hour: that is no trouble."""
    assert world.ground.rows("SELECT count(*) FROM ledger.work WHERE waiting_for IS NOT NULL") != [
        (0,)
    ]
    assert world.ground.rows("SELECT * FROM audit.waiting") == []


@pytest.mark.parametrize(
    ("key", "headers", "clusters", "expected"),
    [
        (f"{CLUSTER}/shop/web-0", [], ["c-other"], CLUSTER),
        ("c-other/node-1", [], ["c-other"], "c-other"),
        ("unknown/node-1", [], [], CLUSTER),
        ("unknown/node-1", [], ["c-other"], None),
        ("unknown/node-1", [("CE_source", b"/clusters/c-other")], ["c-other"], "c-other"),
        (None, [("ce_source", f"/clusters/{CLUSTER}".encode())], ["c-other"], CLUSTER),
        (None, [], [], CLUSTER),
        ("\x00\ud800", [], ["c-other"], None),
    ],
)
def test_whose_a_dead_letter_is(
    audited_ground: Ground,
    key: str | None,
    headers: list[tuple[str, bytes]],
    clusters: list[str],
    expected: str | None,
) -> None:
    audited_ground.clear()
    raw = None if key is None else key.encode("utf-8", "surrogatepass")
    with audited_ground.shared.transaction() as connection:
        for cluster in [CLUSTER, *clusters]:
            connection.exec_driver_sql(
                "INSERT INTO ledger.cluster VALUES (%(c)s, %(c)s, ledger.now())", {"c": cluster}
            )
        bury(connection, ("t", 0, 1, raw, b"secret", headers), "not-json", "why", START)
    [(cluster, bytes_)] = audited_ground.rows("SELECT cluster, bytes FROM audit.dead_letters")
    assert (cluster, bytes_) == (expected, 6)
