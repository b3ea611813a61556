"""PostgreSQL servers of a test's own: stopped, killed and started again on their data; followed by a
standby that can be promoted; one generation older than the rest of the suite's."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

import psutil
import psycopg

from deploy.local.parts.child import Child, PartError, start_child, unprivileged_account
from deploy.local.parts.ports import LOOPBACK
from deploy.local.parts.postgres import SUPERUSER, PostgresServer, start_postgres

READY_DEADLINE_S = 60.0


def binaries_of_15() -> Path:
    """Where .ci/parts/postgres15 has looked for them."""
    return Path(os.environ.get("TESTS_POSTGRES15", "/usr/lib/postgresql/15/bin"))


class Restartable:
    """Starts the server; `stop` and `start` it as often as you like."""

    def __init__(
        self,
        directory: Path,
        log: Path,
        *,
        binaries: Path | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.server: PostgresServer = start_postgres(
            directory, log=log, throwaway=True, binaries=binaries, settings=settings
        )
        self.command = psutil.Process(self.server.child.pid).cmdline()
        self._log = log
        self._running = self.server.child

    @property
    def child(self) -> Child:
        return self._running

    def stop(self) -> None:
        self._running.stop()

    def kill(self) -> None:
        """SIGKILL of the postmaster: as a crash, with every transaction where it is."""
        self._running.kill()

    def start(self, *options: str) -> None:
        self._running = start_child(
            "PostgreSQL",
            [*self.command, *options],
            log=self._log,
            directory=self.server.directory,
            account=unprivileged_account(),
            stop_signal=signal.SIGINT,
        )

    def start_after_a_crash(self) -> None:
        """Start it until it stays: the dead postmaster's last sessions may hold its memory a while."""
        until = time.monotonic() + READY_DEADLINE_S
        while True:
            self.start()
            try:
                self._running.wait_ready(self._accepts_writes, READY_DEADLINE_S, "it recovered")
            except PartError:
                if time.monotonic() > until:
                    raise
                self._running.kill()
            else:
                return

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


class Standby:
    """A streaming standby of a running server, named `standby` to it; `promote` makes it the primary."""

    def __init__(
        self, primary: Restartable, directory: Path, log: Path, *, binaries: Path, port: int
    ) -> None:
        self.port = port
        server = primary.server
        self._dsn = server.dsn().replace(f":{server.port}/", f":{self.port}/")
        account = unprivileged_account()
        directory.mkdir(mode=0o700)
        if account is not None:
            os.chown(directory, account.uid, account.gid)
        source = f"host={LOOPBACK} port={server.port} user={SUPERUSER} application_name=standby"
        subprocess.run(
            [
                binaries / "pg_basebackup", "--write-recovery-conf", "--checkpoint=fast",
                "--wal-method=stream", "--pgdata", directory / "data", "--dbname", source,
            ],
            env={"PGPASSWORD": server.password, "PATH": os.environ["PATH"]},
            cwd=directory,
            check=True,
            timeout=READY_DEADLINE_S,
            user=None if account is None else account.uid,
            group=None if account is None else account.gid,
            extra_groups=None if account is None else [],
        )  # fmt: skip
        data = str(server.directory / "data")
        moved = {data: str(directory / "data"), f"port={server.port}": f"port={self.port}"}
        self.child = start_child(
            "PostgreSQL, the standby",
            [moved.get(word, word) for word in primary.command],
            log=log,
            directory=directory,
            account=account,
            stop_signal=signal.SIGINT,
        )
        self.child.wait_ready(self._streams, READY_DEADLINE_S, "it followed its primary")

    def promote(self) -> None:
        """By hand, as an operator does; returns when it takes writes."""
        with psycopg.connect(self._dsn, autocommit=True) as connection:
            assert connection.execute("SELECT pg_promote()").fetchone() == (True,)

    def _streams(self) -> bool:
        try:
            with psycopg.connect(self._dsn, connect_timeout=2) as connection:
                return bool(connection.execute("SELECT 1 FROM pg_stat_wal_receiver").fetchone())
        except psycopg.OperationalError:
            return False


class SmallDisk:
    """A file system of so many megabytes below `place`; `fill` leaves no byte free, `clear` does."""

    def __init__(self, place: Path, megabytes: int) -> None:
        place.mkdir(parents=True)
        mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "eni-ledger-test", str(place)]
        subprocess.run(mount, check=True)
        place.chmod(0o755)
        self.place = place
        self._ballast = place / "ballast"

    def fill(self) -> None:
        with self._ballast.open("wb", buffering=0) as file:
            for size in (1 << 20, 4096):
                try:
                    while True:
                        file.write(b"\0" * size)
                except OSError:
                    continue  # full, to this granularity

    def clear(self) -> None:
        self._ballast.unlink(missing_ok=True)

    def unmount(self) -> None:
        subprocess.run(["umount", str(self.place)], check=True)
        shutil.rmtree(self.place)
