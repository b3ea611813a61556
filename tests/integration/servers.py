"""A PostgreSQL server of a test's own, that can be stopped and started again on its data."""

import os
from pathlib import Path

import psutil
import psycopg

from deploy.local.parts.child import start_child, unprivileged_account
from deploy.local.parts.postgres import PostgresServer, start_postgres

READY_DEADLINE_S = 60.0


class Restartable:
    """Starts the server; `stop` and `start` it as often as you like."""

    def __init__(self, directory: Path, log: Path) -> None:
        self.server: PostgresServer = start_postgres(directory, log=log, throwaway=True)
        self._command = psutil.Process(self.server.child.pid).cmdline()
        self._log = log
        self._running = self.server.child

    def stop(self) -> None:
        self._running.stop()

    def start(self, *options: str) -> None:
        self._running = start_child(
            "PostgreSQL",
            [*self._command, *options],
            log=self._log,
            directory=self.server.directory,
            account=unprivileged_account(),
        )

    def recover(self) -> None:
        """Start it as from an archive that holds nothing more: it ends on a timeline of its own."""
        signal = self.server.directory / "data" / "recovery.signal"
        signal.touch()
        account = unprivileged_account()
        if account is not None:
            os.chown(signal, account.uid, account.gid)
        self.start("-c", "restore_command=false")
        self._running.wait_ready(self._accepts_writes, READY_DEADLINE_S, "its recovery ended")

    def _accepts_writes(self) -> bool:
        try:
            with psycopg.connect(self.server.dsn(), connect_timeout=2) as connection:
                row = connection.execute("SELECT pg_is_in_recovery()").fetchone()
        except psycopg.OperationalError:
            return False
        return row == (False,)
