"""The code of the revision before must run on the new schema (migrations/README.md): what it reads,
writes, calls and may do is still there after each step, and nothing new refuses what it writes."""

from collections.abc import Mapping

import pytest
from sqlalchemy import Connection, text

from ledger.store import migrate
from ledger.store.database import Database

#: What old code can name, each with what it relies on. One row: (name, what must stay as it is).
USABLE: Mapping[str, str] = {
    "column": """
        SELECT format('%I.%I.%I', table_schema, table_name, column_name), data_type
        FROM information_schema.columns WHERE table_schema IN ('ledger', 'audit')""",
    "function": """
        SELECT format('%I.%I(%s)', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid)),
               pg_get_function_result(p.oid)
        FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
        WHERE n.nspname IN ('ledger', 'audit')""",
    "right": """
        SELECT format('%s: %s on %I.%I', grantee, privilege_type, table_schema, table_name), ''
        FROM information_schema.role_table_grants
        WHERE grantee LIKE 'eni\\_ledger\\_%' AND table_schema IN ('ledger', 'audit')""",
    "right on a function": """
        SELECT format('%s: EXECUTE on %I.%I', grantee, routine_schema, routine_name), ''
        FROM information_schema.role_routine_grants
        WHERE grantee LIKE 'eni\\_ledger\\_%' AND routine_schema IN ('ledger', 'audit')""",
    "conflict target": """
        SELECT format('%s (%s)', i.indrelid::regclass,
                      string_agg(pg_get_indexdef(i.indexrelid, k.n::int, true), ', ' ORDER BY k.n)),
               coalesce(pg_get_expr(i.indpred, i.indrelid), '')
        FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
        CROSS JOIN LATERAL generate_series(1, i.indnkeyatts) k(n)
        WHERE i.indisunique AND c.relnamespace = 'ledger'::regnamespace
        GROUP BY i.indexrelid, i.indrelid, i.indpred""",
}
#: What could refuse a row of old code. One row: (name, table).
REFUSING: Mapping[str, str] = {
    "needed column": """
        SELECT format('%I.%I', table_name, column_name), table_name
        FROM information_schema.columns
        WHERE table_schema = 'ledger' AND is_nullable = 'NO' AND column_default IS NULL
          AND is_identity = 'NO' AND is_generated = 'NEVER'""",
    "constraint": """
        SELECT format('%I: %s', c.relname, pg_get_constraintdef(k.oid)), c.relname
        FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
        WHERE c.relnamespace = 'ledger'::regnamespace AND k.contype IN ('c', 'f', 'u', 'x')""",
    "unique index": """
        SELECT pg_get_indexdef(i.indexrelid), c.relname
        FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
        WHERE i.indisunique AND c.relnamespace = 'ledger'::regnamespace""",
    "trigger": """
        SELECT pg_get_triggerdef(t.oid), c.relname
        FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
        WHERE NOT t.tgisinternal AND c.relnamespace = 'ledger'::regnamespace""",
}


def looked_up(connection: Connection, queries: Mapping[str, str]) -> dict[str, dict[str, str]]:
    return {
        what: {str(name): str(value) for name, value in connection.execute(text(query))}
        for what, query in queries.items()
    }


def lost(before: dict[str, dict[str, str]], after: dict[str, dict[str, str]]) -> list[str]:
    """What old code used and does not find any more, or finds otherwise."""
    return [
        f"{what}: {name}"
        for what, found in before.items()
        for name, value in found.items()
        if after[what].get(name) != value
    ]


def stricter(
    before: dict[str, dict[str, str]], after: dict[str, dict[str, str]], tables: set[str]
) -> list[str]:
    """What refuses rows of tables that were there before, and did not."""
    return [
        f"{what}: {name}"
        for what, found in after.items()
        for name, table in found.items()
        if name not in before[what] and table in tables
    ]


#: Looked at one by one: why the code of the revision before is not hindered by it.
HARMLESS: Mapping[str, tuple[str, ...]] = {
    # Of a kind of entry that only newer code writes.
    "0004": ("unique index: CREATE UNIQUE INDEX entry_missed_once ",),
    # The check that was there, with one kind more.
    "0005": ("constraint: work: CHECK ((kind = ANY ",),
    "0007": ("constraint: quarantine: CHECK ((kind = ANY ",),
    # No code of ours truncates.
    "0008": ("trigger: CREATE TRIGGER feed_is_never_truncated BEFORE TRUNCATE ",),
    # More columns at the end; columns are read by name.
    "0009": ("function: audit.ip_owner_at(", "function: audit.timeline("),
    # The triggers that were there, which now let go of what is archived, and refuse nothing more.
    "0011": (
        "trigger: CREATE TRIGGER entry_is_append_only ",
        "trigger: CREATE TRIGGER feed_is_append_only ",
    ),
    # No code of ours ever wrote an address with a mask, or one family into the other's column.
    "0013": tuple(
        f"constraint: {table}: CHECK (((family({column}) = "
        for table in ("allocation", "tenure")
        for column in ("ipv4", "ipv6")
    ),
}
TABLES = "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND relnamespace = 'ledger'::regnamespace"


def test_each_revision_only_adds(empty_database: str) -> None:
    revisions = sorted(migrate.revisions())
    migrate.upgrade(empty_database, revisions[1])  # 0002 gives the rights: before it nothing runs
    database = Database(empty_database, pool_size=1)
    wrong: dict[str, list[str]] = {}
    for revision in revisions[2:]:
        with database.session() as connection:
            usable, refusing = looked_up(connection, USABLE), looked_up(connection, REFUSING)
            tables = set(connection.exec_driver_sql(TABLES).scalars())
        migrate.upgrade(empty_database, revision)
        with database.session() as connection:
            found = lost(usable, looked_up(connection, USABLE))
            found += stricter(refusing, looked_up(connection, REFUSING), tables)
        explained = HARMLESS.get(revision, ())
        assert all(any(each.startswith(why) for each in found) for why in explained), revision
        found = [each for each in found if not each.startswith(explained)]
        if found:
            wrong[revision] = found
    database.close()
    assert wrong == {}


@pytest.mark.parametrize(
    ("statement", "complaint"),
    [
        ("ALTER TABLE ledger.work RENAME COLUMN attempt TO tries", "column: ledger.work.attempt"),
        ("ALTER TABLE ledger.brake ADD COLUMN needed text NOT NULL", "needed column: brake.needed"),
        (
            "REVOKE INSERT ON ledger.entry FROM eni_ledger_writer",
            "right: eni_ledger_writer: INSERT",
        ),
        ("ALTER TABLE ledger.entry ADD CHECK (kind <> 'x')", "constraint: entry: CHECK"),
    ],
)
def test_what_would_break_old_code_is_found(database: str, statement: str, complaint: str) -> None:
    with Database(database, pool_size=1).session() as connection:
        before = looked_up(connection, USABLE), looked_up(connection, REFUSING)
        tables = set(connection.exec_driver_sql(TABLES).scalars())
        connection.exec_driver_sql(statement)
        found = lost(before[0], looked_up(connection, USABLE))
        found += stricter(before[1], looked_up(connection, REFUSING), tables)
        connection.rollback()
    assert any(each.startswith(complaint) for each in found), found
