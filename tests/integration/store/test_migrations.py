"""Migrations: from nothing, one by one, down again; and what the schema refuses by itself."""

import pytest
from sqlalchemy.exc import DBAPIError

from ledger.store import migrate
from ledger.store.database import Database
from ledger.store.feed import stamp
from ledger.store.seal import seal
from ledger.store.tampering import examine


def test_up_one_by_one_and_down_to_nothing(empty_database: str) -> None:
    for revision in (
        "0001",
        "0002",
        "0003",
        "0004",
        "0005",
        "0006",
        "0007",
        "0008",
        "0009",
        "0010",
    ):
        assert migrate.upgrade(empty_database, revision) == revision
    assert migrate.upgrade(empty_database) == migrate.head()
    migrate.downgrade(empty_database, "base")
    with Database(empty_database, pool_size=1).session() as connection:
        left = connection.exec_driver_sql(
            "SELECT count(*) FROM pg_namespace WHERE nspname IN ('ledger', 'audit')"
        ).scalar_one()
    assert left == 0


def test_p7_an_older_ledger_is_sealed_from_its_first_entry_on(empty_database: str) -> None:
    migrate.upgrade(empty_database, "0007")
    append = (
        "INSERT INTO ledger.entry (cluster, kind, recorded_at, cause, data) "
        "SELECT 'c1', 'paused', ledger.now() - interval '1 year', '{}', '{}' "
        "FROM generate_series(1, 50)"
    )
    with Database(empty_database, pool_size=1).session() as connection:
        connection.exec_driver_sql(append)
        assert stamp(connection) == 50
        connection.commit()
    migrate.upgrade(empty_database)
    with Database(empty_database, pool_size=1).session() as connection:
        while seal(connection, 20):
            connection.commit()
        verdict = examine(connection)
    assert verdict.findings == []
    assert (verdict.entries, verdict.seals) == (50, 3)


def test_the_way_back_from_archives_is_there_until_something_was_carried(
    empty_database: str,
) -> None:
    """0011 goes up on entries that are there; the insert is what code of 0010 goes on doing."""
    append = (
        "INSERT INTO ledger.entry (cluster, kind, recorded_at, cause, data) "
        "VALUES ('c1', '{}', ledger.now(), '{{}}', '{{}}')"
    )
    migrate.upgrade(empty_database, "0010")
    for revision in ("0011", "0010", "0011"):
        with Database(empty_database, pool_size=1).session() as connection:
            connection.exec_driver_sql(append.format("paused"))
            assert connection.exec_driver_sql("SELECT count(*) FROM audit.story").scalar_one() > 0
            connection.commit()
        (migrate.downgrade if revision == "0010" else migrate.upgrade)(empty_database, revision)
    with Database(empty_database, pool_size=1).session() as connection:
        connection.exec_driver_sql(append.format("carried-forward"))
        connection.commit()
    with pytest.raises(DBAPIError, match="entries were archived"):
        migrate.downgrade(empty_database, "0010")
