"""P7: what the owner of the database does to entries below the seal is found, and named."""

import random
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Connection

from deploy.local.parts.postgres import psql_path
from ledger.rules.seals import Unsealable
from ledger.store.database import Database
from ledger.store.feed import stamp
from ledger.store.seal import read_head, read_tail, seal
from ledger.store.tampering import FINDINGS_MAX, examine
from tests.integration.store.sealing import SealedLedger


@pytest.fixture
def ledger(database: str) -> Iterator[SealedLedger]:
    """Forty entries in four seals; entry n is at position n."""
    made = SealedLedger(database, entries=40)
    yield made
    made.close()


def test_p7_what_nobody_touched_is_whole(ledger: SealedLedger) -> None:
    verdict = ledger.verdict()
    assert verdict.findings == []
    assert (verdict.entries, verdict.seals) == (40, 4)
    assert verdict.sealed is not None
    assert verdict.sealed.upto == 40
    assert verdict.tail is not None
    assert (verdict.tail.sealed, verdict.tail.entries, verdict.tail.age) == (40, 0, None)


def test_p7_the_unsealed_tail_is_stated(ledger: SealedLedger) -> None:
    ledger.append(3)
    ledger.owner.execute(
        "INSERT INTO ledger.entry (cluster, kind, recorded_at, cause, data) "
        "VALUES ('c1', 'paused', ledger.now(), '{}', '{}')"
    )
    tail = ledger.verdict().tail
    assert tail is not None
    assert (tail.sealed, tail.fed, tail.entries) == (40, 43, 4)
    assert tail.age is not None
    assert timedelta() < tail.age < timedelta(seconds=60)
    assert ledger.findings() == []
    ledger.seal()
    assert ledger.verdict().entries == 43


def test_p7_a_tail_that_nobody_seals_is_a_finding(ledger: SealedLedger) -> None:
    ledger.owner.execute(
        "INSERT INTO ledger.entry (cluster, kind, recorded_at, cause, data) "
        "VALUES ('c1', 'paused', ledger.now() - interval '2 min', '{}', '{}')"
    )
    [unstamped] = ledger.findings()
    assert (unstamped.what, unstamped.position) == ("not sealed", 41)
    assert "no reconciler stamps" in unstamped.detail
    with ledger.database.transaction() as connection:
        stamp(connection)
    [unsealed] = ledger.findings()
    assert "no reconciler seals" in unsealed.detail


# ------------------------------------------------------------------------------ entries

EDITS = {
    "cluster": "cluster = 'c2'",
    "allocation_id": "allocation_id = gen_random_uuid()",
    "version": "version = version + 100",
    "kind": "kind = 'gone-refuted'",
    "recorded_at": "recorded_at = recorded_at + interval '1 microsecond'",
    "cause": "cause = jsonb_set(cause, '{share}', '0.30')",
    "data": "data = jsonb_set(data, '{found}', '\"replaced\"')",
}


@pytest.mark.parametrize("column", EDITS)
def test_p7_an_edited_column_is_named(ledger: SealedLedger, column: str) -> None:
    ledger.tamper(f"UPDATE ledger.entry SET {EDITS[column]} WHERE id = 17")
    [found] = ledger.findings()
    assert (found.what, found.position, found.entry) == ("edited", 17, 17)
    assert found.detail == f"{column} is not what was sealed"


@pytest.mark.parametrize("edit", ["recorded_at = 'infinity'", "cause = repeat('[', 5000)::jsonb"])
def test_p7_an_edit_that_nobody_can_read_is_named(ledger: SealedLedger, edit: str) -> None:
    edit = edit.replace("repeat('[', 5000)", "(repeat('[', 5000) || repeat(']', 5000))")
    ledger.tamper(f"UPDATE ledger.entry SET {edit} WHERE id = 17")
    assert ledger.told() == [("edited", 17, 17)]


def test_p7_a_trigger_is_no_hindrance_and_the_edit_is_still_found(ledger: SealedLedger) -> None:
    """The way of an owner without superuser."""
    ledger.owner.execute("ALTER TABLE ledger.entry DISABLE TRIGGER entry_is_append_only")
    ledger.owner.execute("UPDATE ledger.entry SET data = data || '{\"n\": 0}' WHERE id IN (3, 33)")
    ledger.owner.execute("ALTER TABLE ledger.entry ENABLE TRIGGER entry_is_append_only")
    assert ledger.told() == [("edited", 3, 3), ("edited", 33, 33)]


