"""Migrations: from nothing, one by one, down again; and what the schema refuses by itself."""

from ledger.store import migrate
from ledger.store.database import Database


def test_up_one_by_one_and_down_to_nothing(empty_database: str) -> None:
    for revision in ("0001", "0002", "0003", "0004"):
        assert migrate.upgrade(empty_database, revision) == revision
    assert migrate.upgrade(empty_database) == migrate.head()
    migrate.downgrade(empty_database, "base")
    with Database(empty_database, pool_size=1).session() as connection:
        left = connection.exec_driver_sql(
            "SELECT count(*) FROM pg_namespace WHERE nspname IN ('ledger', 'audit')"
        ).scalar_one()
    assert left == 0
