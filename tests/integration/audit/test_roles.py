"""The README's table of database roles: what it names for a role, that role may do."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from ledger.store.feed import stamp
from ledger.store.seal import seal
from tests.integration.commands import Say
from tests.simulation.world import SimulatedWorld

README = (Path(__file__).parents[3] / "README.md").read_text()
#: Role -> what its row names -> how it is given here. Exit code 1: there is something to look at.
GIVEN: dict[str, dict[str, tuple[str, ...]]] = {
    "eni_ledger_writer": {
        "pause": ("pause destructive",),
        "resume": ("resume destructive",),
        "release": ("release example/web-2 --reason r",),
        "security-groups": ("security-groups example/web-0 sg-1 --reason r",),
        "dlq": ("dlq list",),
        "rebuild --check": ("rebuild --check",),
    },
    "eni_ledger_reconciler": {
        "verify": ("verify",),
        "verify --seal": ("verify --seal",),
        "verify --repair": ("verify --repair",),
        "verify --accept": ("verify --accept",),
    },
    "eni_ledger_auditor": {
        "audit": ("audit ip 192.168.0.3", "audit pod example/web-0 --story", "audit capacity"),
        "reservations": ("reservations",),
        "verify --export-head": ("verify --export-head",),
    },
}
#: As `eni_ledger_reconciler`, in a cluster: tests/integration/takeover/test_howto.py.
ELSEWHERE = {"adopt", "shadow report", "handover"}


def named(role: str) -> set[str]:
    """The commands in a role's row."""
    [row] = re.findall(rf"^\| `{role}` \| (.*) \|$", README, re.MULTILINE)
    return set(re.findall(r"`([a-z][a-z -]*)`", row)) - {"audit.*"}


@contextmanager
def acting_as(world: SimulatedWorld, role: str) -> Iterator[None]:
    """New connections to the world's ledger have that role's rights and no others."""
    name = psycopg.conninfo.conninfo_to_dict(world.dsn)["dbname"]
    setting = f'ALTER ROLE postgres IN DATABASE "{name}"'
    with psycopg.connect(world.dsn, autocommit=True) as connection:
        # The world's clock, which the ledger's own does not need, is a table.
        connection.execute(f"GRANT SELECT ON ledger.virtual_clock TO {role}")
        connection.execute(f"{setting} SET role = '{role}'")
        try:
            yield
        finally:
            connection.execute(f"{setting} RESET role")


@pytest.mark.parametrize("role", GIVEN)
def test_each_role_may_do_what_the_readme_says(world: SimulatedWorld, say: Say, role: str) -> None:
    assert named(role) - ELSEWHERE == set(GIVEN[role])
    with world.database.transaction() as connection:
        stamp(connection)
        seal(connection)
    with acting_as(world, role):
        for command in (each for commands in GIVEN[role].values() for each in commands):
            said = say(*command.split())
            assert "permission denied" not in said.err, (command, said)
            assert said.code == 0 or (said.code == 1 and command.startswith("verify")), said
            assert said.out + said.err, command