def test_p7_a_deleted_entry_is_named(ledger: SealedLedger) -> None:
    ledger.tamper("DELETE FROM ledger.entry WHERE id = 17")
    assert ledger.told() == [("gone", 17, 17)]
    ledger.tamper("DELETE FROM ledger.feed WHERE position = 17")
    [found] = ledger.findings()
    assert (found.what, found.position, found.entry) == ("gone", 17, 17)
    assert found.detail == "nothing stands at its position"


def test_p7_an_entry_taken_out_of_the_feed_is_named_once(ledger: SealedLedger) -> None:
    ledger.tamper("DELETE FROM ledger.feed WHERE position = 17")
    [found] = ledger.findings()
    assert (found.what, found.position, found.entry) == ("gone", 17, 17)
    assert "the entry is there, its feed row is not" in found.detail


def test_p7_the_first_and_the_last_sealed_entry_can_go_no_more_than_others(
    ledger: SealedLedger,
) -> None:
    ledger.tamper(
        "DELETE FROM ledger.entry WHERE id IN (1, 40)",
        "DELETE FROM ledger.feed WHERE entry_id IN (1, 40)",
    )
    assert ledger.told() == [("gone", 1, 1), ("gone", 40, 40)]


PUT_IN = (
    "INSERT INTO ledger.entry OVERRIDING SYSTEM VALUE "
    "SELECT 1000, cluster, allocation_id, 999, kind, recorded_at, cause, data "
    "FROM ledger.entry WHERE id = 17"
)


def test_p7_an_entry_put_in_the_place_of_another_is_named(ledger: SealedLedger) -> None:
    ledger.tamper(PUT_IN, "UPDATE ledger.feed SET entry_id = 1000 WHERE position = 17")
    assert ledger.told() == [("gone", 17, 17), ("put in", 17, 1000)]


def test_p7_an_entry_put_between_others_is_named_with_what_it_displaced(
    ledger: SealedLedger,
) -> None:
    ledger.tamper(
        PUT_IN,
        "UPDATE ledger.feed SET position = position + 1000 WHERE position >= 17",
        "UPDATE ledger.feed SET position = position - 999 WHERE position > 1000",
        "INSERT INTO ledger.feed (position, entry_id) VALUES (17, 1000)",
    )
    moved, put_in = ledger.findings()
    assert (moved.what, moved.position, moved.entry) == ("moved", 17, 17)
    assert moved.detail == "with it all up to position 40 stand 1 later than sealed"
    assert (put_in.what, put_in.position, put_in.entry) == ("put in", 17, 1000)


def test_p7_a_gap_that_was_closed_is_found(ledger: SealedLedger) -> None:
    ledger.tamper(
        "DELETE FROM ledger.feed WHERE position = 17",
        "DELETE FROM ledger.entry WHERE id = 17",
        "UPDATE ledger.feed SET position = position + 1000 WHERE position > 17",
        "UPDATE ledger.feed SET position = position - 1001 WHERE position > 1000",
        "UPDATE ledger.entry SET data = '{}' WHERE id = 30",
    )
    gone, moved, edited, moved_too = ledger.findings()
    assert (gone.what, gone.position, gone.entry) == ("gone", 17, 17)
    assert (moved.what, moved.position) == ("moved", 18)
    assert moved.detail == "with it all up to position 29 stand 1 earlier than sealed"
    assert (edited.what, edited.position, edited.entry) == ("edited", 30, 30)
    assert "it stands at position 29 now; data is not what was sealed" in edited.detail
    assert (moved_too.what, moved_too.position) == ("moved", 31)


def test_p7_two_entries_that_changed_places_are_found(ledger: SealedLedger) -> None:
    ledger.tamper(
        "UPDATE ledger.feed SET position = 1000 WHERE position = 5",
        "UPDATE ledger.feed SET position = 5 WHERE position = 35",
        "UPDATE ledger.feed SET position = 35 WHERE position = 1000",
    )
    assert ledger.told() == [("moved", 5, 5), ("moved", 35, 35)]


