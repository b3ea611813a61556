"""Brings a database to a revision, one process at a time."""

from importlib.util import find_spec
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from ledger.store.database import Database

# Any number; all migrators of this project take the same one.
_ONE_AT_A_TIME = 0x656E696C


def upgrade(dsn: str, revision: str = "head") -> str:
    """Migrate up to `revision` and return the revision reached. Waits for another migrator."""
    with Database(dsn, pool_size=1).session() as connection:
        connection.exec_driver_sql(f"SELECT pg_advisory_lock({_ONE_AT_A_TIME})")
        # A migration that can't get its lock gives way to the running system instead of queueing
        # every other query behind itself.
        connection.exec_driver_sql("SET lock_timeout = '10s'")
        connection.commit()
        command.upgrade(_config(connection), revision)
        return current(connection)


def downgrade(dsn: str, revision: str) -> None:
    """Migrate down to `revision` ("base": to nothing). Drops what the revisions made."""
    with Database(dsn, pool_size=1).session() as connection:
        command.downgrade(_config(connection), revision)


def current(connection: Connection) -> str:
    """The revision of the database; "" before the first."""
    context = MigrationContext.configure(
        connection, opts={"version_table": "revision", "version_table_schema": "public"}
    )
    return context.get_current_revision() or ""


def head() -> str:
    """The newest revision this code knows."""
    found = ScriptDirectory.from_config(_config(None)).get_current_head()
    assert found is not None, "the migrations folder has no revisions"
    return found


def revisions() -> frozenset[str]:
    """Every revision this code knows."""
    script = ScriptDirectory.from_config(_config(None))
    return frozenset(each.revision for each in script.walk_revisions())


def _config(connection: Connection | None) -> Config:
    spec = find_spec("migrations")
    assert spec is not None, "the package `migrations` is part of the distribution"
    assert spec.origin is not None
    config = Config()
    config.set_main_option("script_location", str(Path(spec.origin).parent))
    config.attributes["connection"] = connection
    return config
