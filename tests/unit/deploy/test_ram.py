"""The RAM policy grants exactly the calls that the code makes, to exactly the account that makes them."""

import inspect
import json
import re
from pathlib import Path

from consumers.cloud import api
from consumers.cloud.aliyun import CALLS
from consumers.runtime.settings import DEFAULT_RATE_LIMITS

RAM = Path(__file__).parents[3] / "deploy/ram"


def test_the_policy_allows_what_is_called_and_nothing_else() -> None:
    policy = json.loads((RAM / "policy.json").read_text())
    assert policy["Version"] == "1"
    [statement] = policy["Statement"]
    assert statement["Effect"] == "Allow"
    assert sorted(statement["Action"]) == statement["Action"]
    assert set(statement["Action"]) == {
        f"{product}:{call}" for call, (product, *_) in CALLS.items()
    }


def test_the_calls_are_those_of_the_port() -> None:
    """The names that api.py hands to a transport, read from its source: a ninth would show."""
    calls = r'(?:_call\(|_absent\(|api = )"(\w+)"'
    named = set(re.findall(calls, inspect.getsource(api)))
    assert named == set(CALLS) == set(DEFAULT_RATE_LIMITS)


def test_the_role_is_for_the_reconcilers_service_account() -> None:
    trust = json.loads((RAM / "trust-policy.json").read_text())
    [statement] = trust["Statement"]
    assert statement["Action"] == "sts:AssumeRole"
    told = statement["Condition"]["StringEquals"]
    assert told["oidc:aud"] == "sts.aliyuncs.com"
    assert told["oidc:sub"] == "system:serviceaccount:eni-ledger:eni-ledger-reconciler"
    assert "*" not in json.dumps(trust)
