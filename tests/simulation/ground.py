"""One database for all seeds: emptied between them, its clock replaced by a virtual one.

Emptying takes milliseconds where a new database would take a tenth of a second.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import psycopg
from sqlalchemy import Connection, create_engine

from deploy.local.parts.postgres import PostgresServer, create_database, drop_database
from ledger.store.database import Database

START = datetime(2026, 1, 1, tzinfo=UTC)

_CLOCK = """
CREATE TABLE IF NOT EXISTS ledger.virtual_clock (at timestamptz NOT NULL);
-- plpgsql keeps its plan between calls: half the time of an SQL function.
CREATE OR REPLACE FUNCTION ledger.now() RETURNS timestamptz LANGUAGE plpgsql VOLATILE PARALLEL SAFE
    AS $$ BEGIN RETURN (SELECT at FROM ledger.virtual_clock); END $$;
"""

_ARCHIVES = (
    "SELECT tablename FROM pg_tables WHERE schemaname = 'ledger' AND tablename ~ '^entry_[0-9]'"
)

Reach = Callable[[str], None]


class Ground:
    """The database under a world: its DSN, its engine, its clock.

    `dsn` is a superuser's, because entries refuse to be emptied by anybody else. Nothing here has
    to survive a power cut, so commits don't wait for the disk.
    """

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        self._direct = psycopg.connect(dsn, autocommit=True)
        self._direct.execute("SET client_min_messages = warning")
        self._direct.execute("SET synchronous_commit = off")  # the clock is set thousands of times
        self._direct.execute(_CLOCK)
        self._tables = self._find_tables()
        self.shared = Database(dsn, pool_size=1)
        self.shared.close()

        def connect() -> psycopg.Connection[Any]:
            return psycopg.connect(dsn, options="-c synchronous_commit=off", connect_timeout=5)

        # No ping before each use, unlike in production: the server is ours and stays.
        self.shared.engine = create_engine(
            "postgresql+psycopg://", creator=connect, pool_size=8, max_overflow=0
        )
        self.clear()

    def close(self) -> None:
        self.shared.close()
        self._direct.close()

    def clear(self) -> None:
        """Empty every table and set the clock to the beginning."""
        with self._direct.transaction():
            # Entries refuse TRUNCATE by a trigger; a replica's session runs none.
            self._direct.execute("SET LOCAL session_replication_role = replica")
            for (name,) in self.rows(_ARCHIVES):
                self._direct.execute(f"DROP TABLE ledger.{name}")
            self._direct.execute(f"TRUNCATE {self._tables} RESTART IDENTITY")
            self._direct.execute("INSERT INTO ledger.virtual_clock VALUES (%s)", [START])

    def set_clock(self, now: datetime) -> None:
        self._direct.execute("UPDATE ledger.virtual_clock SET at = %s", [now])

    def rows(self, query: str, parameters: Any = None) -> list[tuple[Any, ...]]:
        """What is committed now, seen from outside every process."""
        return self._direct.execute(query, parameters).fetchall()

    def database(self, reach: Reach) -> Database:
        """What one process holds: the same engine, with each transaction as boundaries."""
        return ProcessDatabase(self.shared, reach)

    def _find_tables(self) -> str:
        found = self.rows("SELECT tablename FROM pg_tables WHERE schemaname = 'ledger' ORDER BY 1")
        return ", ".join(f"ledger.{name}" for (name,) in found)


class ProcessDatabase(Database):
    """A process's view of the shared engine: it can be interrupted around every transaction."""

    def __init__(self, shared: Database, reach: Reach) -> None:
        self.dsn = shared.dsn
        self.engine = shared.engine
        self._reach = reach

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """As the real one, with boundaries `before transaction`, `before commit`, `after commit`."""
        self._reach("before transaction")
        with super().transaction() as connection:
            yield connection
            self._reach("before commit")
        self._reach("after commit")


@contextmanager
def ground_of_its_own(server: PostgresServer, name: str, template: str) -> Iterator[Ground]:
    """A migrated database of that name, for the time of a `with` block."""
    ground = Ground(create_database(server.dsn(), name, template=template))
    yield ground
    ground.close()
    drop_database(server.dsn(), name)
