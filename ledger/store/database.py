"""Connections and transactions: how every other module of the store reaches PostgreSQL."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import psycopg
from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.exc import InterfaceError, OperationalError, PendingRollbackError

# Every process's transactions ask the next thing within milliseconds: who is silent for this long
# is frozen, and others must take over within ten seconds.
FROZEN_AFTER_S = 5.0

#: What says that the database is not there, or went away in the middle: nothing has happened, and
#: the same can be tried again.
UNAVAILABLE = (OperationalError, InterfaceError, PendingRollbackError)

# PostgreSQL's words for "try the whole transaction again": the database chose a victim.
SERIALIZATION_FAILURES = frozenset({"40001", "40P01"})


class Database:
    """A bounded pool of connections to one ledger; thread-safe.

    `dsn` is anything libpq takes (URL or keywords), so TLS, SCRAM and failover lists are libpq's.
    `idle_in_transaction_s` bounds how long a transaction may stay open with nothing asked of it
    (0: for ever): a process that is frozen, or whose machine is lost, keeps its locks no longer.
    """

    def __init__(
        self,
        dsn: str,
        *,
        pool_size: int = 8,
        statement_timeout_s: float = 0,
        idle_in_transaction_s: float = 0,
        application_name: str = "eni-ledger",
    ) -> None:
        self.dsn = dsn
        options = (
            f"-c statement_timeout={int(statement_timeout_s * 1000)} "
            f"-c idle_in_transaction_session_timeout={int(idle_in_transaction_s * 1000)}"
        )

        def connect() -> psycopg.Connection[Any]:
            return psycopg.connect(
                dsn, application_name=application_name, options=options, connect_timeout=5
            )

        self.engine: Engine = create_engine(
            "postgresql+psycopg://",
            creator=connect,
            pool_size=pool_size,
            max_overflow=0,
            pool_pre_ping=True,
        )

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """One READ COMMITTED transaction: commits at the end, rolls back on any exception."""
        with self.engine.begin() as connection:
            yield connection

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """One transaction whose every statement sees the same moment; it can't write."""
        with self.engine.connect().execution_options(
            isolation_level="REPEATABLE READ", postgresql_readonly=True
        ) as connection:
            yield connection

    @contextmanager
    def session(self) -> Iterator[Connection]:
        """A connection whose transactions the caller ends; closed for good afterwards."""
        try:
            with self.engine.connect() as connection:
                yield connection
        finally:
            self.close()

    def close(self) -> None:
        """Give back every connection."""
        self.engine.dispose()


def ledger_now(connection: Connection) -> datetime:
    """The ledger's clock. Take it after the locks: see `ledger.now()` in the schema."""
    now: datetime = connection.exec_driver_sql("SELECT ledger.now()").scalar_one()
    return now


def is_unavailable(error: Exception) -> bool:
    """Whether the database could not be reached or went away, so that the same can be tried again."""
    return isinstance(error, OperationalError) and (
        error.connection_invalidated
        or sqlstate(error) in ("", None)
        or str(sqlstate(error))[:2] in ("08", "57")
    )


def sqlstate(error: Exception) -> str | None:
    """The SQLSTATE behind a SQLAlchemy error; None where there is none."""
    return getattr(getattr(error, "orig", None), "sqlstate", None)


def constraint_of(error: Exception) -> str | None:
    """The constraint or unique index that refused a row; None where the error is another."""
    diagnostic = getattr(getattr(error, "orig", None), "diag", None)
    return getattr(diagnostic, "constraint_name", None)
