"""A server that takes no more writes is one that is not there: what a failover leaves behind."""

import psycopg
import pytest

from ledger.store.database import UNAVAILABLE, Database, why_unavailable

WRITE = "UPDATE ledger.brake SET reason = reason"


def test_a_demoted_primary_is_left_and_found_again_as_a_primary(database: str) -> None:
    """A connection from before the failover, which the pool would gladly give out for ever."""
    ours = Database(database, pool_size=1)
    with psycopg.connect(database, autocommit=True) as admin:
        [(name,)] = admin.execute("SELECT current_database()").fetchall()
        admin.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
        with ours.transaction() as connection:
            [before] = connection.exec_driver_sql("SELECT pg_backend_pid()").scalars()
        with pytest.raises(UNAVAILABLE) as refused, ours.transaction() as connection:
            connection.exec_driver_sql(WRITE)
        assert "read-only" in why_unavailable(refused.value)
        admin.execute("SET default_transaction_read_only = off")
        admin.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
    with ours.transaction() as connection:
        connection.exec_driver_sql(WRITE)
        [after] = connection.exec_driver_sql("SELECT pg_backend_pid()").scalars()
    assert after != before, "a connection made anew"
    ours.close()


def test_a_write_in_a_snapshot_of_ours_is_our_own_mistake(database: str) -> None:
    ours = Database(database, pool_size=1)
    with pytest.raises(Exception, match="read-only") as refused, ours.snapshot() as connection:
        connection.exec_driver_sql(WRITE)
    assert not isinstance(refused.value, UNAVAILABLE)
    ours.close()
