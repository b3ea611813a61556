"""What commands on the ledger share: opening it, times as people write them, and printing answers."""

import dataclasses
import getpass
import json
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.table import Table
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, OperationalError

from consumers.cli.errors import CommandError
from consumers.runtime.settings import Settings, load_settings
from ledger.rules.durations import DurationError, parse_go_duration
from ledger.store.database import Database, ledger_now


@contextmanager
def opened(settings: Settings, *, snapshot: bool = False) -> Iterator[Connection]:
    """One transaction on the ledger of the settings; failures become CommandErrors.

    `snapshot`: every statement sees the same moment, and none can write.
    """
    database = Database(settings.postgres.dsn.get_secret_value(), pool_size=1)
    try:
        with database.snapshot() if snapshot else database.transaction() as connection:
            yield connection
    except OperationalError as unavailable:
        raise CommandError(
            f"PostgreSQL can't be used: {unavailable.orig}. Set ENI_LEDGER_POSTGRES__DSN to the "
            "ledger's DSN, and see that the server runs"
        ) from unavailable
    except DBAPIError as refused:
        state = getattr(refused.orig, "sqlstate", "")
        if state in ("3F000", "42P01", "42883"):
            raise CommandError(
                "the database has no schema of ours: run `eni-ledger migrate`"
            ) from refused
        raise CommandError(f"PostgreSQL refused: {refused.orig}") from refused
    finally:
        database.close()


def ledger_settings() -> Settings:
    """The settings, with a cluster id. Raises CommandError without one."""
    settings = load_settings()
    if not settings.cluster_id:
        raise CommandError("no cluster id: set ENI_LEDGER_CLUSTER_ID to the ACK cluster's id")
    return settings


def who() -> str:
    """Who gives the command, as far as this machine knows."""
    return f"{getpass.getuser()}@{socket.gethostname()}"


def moment(text: str | None, connection: Connection) -> datetime | None:
    """A time as people write it: ISO 8601 (UTC where it names no zone), or `<duration> ago`.

    Raises CommandError for anything else.
    """
    if text is None:
        return None
    if text.endswith(" ago"):
        try:
            return ledger_now(connection) - parse_go_duration(text.removesuffix(" ago").strip())
        except DurationError as wrong:
            raise CommandError(f"--at {text!r}: {wrong}; write for example '90m ago'") from wrong
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError as wrong:
        raise CommandError(
            f"--at {text!r} is no time: write 2026-01-31T14:03:00+08:00, or '90m ago'"
        ) from wrong
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def pod_name(text: str) -> tuple[str, str]:
    """`namespace/name`. Raises CommandError for anything else."""
    namespace, slash, name = text.partition("/")
    if not slash or not namespace or not name or "/" in name:
        raise CommandError(f"{text!r} is no Pod: write NAMESPACE/NAME, for example shop/web-0")
    return namespace, name


def print_json(answer: Any) -> None:
    """An answer for programs: dataclasses as objects, times in ISO 8601."""
    sys.stdout.write(json.dumps(_plain(answer), default=str, indent=2, ensure_ascii=False) + "\n")


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """An answer for people."""
    table = Table(title=title, title_justify="left", expand=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*row)
    Console(soft_wrap=False).print(table)


def local(moment_: datetime | None, otherwise: str = "") -> str:
    """A time in the user's zone, to the second."""
    return moment_.astimezone().strftime("%Y-%m-%d %H:%M:%S %Z") if moment_ else otherwise


def _plain(answer: Any) -> Any:
    if dataclasses.is_dataclass(answer) and not isinstance(answer, type):
        return {name: _plain(value) for name, value in dataclasses.asdict(answer).items()}
    if isinstance(answer, list | tuple):
        return [_plain(item) for item in answer]
    if isinstance(answer, dict):
        return {key: _plain(value) for key, value in answer.items()}
    if isinstance(answer, datetime):
        return answer.isoformat()
    return answer
