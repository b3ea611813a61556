"""`eni-ledger archive`, and the how-to page about it, step by step as it stands."""

import json
import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import psycopg
import psycopg.conninfo
import pytest

from deploy.local.parts.postgres import psql_path
from ledger.store.feed import stamp
from ledger.store.seal import seal
from tests.integration.commands import Say
from tests.simulation.ground import START
from tests.simulation.world import SimulatedWorld

PAGE = Path(__file__).parents[3] / "deploy/howto/retention.md"


@pytest.fixture
def old(world: SimulatedWorld) -> SimulatedWorld:
    """The world, sealed, a hundred days later; web-2's reservation runs out then, web-0 and -1 live."""
    sealed(world)
    world.advance(timedelta(days=100))
    return world


def sealed(world: SimulatedWorld, per_seal: int = 5) -> None:
    with world.database.transaction() as connection:
        while stamp(connection):
            pass
        while seal(connection, per_seal):
            pass


def test_a_dry_run_moves_nothing_and_says_what_would(old: SimulatedWorld, say: Say) -> None:
    entries = old.ground.rows("SELECT count(*) FROM ledger.entry")
    said = say("archive", "--before", "90d", "--dry-run")
    assert said.code == 0
    assert re.search(r"\d+ entries would move to 1 archives, from entry_1_\d+", said.out)
    assert "3 allocations would be carried forward" in said.out
    assert old.ground.rows("SELECT count(*) FROM ledger.entry") == entries
    assert say("archive", "--list").out.strip() == "nothing was archived"


def test_it_moves_lists_and_has_nothing_to_do_again(old: SimulatedWorld, say: Say) -> None:
    told = json.loads(say("archive", "--before", "90d", "--json", "--at-most", "30").out)
    assert len(told["archives"]) > 1
    assert told["carried_forward"] == 3
    listed = json.loads(say("archive", "--list", "--json").out)
    assert [each["name"] for each in listed] == [each["name"] for each in told["archives"]]
    assert all(each["here"] for each in listed)
    assert "attached" in say("archive", "--list").out
    again = say("archive", "--before", "90d")
    assert (again.code, "nothing that is older" in again.out) == (0, True)
    for command in (["verify", "--seal"], ["rebuild", "--check"], ["rebuild", "--with-archive"]):
        assert say(*command).code == 0, command
    # Carried forward shows in the story, as a line and not as a page of state.
    story = say("audit", "pod", "example/web-0", "--story").out
    assert "carried-forward  older entries were archived; phase=bound" in story
    old.settle(10)
    old.check_promises()


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--before", "1h"], "less than 1 day ago"),
        (["--before", "soon"], "is no time"),
        ([], "give --before AGE"),
        (["--list", "--dry-run"], "goes with neither"),
    ],
)
def test_what_it_refuses(old: SimulatedWorld, say: Say, arguments: list[str], why: str) -> None:
    said = say("archive", *arguments)
    assert said.code == (1 if "1h" in arguments else 2)
    assert why in " ".join(said.err.replace("│", " ").split())


@pytest.mark.parametrize("role", ["eni_ledger_writer", "eni_ledger_reconciler"])
def test_p7_only_the_owner_archives(old: SimulatedWorld, say: Say, role: str) -> None:
    name = psycopg.conninfo.conninfo_to_dict(old.dsn)["dbname"]
    setting = f'ALTER ROLE postgres IN DATABASE "{name}"'
    with psycopg.connect(old.dsn, autocommit=True) as connection:
        connection.execute(f"GRANT SELECT ON ledger.virtual_clock TO {role}")
        connection.execute(f"{setting} SET role = '{role}'")
        try:
            said = say("archive", "--before", "90d")
        finally:
            connection.execute(f"{setting} RESET role")
    assert (said.code, "only the schema's owner may move entries" in said.err) == (1, True)
    with psycopg.connect(old.dsn, autocommit=True, options=f"-c role={role}") as connection:
        for statement in (
            "INSERT INTO ledger.archived_entry SELECT 1, * FROM ledger.entry LIMIT 1",
            "INSERT INTO ledger.archived_story (allocation_id) VALUES (gen_random_uuid())",
            "INSERT INTO ledger.archive (name) VALUES ('entry_1_2')",
            "DELETE FROM ledger.feed",
            "DELETE FROM ledger.entry",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement)


