"""TLS and SCRAM of PostgreSQL, on 15 and on 18: who is let in, and what who is not is told.

The embedded server has no OpenSSL: these are Debian's 15 and an 18 from .ci/parts/postgres18-tls.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from deploy.local.kubernetes.certificates import Identity, prepare
from deploy.local.parts.child import unprivileged_account
from deploy.local.parts.ports import LOOPBACK
from ledger.store.database import Database
from tests.conftest import PARTS
from tests.integration.commands import Say
from tests.integration.servers import Restartable, binaries_of_15

OWNER, PASSWORD = "ledger_owner", "secret-of-the-owner"


def binaries_of_18() -> Path:
    """Where .ci/parts/postgres18-tls has put them."""
    told = subprocess.run(
        [PARTS / "postgres18-tls", "--print"], capture_output=True, text=True, check=True
    )
    return Path(told.stdout.strip())


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    return prepare(tmp_path_factory.mktemp("tls"))


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(15, marks=pytest.mark.genuine("postgres15")),
        pytest.param(18, marks=pytest.mark.genuine("postgres18-tls")),
    ],
)
def guarded(
    tls: Identity, stack_directory: Path, request: pytest.FixtureRequest
) -> Iterator[Restartable]:
    """A server that lets the owner in by TLS and SCRAM only; and an owner who is no superuser."""
    binaries = binaries_of_15() if request.param == 15 else binaries_of_18()
    name = f"guarded-{request.param}"
    server = Restartable(stack_directory / name, stack_directory / f"{name}.log", binaries=binaries)
    with psycopg.connect(server.server.dsn()) as connection:
        assert connection.info.server_version // 10_000 == request.param
    data = server.server.directory / "data"
    account = unprivileged_account()
    for file in (tls.certificate, tls.key):
        copied = data / file.name
        copied.write_bytes(file.read_bytes())
        copied.chmod(0o600)
        if account is not None:
            os.chown(copied, account.uid, account.gid)
    rules = data / "pg_hba.conf"
    rules.write_text(
        f"hostssl ledger {OWNER} {LOOPBACK}/32 scram-sha-256\n"
        f"hostnossl ledger {OWNER} {LOOPBACK}/32 reject\n" + rules.read_text()
    )
    with psycopg.connect(server.server.dsn(), autocommit=True) as admin:
        admin.execute(f"CREATE ROLE {OWNER} LOGIN CREATEROLE PASSWORD '{PASSWORD}'")
        admin.execute(f"CREATE DATABASE ledger OWNER {OWNER}")
        admin.execute(f"ALTER SYSTEM SET ssl_cert_file = '{tls.certificate.name}'")
        admin.execute(f"ALTER SYSTEM SET ssl_key_file = '{tls.key.name}'")
        admin.execute("ALTER SYSTEM SET ssl = on")
        admin.execute("SELECT pg_reload_conf()")
    yield server
    server.stop()


def dsn(guarded: Restartable, query: str, password: str = PASSWORD) -> str:
    return f"postgresql://{OWNER}:{password}@{LOOPBACK}:{guarded.server.port}/ledger?{query}"


def test_migrations_by_an_owner_who_is_no_superuser_over_tls(
    guarded: Restartable, tls: Identity, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = dsn(guarded, f"sslmode=verify-full&sslrootcert={tls.ca}")
    monkeypatch.setenv("ENI_LEDGER_POSTGRES__DSN", known)
    assert "the ledger is at revision" in say("migrate").out
    with Database(known, pool_size=1).session() as connection:
        how = connection.exec_driver_sql(
            "SELECT s.ssl, r.rolsuper FROM pg_stat_ssl s, pg_roles r "
            "WHERE s.pid = pg_backend_pid() AND r.rolname = current_user"
        ).one()
        assert tuple(how) == (True, False)
    with psycopg.connect(guarded.server.dsn()) as admin:
        query = "SELECT rolpassword LIKE 'SCRAM-SHA-256$%%' FROM pg_authid WHERE rolname = %s"
        assert admin.execute(query, (OWNER,)).fetchone() == (True,)


@pytest.mark.parametrize(
    ("query", "password", "why"),
    [
        ("sslmode=verify-full&sslrootcert={ca}", "guessed", "password authentication failed"),
        ("sslmode=verify-full&sslrootcert={another}", PASSWORD, "certificate verify failed"),
        ("sslmode=disable", PASSWORD, "no encryption"),
    ],
)
def test_who_is_not_let_in_is_told_why(
    guarded: Restartable, tls: Identity, tmp_path: Path, query: str, password: str, why: str
) -> None:
    authorities = {"ca": tls.ca, "another": prepare(tmp_path / "another").ca}
    refused = subprocess.run(
        [sys.executable, "-m", "consumers.cli.main", "migrate"],
        env=os.environ
        | {"ENI_LEDGER_POSTGRES__DSN": dsn(guarded, query.format(**authorities), password)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert refused.returncode == 1
    assert why in refused.stderr
    assert "ENI_LEDGER_POSTGRES__DSN" in refused.stderr, "the next step"
    assert password not in refused.stderr
    assert "Traceback" not in refused.stderr
