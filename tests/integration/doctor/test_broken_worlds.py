"""`eni-ledger doctor` on a world where nothing is wrong, and on the same world with one fault each.

Each fault must be found, and nothing else: a doctor that cries about everything helps nobody.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from consumers.doctor.checks import CHECKS
from tests.integration.commands import Say
from tests.integration.doctor.fault import Fault
from tests.integration.doctor.faults_cluster import A_CRD_MISSING, CLUSTER_FAULTS, DEAD_WEBHOOK
from tests.integration.doctor.faults_services import SERVICE_FAULTS
from tests.integration.doctor.ground import Ground, healthy
from tests.unit.test_documents import complaint

pytestmark = pytest.mark.timeout(900)

#: The last one leaves the world as it made it.
FAULTS = (*CLUSTER_FAULTS, *SERVICE_FAULTS, A_CRD_MISSING, DEAD_WEBHOOK)
#: The quick start's broker is one, keeps no copies, and tells no setting of a topic.
OF_THE_BROKER = {"kafka-replication", "kafka-retention"}


@pytest.fixture(scope="module")
def ground(stack_directory: Path, broker: str) -> Iterator[Ground]:
    directory = stack_directory / "doctor"
    directory.mkdir()
    directory.chmod(0o755)
    with healthy(directory, broker) as ground:
        yield ground


class Examined(NamedTuple):
    """What the doctor said: exit code, the findings that are not fine, the checks not made."""

    code: int
    found: dict[str, dict[str, Any]]
    not_made: list[str]


def examined(
    say: Say, monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], *words: str
) -> Examined:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    said = say("doctor", "--json", "--deadline", "120", *words)
    assert said.err == ""
    answer = json.loads(said.out)
    found = {f["id"]: f for f in answer["findings"] if f["severity"] != "fine"}
    assert len(answer["findings"]) + len(answer["not_made"]) == len(CHECKS)
    return Examined(said.code, found, answer["not_made"])


def test_nothing_is_found_where_nothing_is_wrong(
    ground: Ground, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = examined(say, monkeypatch, ground.settings)
    assert set(seen.found) == OF_THE_BROKER
    assert (seen.code, seen.not_made) == (0, [])
    # Nothing was changed by looking: in the cloud every call that would was refused.
    calls = ground.control.get("/_sim/calls").json()["calls"]
    assert [c["api"] for c in calls if c["mutating"] and c["outcome"] == "ok"] == []
    told = say("doctor", "--deadline", "120")
    assert told.code == 0
    assert "0 block, 0 could not look, 2 warn" in told.out


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_each_fault_is_found_and_nothing_else(
    fault: Fault, ground: Ground, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    with fault.put(ground) as changed:
        seen = examined(say, monkeypatch, ground.settings | (changed or {}))
    assert set(seen.found) - (OF_THE_BROKER - {fault.id}) == {fault.id, *fault.also}
    found = seen.found[fault.id]
    assert found["severity"] == fault.severity
    assert fault.says in found["what"]
    assert found["fix"]
    for words in re.findall(r"\beni-ledger(?: (?:--)?[a-z][a-z-]*)+", found["fix"]):
        assert complaint(words.split()) is None, found["fix"]
    severities = {each["severity"] for each in seen.found.values()}
    assert seen.code == (0 if severities == {"warns"} else 1)