def moved_away(world: SimulatedWorld) -> None:
    with psycopg.connect(world.dsn, autocommit=True) as owner:
        for (name,) in owner.execute("SELECT archive FROM audit.archives").fetchall():
            owner.execute(f"ALTER TABLE ledger.archived_entry DETACH PARTITION ledger.{name}")


def test_p6_what_a_moved_archive_told_is_missing_and_never_nobody(
    old: SimulatedWorld, say: Say
) -> None:
    then = (START + timedelta(minutes=5)).isoformat()
    ip = say("audit", "pod", "example/web-2").out.split(":", 2)[0].split()[-1]
    held = json.loads(say("audit", "ip", ip, "--at", then, "--json").out)
    groups = say("audit", "security-group", "sg-bpxxxx", "--at", then)
    assert groups.code == 0
    assert say("archive", "--before", "90d").code == 0
    assert json.loads(say("audit", "ip", ip, "--at", then, "--json").out) == held
    assert say("audit", "security-group", "sg-bpxxxx", "--at", then) == groups
    moved_away(old)
    said = say("audit", "ip", ip, "--at", then)
    assert "web-2" in said.out
    assert "kept in archive entry_1_" in said.out
    assert (said.code, "which was moved away" in said.out) == (1, True)
    assert "bring it back and attach it" in said.err
    for question in (
        ["audit", "pod", "example/web-2"], ["audit", "security-group", "sg-bpxxxx"], ["reservations"],
    ):  # fmt: skip
        said = say(*question, "--at", then)
        assert (said.code, "moved away" in said.err) == (1, True), question
        assert "held nothing" not in said.err
    # What holds now needs no archive: it was carried forward.
    now = say("audit", "security-group", "sg-bpxxxx")
    assert (now.code, "web-0" in now.out, "web-1" in now.out) == (0, True, True)
    assert "entries 1 to" in say("audit", "pod", "example/web-0", "--story").out
    assert say("reservations").code == 0
    refused = say("rebuild", "--check", "--with-archive")
    assert (refused.code, "was moved away" in refused.err) == (1, True)
    verified = say("verify", "--seal")
    assert verified.code == 0
    assert "kept in entry_1_" in verified.out


def steps() -> Iterator[str]:
    """The page's commands in order: each of ours alone, what stands between them as one script."""
    for block in re.findall(r"^```sh\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL):
        script = ""
        for line in block.splitlines(keepends=True):
            if line.startswith("eni-ledger "):
                if script:
                    yield script
                script = ""
                yield line.strip()
            else:
                script += line
        if script:
            yield script


def test_every_command_of_the_page_does_what_it_says(
    old: SimulatedWorld, say: Say, tmp_path: Path
) -> None:
    """Ours in this process, which takes no second to start; the rest by a shell."""
    tools = {**os.environ, "PATH": f"{psql_path().parent}:{os.environ['PATH']}"}
    outputs = []
    for step in steps():
        if step.startswith("eni-ledger "):
            said = say(*shlex.split(step)[1:])
            assert said.code == 0, (step, said)
            outputs.append(said.out)
            continue
        ran = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", step],
            cwd=tmp_path, env=tools, capture_output=True, text=True, timeout=240, check=False,
        )  # fmt: skip
        assert ran.returncode == 0, (step, ran.stdout, ran.stderr)
        if "pg_dump" in step:
            assert old.ground.rows("SELECT count(*) FROM ledger.archived_entry") == [(0,)]
    dry, done, listed, proved, _, without, _, back, _ = outputs
    assert "would move" in dry
    assert "moved to 1 archives" in done
    assert "attached" in listed
    assert "every entry is sealed" in proved or "not sealed yet" in proved
    assert "which was moved away" in without
    assert "moved away" not in back
    assert old.ground.rows("SELECT count(*) > 0 FROM ledger.archived_entry") == [(True,)]
    for change in (
        "UPDATE ledger.archived_entry SET kind = 'x'",
        "DELETE FROM ledger.archived_entry",
    ):
        with pytest.raises(psycopg.errors.RestrictViolation), psycopg.connect(old.dsn) as owner:
            owner.execute(change)
