"""Connections and transactions: how every other module of the store reaches PostgreSQL."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import (
    InterfaceError,
    OperationalError,
    PendingRollbackError,
    SQLAlchemyError,
)

# Every process's transactions ask the next thing within milliseconds: who is silent for this long
# is frozen, and others must take over within ten seconds.
FROZEN_AFTER_S = 5.0

#: What says that the database is not there, or went away in the middle: nothing has happened, and
#: the same can be tried again.
UNAVAILABLE = (OperationalError, InterfaceError, PendingRollbackError)

#: A server that is cut off says nothing at all. Found within ten seconds, where Linux alone would
#: wait for hours (idle) or a quarter of one (with something sent). The DSN may say otherwise.
CUT_OFF = {
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
}

#: PostgreSQL's word for a write on a standby, or on a primary that was demoted.
READ_ONLY = "25006"


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

        cut_off: dict[str, Any] = {
            name: value for name, value in CUT_OFF.items() if name not in conninfo_to_dict(dsn)
        }

        def connect() -> psycopg.Connection[Any]:
            return psycopg.connect(
                dsn,
                application_name=application_name,
                options=options,
                connect_timeout=5,
                **cut_off,
            )

        self.engine: Engine = create_engine(
            "postgresql+psycopg://",
            creator=connect,
            pool_size=pool_size,
            max_overflow=0,
            pool_pre_ping=True,
        )
        event.listen(self.engine, "handle_error", _read_only_is_not_there, retval=True)

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


def _read_only_is_not_there(context: ExceptionContext) -> BaseException | None:
    """A server that takes no writes is not the ledger's any more: a failover has passed it by.

    So it counts as unavailable, and no connection to it is used again: the next one is made anew,
    and finds the primary where the DSN lists both with target_session_attrs=read-write.
    """
    refused = context.original_exception
    connection = context.connection
    if getattr(refused, "sqlstate", None) != READ_ONLY or connection is None:
        return None
    if connection.get_execution_options().get("postgresql_readonly"):
        return None  # we asked for it: a write there is our own mistake
    context.is_disconnect = True
    return OperationalError(
        context.statement, context.parameters, refused, connection_invalidated=True
    )


def ledger_now(connection: Connection) -> datetime:
    """The ledger's clock. Take it after the locks: see `ledger.now()` in the schema."""
    now: datetime = connection.exec_driver_sql("SELECT ledger.now()").scalar_one()
    return now


def why_unavailable(error: SQLAlchemyError) -> str:
    """The cause of one of UNAVAILABLE in one line, in the driver's words where it has any."""
    return " ".join(str(getattr(error, "orig", None) or error).split())


def sqlstate(error: Exception) -> str | None:
    """The SQLSTATE behind a SQLAlchemy error; None where there is none."""
    return getattr(getattr(error, "orig", None), "sqlstate", None)


def constraint_of(error: Exception) -> str | None:
    """The constraint or unique index that refused a row; None where the error is another."""
    diagnostic = getattr(getattr(error, "orig", None), "diag", None)
    return getattr(diagnostic, "constraint_name", None)
