"""P7 at the command line: `verify --seal`, `--export-head`, `--head`, as a person and a cron job use them."""

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from ledger.store.feed import stamp
from ledger.store.seal import seal
from tests.integration.commands import Said, Say
from tests.simulation.world import CLUSTER, SimulatedWorld


@pytest.fixture
def sealed(world: SimulatedWorld) -> SimulatedWorld:
    """The world that lived a little, with the last entries stamped but not sealed."""
    with world.database.transaction() as connection:
        count = stamp(connection)
        seal(connection, count - 2)
    return world


def tamper(world: SimulatedWorld, statement: str) -> None:
    with psycopg.connect(world.dsn) as owner:
        owner.execute("SET LOCAL session_replication_role = replica")
        owner.execute(statement)


def findings(said: Said) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(said.out)["findings"]
    return found


def test_p7_a_whole_ledger_says_how_far_it_is_sealed(sealed: SimulatedWorld, say: Say) -> None:
    said = say("verify", "--seal")
    assert (said.code, said.err) == (0, "")
    assert "seals compared" in said.out
    assert "sealed up to position" in said.out
    assert "not sealed yet: 2 entries, the oldest" in said.out
    told = json.loads(say("verify", "--seal", "--json").out)
    assert told["findings"] == []
    assert told["tail"]["entries"] == 2
    assert told["sealed"]["position"] == told["entries"] > 10
    assert len(told["sealed"]["hash"]) == 64


def test_p7_an_edit_is_named_with_the_next_step(sealed: SimulatedWorld, say: Say) -> None:
    tamper(sealed, "UPDATE ledger.entry SET data = data || '{\"x\": 1}' WHERE id = 5")
    said = say("verify", "--seal")
    assert said.code == 1
    assert "edited: entry 5 at position 5: data is not what was sealed\n  next: " in said.out
    [found] = findings(say("verify", "--seal", "--json"))
    assert (found["what"], found["entry"], found["position"]) == ("edited", 5, 5)
    assert found["next_step"]


def test_p7_a_head_that_was_kept_shows_a_recomputation(
    sealed: SimulatedWorld, say: Say, tmp_path: Path
) -> None:
    exported = say("verify", "--export-head")
    assert exported.code == 0
    head = json.loads(exported.out)
    assert (head["format"], head["algorithm"]) == ("eni-ledger.head.v1", "sha256")
    assert head["cluster"] == CLUSTER
    assert datetime.fromisoformat(head["exported_at"]) == sealed.time
    file = tmp_path / "head.json"
    file.write_text(exported.out)
    said = say("verify", "--seal", "--head", str(file))
    assert said.code == 0
    assert "agrees with the head of" in said.out
    tamper(sealed, "UPDATE ledger.entry SET data = data || '{\"x\": 1}' WHERE id = 5")
    tamper(sealed, "DELETE FROM ledger.seal")
    with sealed.database.transaction() as connection:
        seal(connection)
    assert say("verify", "--seal").code == 0
    said = say("verify", "--seal", "--head", str(file), "--json")
    assert said.code == 1
    assert {each["what"] for each in findings(said)} == {"head differs"}


def test_p7_nothing_sealed_is_said_so(world: SimulatedWorld, say: Say) -> None:
    said = say("verify", "--export-head")
    assert said.code == 1
    assert "nothing is sealed yet" in said.err
    world.advance(timedelta(minutes=2))
    said = say("verify", "--seal")
    assert said.code == 1
    assert "nothing is sealed" in said.out
    assert "no reconciler stamps the feed" in said.out


@pytest.mark.parametrize("content", ["", "{}", "[1]", "not json", '{"position": 1}'])
def test_p7_a_file_that_is_no_head_is_wrong_usage(
    world: SimulatedWorld, say: Say, tmp_path: Path, content: str
) -> None:
    file = tmp_path / "head.json"
    file.write_text(content)
    said = say("verify", "--seal", "--head", str(file))
    assert said.code == 2
    assert "--export-head" in said.err.replace("\n", "")


@pytest.mark.parametrize(
    "arguments",
    [
        ("--seal", "--head", "missing.json"),
        ("--head", "x"),
        ("--seal", "--accept"),
        ("--export-head", "--seal"),
    ],
)
def test_p7_what_does_not_go_together_is_wrong_usage(
    world: SimulatedWorld, say: Say, arguments: tuple[str, ...]
) -> None:
    assert say("verify", *arguments).code == 2