def test_p7_an_entry_that_no_reader_of_the_feed_sees_is_named(ledger: SealedLedger) -> None:
    """`rebuild` and the audit read `entry`: what was put in past the feed counts there."""
    ledger.tamper(PUT_IN)
    assert ledger.told() == [("put in", None, 1000)]


def test_p7_a_position_before_the_first_and_one_taken_twice_are_found(ledger: SealedLedger) -> None:
    ledger.owner.execute(
        "ALTER TABLE ledger.feed DROP CONSTRAINT feed_pkey, DROP CONSTRAINT feed_position_check, "
        "DROP CONSTRAINT feed_entry_id_key"
    )
    ledger.tamper(PUT_IN, "INSERT INTO ledger.feed (position, entry_id) VALUES (0, 1000)")
    assert ledger.told() == [("put in", 0, 1000)]
    ledger.tamper("UPDATE ledger.feed SET position = 17 WHERE entry_id = 1000")
    assert ledger.told() == [("put in", 17, 1000)]
    ledger.tamper("UPDATE ledger.feed SET position = 40 WHERE entry_id = 1000")
    assert ledger.told() == [("put in", 40, 1000)]


# ------------------------------------------------------------------------------ seals


def test_p7_an_edited_seal_is_found(ledger: SealedLedger) -> None:
    ledger.tamper("UPDATE ledger.seal SET sealed_at = sealed_at - interval '1 day' WHERE upto = 20")
    assert ledger.told() == [("seal edited", 20, None)]


def test_p7_a_row_hash_made_to_fit_is_found_with_the_row(ledger: SealedLedger) -> None:
    ledger.tamper(
        "UPDATE ledger.seal SET row_hashes = overlay(row_hashes placing '\\x00' from 200)"
    )
    assert ledger.told() == [
        ("seal edited", 10, None),
        ("edited", 7, 7),
        ("seal edited", 20, None),
        ("edited", 17, 17),
        ("seal edited", 30, None),
        ("edited", 27, 27),
        ("seal edited", 40, None),
        ("edited", 37, 37),
    ]


def test_p7_a_seal_that_is_none_any_more_is_found(ledger: SealedLedger) -> None:
    ledger.owner.execute("ALTER TABLE ledger.seal DROP CONSTRAINT seal_check2")
    ledger.tamper("UPDATE ledger.seal SET entry_ids = '{}' WHERE upto = 20")
    assert ledger.told() == [("seal edited", 20, None), ("seal missing", 11, None)]


def test_p7_a_missing_seal_is_found(ledger: SealedLedger) -> None:
    ledger.tamper("DELETE FROM ledger.seal WHERE upto = 20")
    assert ledger.told() == [("seal missing", 11, None)]


def test_p7_a_seal_made_anew_over_an_edit_breaks_the_chain(ledger: SealedLedger) -> None:
    ledger.tamper(
        "UPDATE ledger.entry SET data = '{}' WHERE id = 33",
        "DELETE FROM ledger.seal WHERE upto > 30",
    )
    ledger.seal()
    assert ledger.findings() == []  # the end may be made anew: that is what kept heads are for
    ledger.append(10)
    ledger.seal()
    kept = ledger.owner.execute("SELECT * FROM ledger.seal WHERE upto = 50").fetchone()
    ledger.tamper(
        "UPDATE ledger.entry SET data = '{\"n\": 1}' WHERE id = 33",
        "DELETE FROM ledger.seal WHERE upto > 30",
        "DELETE FROM ledger.feed WHERE position > 40",
    )
    ledger.seal()
    ledger.tamper(
        "INSERT INTO ledger.seal VALUES (%s, %s, %s, %s, %s, %s, %s, %s)", parameters=kept
    )
    ledger.tamper("INSERT INTO ledger.feed SELECT id, id FROM ledger.entry WHERE id > 40")
    assert ledger.told() == [("chain broken", 41, None)]


