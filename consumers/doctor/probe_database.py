"""Looks at PostgreSQL: the server, our schema and clock, who we are to it, and who keeps a copy."""

from collections.abc import Callable
from contextlib import closing
from typing import Final

from sqlalchemy import Connection

from consumers.doctor.attempts import attempt
from consumers.doctor.facts import (
    DatabaseFacts,
    Login,
    Look,
    Server,
    Standby,
    Thing,
    Unseen,
    blind,
)
from consumers.runtime.settings import PostgresSettings
from ledger.store.database import Database
from ledger.store.guard import check_clock, check_schema
from ledger.store.places import known_cluster_uid

ROLES: Final = ("eni_ledger_writer", "eni_ledger_reconciler", "eni_ledger_auditor")
#: What decides whether a commit that was acknowledged survives a crash.
DURABILITY: Final = ("fsync", "full_page_writes", "synchronous_commit")
#: A standby in one of these states has what was acknowledged.
_IN_STEP: Final = ("sync", "quorum")


def look_at_database(settings: PostgresSettings, cluster: str, facts: DatabaseFacts) -> None:
    """Fill in `facts`. Raises nothing: a look that fails says why. Each look is a transaction of
    its own: one that is refused must not end the others."""
    timeout = settings.statement_timeout_s
    dsn = settings.dsn.get_secret_value()
    with closing(Database(dsn, pool_size=1, statement_timeout_s=timeout)) as database:

        def looked(look: Callable[[Connection], Thing]) -> Look[Thing]:
            def once() -> Thing:
                with database.snapshot() as connection:
                    return look(connection)

            return attempt(once)

        facts.server = looked(_server)
        if isinstance(facts.server, Unseen):
            blind(facts, facts.server)
            return
        facts.schema = looked(check_schema)
        facts.login = looked(_login)
        facts.standby = looked(_standby)
        if facts.schema is None:
            facts.clock = looked(check_clock)
            facts.cluster_uid = looked(lambda connection: known_cluster_uid(connection, cluster))
        else:
            without = facts.schema if isinstance(facts.schema, Unseen) else Unseen(facts.schema)
            blind(facts, without)


def _server(connection: Connection) -> Server:
    version = connection.exec_driver_sql("SHOW server_version_num").scalar_one()
    settings = {
        name: str(connection.exec_driver_sql(f"SHOW {name}").scalar_one()) for name in DURABILITY
    }
    recovering = connection.exec_driver_sql("SELECT pg_is_in_recovery()").scalar_one()
    return Server(int(version), settings, bool(recovering))


def _login(connection: Connection) -> Login:
    row = connection.exec_driver_sql(
        """
        SELECT current_user,
               (SELECT rolsuper FROM pg_roles WHERE rolname = current_user),
               coalesce((SELECT pg_has_role(current_user, relowner, 'MEMBER') FROM pg_class
                         WHERE oid = to_regclass('ledger.entry')), false),
               ARRAY(SELECT rolname::text FROM pg_roles
                     WHERE rolname = ANY (%(roles)s) AND pg_has_role(current_user, oid, 'MEMBER')
                     ORDER BY rolname),
               ARRAY(SELECT rolname::text FROM pg_roles WHERE rolname = ANY (%(roles)s))
        """,
        {"roles": list(ROLES)},
    ).one()
    name, superuser, owner, member, there = row
    missing = tuple(role for role in ROLES if role not in there)
    return Login(str(name), bool(superuser), bool(owner), frozenset(member), missing)


def _standby(connection: Connection) -> Standby:
    names = connection.exec_driver_sql("SHOW synchronous_standby_names").scalar_one()
    states = connection.exec_driver_sql("SELECT sync_state FROM pg_stat_replication").scalars()
    found = list(states)
    # Without pg_monitor the rows are there and their columns are empty.
    hidden = any(state is None for state in found)
    return Standby(str(names), None if hidden else sum(state in _IN_STEP for state in found))
