"""`eni-ledger doctor` on the local stack as `eni-ledger local up` makes it."""

import json

import pytest

from deploy.local.stack.plan import read_environment
from deploy.local.stack.state import StackFacts
from tests.integration.commands import Say, shown

pytestmark = pytest.mark.late  # the stack works beside all tests that follow

#: Its kubelets play the node agents, so there are none, and no token for them. Its broker is one and
#: tells no settings, its login is the superuser, and its clock may be moved.
EXPECTED = {
    "network-token": "blocks",
    "network-plugin": "blocks",
    "kafka-replication": "warns",
    "kafka-retention": "warns",
    "database-clock": "warns",
    "database-roles": "warns",
}


@pytest.fixture
def environment(local_stack: StackFacts, monkeypatch: pytest.MonkeyPatch) -> None:
    assert local_stack.environment is not None
    for name, value in read_environment(local_stack.environment).items():
        monkeypatch.setenv(name, value)


def test_the_page_examines_it(environment: None, say: Say) -> None:
    """The page's commands that change nothing; a broker that is one is no reason for exit code 1."""
    asked = [words for words in shown("doctor.md") if "--fix" not in words]
    assert len(asked) >= 4
    for words in asked:
        said = say(*words, "--deadline", "120")
        assert said.code == ("--only" not in words), said
        if "--json" in words:
            assert json.loads(said.out)["passed"] is False
        else:
            assert " block, 0 could not look, " in said.out


@pytest.mark.parametrize("local", [True, False])
def test_it_says_what_the_local_stack_is_not(
    local: bool, environment: None, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Told that this is no local stack, it refuses the moved clock, as every process does."""
    monkeypatch.setenv("ENI_LEDGER_LOCAL_STACK", str(local).lower())
    said = say("doctor", "--json", "--deadline", "120")
    found = {f["id"]: f for f in json.loads(said.out)["findings"] if f["severity"] != "fine"}
    expected = EXPECTED | ({} if local else {"database-clock": "blocks"})
    # Tests share this stack, and leave PodNetworkings of their own behind.
    of_others = {"podnetworkings", "vswitches-exist"} & set(found)
    assert set(found) - of_others == set(expected)
    assert {id_: found[id_]["severity"] for id_ in expected} == expected
    assert "ledger.now() was replaced" in found["database-clock"]["what"]
    assert said.code == 1
