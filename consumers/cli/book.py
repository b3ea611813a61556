"""What commands on the ledger share: opening it, Pods and times as people write them, and answers."""

import dataclasses
import getpass
import json
import os
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.table import Table
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError, OperationalError

from consumers.cli.errors import CommandError, WrongUsage
from consumers.cli.times import MomentError, read_moment
from consumers.runtime.settings import Settings, load_settings
from ledger.store.database import Database


@contextmanager
def opened(settings: Settings, *, snapshot: bool = False) -> Iterator[Connection]:
    """One transaction on the ledger of the settings; failures become CommandErrors.

    `snapshot`: every statement sees the same moment, and none can write.
    """
    with (
        opened_database(settings) as database,
        database.snapshot() if snapshot else database.transaction() as connection,
    ):
        yield connection


@contextmanager
def opened_database(settings: Settings) -> Iterator[Database]:
    """The ledger of the settings, for one transaction after another; failures become CommandErrors."""
    database = Database(settings.postgres.dsn.get_secret_value(), pool_size=1)
    try:
        yield database
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
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # in a container nobody has the process's uid
        name = f"uid-{os.getuid()}"
    return f"{name}@{socket.gethostname()}"


def moment(option: str, text: str | None, now: datetime) -> datetime | None:
    """The time an option was given; says on stderr which zone was taken where it names none.

    Raises WrongUsage for what is no time.
    """
    if text is None:
        return None
    try:
        read = read_moment(text, now)
    except MomentError as wrong:
        raise WrongUsage(f"--{option} {wrong}") from wrong
    if read.assumed:
        sys.stderr.write(f"--{option} {text} names no zone; in yours it is {local(read.at)}\n")
    return read.at


def pod_name(text: str) -> tuple[str, str]:
    """`namespace/name`. Raises WrongUsage for anything else."""
    namespace, slash, name = text.partition("/")
    if not slash or not namespace or not name or "/" in name:
        raise WrongUsage(f"{text!r} is no Pod: write NAMESPACE/NAME, for example shop/web-0")
    return namespace, name


def print_json(answer: Any) -> None:
    """An answer for programs: dataclasses as objects, times in ISO 8601."""
    sys.stdout.write(json.dumps(plain(answer), default=str, indent=2, ensure_ascii=False) + "\n")


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


def plain(answer: Any) -> Any:
    """An answer as JSON has it: dataclasses as objects, times in ISO 8601."""
    if dataclasses.is_dataclass(answer) and not isinstance(answer, type):
        return {name: plain(value) for name, value in dataclasses.asdict(answer).items()}
    if isinstance(answer, list | tuple):
        return [plain(item) for item in answer]
    if isinstance(answer, dict):
        return {key: plain(value) for key, value in answer.items()}
    if isinstance(answer, datetime):
        return answer.isoformat()
    return answer
