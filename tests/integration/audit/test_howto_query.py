"""The page "Ask the ledger": each command and each query on it, on a ledger that lived a little."""

import re
from pathlib import Path

import psycopg

from ledger.store.feed import stamp
from ledger.store.seal import seal
from tests.integration.audit.test_audit_command import address
from tests.integration.commands import Say
from tests.simulation.world import SimulatedWorld
from tests.unit.test_documents import commands_of

PAGE = (Path(__file__).parents[3] / "deploy/howto/query.md").read_text()
#: Asks the API server as well: tests/integration/admission/test_explain.py.
ELSEWHERE = ["explain"]


def as_in(world: SimulatedWorld, text: str) -> str:
    """The page's example addresses, as they are in this world."""
    held = address(world, "web-0")
    return text.replace("192.168.0.3", held.ipv4).replace("00:16:3e:00:00:01", held.mac)


def test_every_command_of_the_page_answers(world: SimulatedWorld, say: Say) -> None:
    with world.database.transaction() as connection:  # as a reconciler does every second
        stamp(connection)
        seal(connection)
    shown = [words[1:] for words in commands_of(PAGE) if "…" not in words]
    asked = [words for words in shown if words[0] not in ELSEWHERE]
    assert len(asked) >= 15
    for words in asked:
        told = say(*(as_in(world, word) for word in words))
        assert told.code == 0, (words, told)
        assert told.out.strip(), words


def test_every_query_of_the_page_answers(world: SimulatedWorld) -> None:
    [block] = re.findall(r"```sql\n(.*?)```", PAGE, re.DOTALL)
    queries = [query for query in as_in(world, block).split(";") if query.strip()]
    with psycopg.connect(world.dsn) as connection:
        for query in queries:
            rows = connection.execute(query.encode()).fetchall()
            assert rows or "ip_owner_at" in query, query