def test_p7_recomputing_everything_is_found_against_a_kept_head(ledger: SealedLedger) -> None:
    kept = ledger.head()
    assert ledger.verdict(kept).agreeing == [kept]
    ledger.tamper("UPDATE ledger.entry SET data = '{}' WHERE id = 3", "DELETE FROM ledger.seal")
    ledger.seal()
    assert ledger.findings() == []
    assert ledger.told(kept) == [("head differs", None, None), ("head differs", 40, 40)]


def test_p7_of_several_heads_the_older_still_agree(ledger: SealedLedger) -> None:
    early = ledger.head()
    ledger.append(10)
    ledger.seal()
    late = ledger.head()
    ledger.append(10)
    ledger.seal(5)
    ledger.tamper(
        "UPDATE ledger.entry SET data = '{}' WHERE id = 44",
        "DELETE FROM ledger.seal WHERE upto > 40",
    )
    ledger.seal(4)
    verdict = ledger.verdict(late, early)
    assert verdict.agreeing == [early]
    [found] = verdict.findings
    assert (found.what, found.position) == ("head differs", 50)
    assert "ends a seal at 50, here one goes on to 52" in found.detail


def test_p7_a_restored_backup_is_found_against_a_kept_head(ledger: SealedLedger) -> None:
    ledger.append(5)
    ledger.seal()
    kept = ledger.head()
    ledger.tamper(
        "DELETE FROM ledger.seal WHERE upto > 40",
        "DELETE FROM ledger.feed WHERE position > 40",
        "DELETE FROM ledger.entry WHERE id > 40",
    )
    [found] = ledger.findings(kept)
    assert (found.what, found.position, found.entry) == ("head differs", 45, 45)
    assert "restored from a backup" in found.detail


def test_p7_seals_are_append_only_by_privilege_and_by_trigger(ledger: SealedLedger) -> None:
    changes = (
        "UPDATE ledger.seal SET sealed_at = ledger.now()",
        "DELETE FROM ledger.seal",
        "TRUNCATE ledger.seal",
        "TRUNCATE ledger.feed",
    )
    for change in changes:
        with pytest.raises(psycopg.errors.RestrictViolation, match="append-only"):
            ledger.owner.execute(change)
    for role in ("eni_ledger_writer", "eni_ledger_reconciler", "eni_ledger_auditor"):
        with ledger.owner.transaction(force_rollback=True):
            ledger.owner.execute(f"SET LOCAL ROLE {role}")
            for change in changes:
                with (
                    pytest.raises(psycopg.errors.InsufficientPrivilege),
                    ledger.owner.transaction(),
                ):
                    ledger.owner.execute(change)


def test_p7_each_role_can_do_its_part(ledger: SealedLedger, database: str) -> None:
    kept = ledger.head()
    ledger.append(5)

    @contextmanager
    def acting_as(role: str) -> Iterator[Connection]:
        own = Database(database, pool_size=1)
        with own.transaction() as connection:
            connection.exec_driver_sql(f"SET LOCAL ROLE {role}")
            yield connection
        own.close()

    with acting_as("eni_ledger_auditor") as auditor:
        head = read_head(auditor, "c1")
    assert head is not None
    assert (head.position, head.entry, head.hash) == (kept.position, kept.entry, kept.hash)
    with acting_as("eni_ledger_reconciler") as reconciler:
        assert seal(reconciler) is not None
        assert examine(reconciler, [kept]).findings == []
    with acting_as("eni_ledger_writer") as writer:
        verdict = examine(writer, [kept])
    assert (verdict.findings, verdict.entries) == ([], 45)


def test_p7_seals_survive_dump_and_restore(
    ledger: SealedLedger, database: str, empty_database: str, tmp_path: Path
) -> None:
    kept, dump = ledger.head(), tmp_path / "dump.sql"
    tools = psql_path().parent
    subprocess.run([tools / "pg_dump", "--dbname", database, "--file", dump], check=True)
    restore = ["--quiet", "--no-psqlrc", "-v", "ON_ERROR_STOP=1", "--file", str(dump)]
    subprocess.run([tools / "psql", "--dbname", empty_database, *restore], check=True)
    restored = SealedLedger(empty_database)
    verdict = restored.verdict(kept)
    assert (verdict.findings, verdict.entries, verdict.agreeing) == ([], 40, [kept])
    restored.append(3)
    restored.seal()
    assert restored.verdict(kept).entries == 43
    restored.close()


# ------------------------------------------------------------------------------ the sealer


def test_p7_the_sealer_refuses_what_is_no_feed_and_names_it(ledger: SealedLedger) -> None:
    ledger.append(3)
    ledger.tamper("DELETE FROM ledger.entry WHERE id = 42")
    with (
        pytest.raises(Unsealable, match="position 42: entry 42 is gone"),
        ledger.database.transaction() as connection,
    ):
        seal(connection)
    ledger.tamper("DELETE FROM ledger.feed WHERE position = 42")
    with (
        pytest.raises(Unsealable, match="from position 41 to 43"),
        ledger.database.transaction() as connection,
    ):
        seal(connection)


def test_p7_sealers_at_once_make_one_chain(database: str) -> None:
    """Four sealers and a sequencer, while entries come in."""
    ledger = SealedLedger(database)
    stop = threading.Event()
    failures: list[Exception] = []

    def go_on(step: object) -> None:
        own = Database(database, pool_size=1)
        try:
            while not stop.is_set():
                with own.transaction() as connection:
                    step(connection)  # type: ignore[operator]
        except Exception as failed:  # noqa: BLE001 - told to the test's own thread
            failures.append(failed)
        finally:
            own.close()

    steps = [lambda c: seal(c, 3)] * 4 + [lambda c: stamp(c, 7)]
    threads = [threading.Thread(target=go_on, args=(step,)) for step in steps]
    for thread in threads:
        thread.start()
    for _ in range(60):
        ledger.append(5)
    for _ in range(2000):
        with ledger.database.transaction() as connection:
            if read_tail(connection).entries == 0:
                break
    stop.set()
    for thread in threads:
        thread.join()
    assert failures == []
    verdict = ledger.verdict()
    assert verdict.findings == []
    assert verdict.entries == 300
    ledger.close()


# ------------------------------------------------------------------------------ any tampering


def test_p7_after_a_thousand_findings_the_search_ends(database: str) -> None:
    ledger = SealedLedger(database, entries=FINDINGS_MAX + 50, per_seal=500)
    ledger.tamper("UPDATE ledger.entry SET kind = 'x'")
    verdict = ledger.verdict()
    assert len(verdict.findings) == FINDINGS_MAX
    assert verdict.stopped_at == 500 * (FINDINGS_MAX // 500 - 1)
    ledger.close()


@pytest.mark.parametrize("seed", range(12))
def test_p7_whatever_is_done_to_entries_is_located(database: str, seed: int) -> None:
    """Random sets of edits, deletions, replacements: exactly those are named, whatever the seals."""
    dice = random.Random(seed)
    ledger = SealedLedger(database, entries=60, per_seal=dice.randint(1, 25), seed=seed)
    victims = dice.sample(range(1, 61), dice.randint(1, 12))
    expected = set()
    for victim in victims:
        match dice.choice(("edit", "delete", "unfeed", "replace")):
            case "edit":
                edit = EDITS[dice.choice(("cluster", "kind", "recorded_at", "data"))]
                ledger.tamper(f"UPDATE ledger.entry SET {edit} WHERE id = {victim}")
                expected.add(("edited", victim, victim))
            case "delete":
                ledger.tamper(
                    f"DELETE FROM ledger.feed WHERE entry_id = {victim}",
                    f"DELETE FROM ledger.entry WHERE id = {victim}",
                )
                expected.add(("gone", victim, victim))
            case "unfeed":
                ledger.tamper(f"DELETE FROM ledger.feed WHERE entry_id = {victim}")
                expected.add(("gone", victim, victim))
            case "replace":
                ledger.tamper(
                    "INSERT INTO ledger.entry OVERRIDING SYSTEM VALUE SELECT id + 1000, cluster, "
                    "gen_random_uuid(), 1, kind, recorded_at, cause, data "
                    f"FROM ledger.entry WHERE id = {victim}",
                    f"UPDATE ledger.feed SET entry_id = {victim + 1000} WHERE entry_id = {victim}",
                )
                expected |= {("gone", victim, victim), ("put in", victim, victim + 1000)}
    told = ledger.told()
    assert set(told) == expected
    assert len(told) == len(expected)
    ledger.close()
