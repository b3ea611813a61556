"""The pages for a person with a problem name everything that the code can say."""

import ast
import importlib
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

import consumers
from consumers.cli.errors import CommandError
from consumers.reconciler.pod_events import _WORDS
from consumers.runtime.errors import OperatorError
from ledger.rules.drift import FindingKind
from ledger.rules.entries import Entry

ROOT = Path(__file__).parents[2]
ERRORS = (ROOT / "deploy" / "howto" / "errors.md").read_text()
GLOSSARY = (ROOT / "deploy" / "howto" / "glossary.md").read_text()


def section(title: str) -> str:
    """The text under a heading of the second level."""
    return ERRORS.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def headings(title: str) -> set[str]:
    """The headings of the third level under it."""
    return set(re.findall(r"^### (.+)$", section(title), re.MULTILINE))


def quoted(title: str) -> list[str]:
    """The first column of its table."""
    return re.findall(r"^\| `([^`]+)` \|", section(title), re.MULTILINE)


def calls_of(callee: str, *places: str) -> Iterator[ast.Call]:
    """Every call of a name in these modules."""
    for place in places:
        for path in sorted(ROOT.glob(place)):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call) and callee in (
                    getattr(node.func, "id", ""),
                    getattr(node.func, "attr", ""),
                ):
                    yield node


def words(node: ast.AST) -> str:
    """What stays the same of a text: the constant parts of an f-string, "" for anything else."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "…".join(words(part) for part in node.values if isinstance(part, ast.Constant))
    return ""


def test_each_class_of_dead_letters_has_a_section() -> None:
    used = {words(call.args[0]) for call in calls_of("ContractError", "consumers/contract/*.py")}
    used |= {words(call.args[1]) for call in calls_of("Unreadable", "consumers/intake/*.py")} | {
        "not-json",
        "unstorable-text",
    }  # chosen between in one place
    assert headings("Dead letters") == used - {""}


def test_each_disagreement_has_a_section() -> None:
    assert headings("Disagreements") == set(get_args(FindingKind))


def test_each_reason_to_park_has_a_section() -> None:
    """Of every Parked(…) the reason holds one of the headings, and each heading is a reason."""
    places = ("consumers/reconciler/*.py", "ledger/rules/*.py")
    reasons = [
        words(keyword.value)
        for call in calls_of("Parked", *places)
        for keyword in call.keywords
        if keyword.arg == "reason"
    ]
    drift = (ROOT / "ledger" / "rules" / "drift.py").read_text()
    taken = (ROOT / "ledger" / "rules" / "takeover.py").read_text()
    assert len(reasons) == 5
    chosen = re.search(r'what = "(.+)" if .* else "(.+)"', drift)
    assert chosen is not None
    said = {"is claimed by", "the cloud does not show"}
    assert all(any(each in reason for reason in reasons) for each in said)
    handed_on = {"is held by", "its Pod runs, and the cloud shows"}
    assert all(each in taken for each in handed_on)
    assert headings("Parked") == {*said, *handed_on, *chosen.groups()}


def test_each_refusal_of_a_pod_is_named() -> None:
    texts = [
        text
        for call in calls_of("Refused", "ledger/rules/admission_*.py")
        if call.args and (text := words(call.args[0]))
    ]
    named = quoted("Refused by admission")
    assert len(texts) >= 12
    assert [text for text in texts if not any(each in text for each in named)] == []
    assert [each for each in named if not any(each in text for text in texts)] == []


def test_each_problem_that_a_pod_waits_for_is_named() -> None:
    """Waits that are problems, and what placing and vSwitches answer."""
    texts = [
        text
        for call in calls_of("Wait", "ledger/rules/planning.py")
        if any(keyword.arg == "problem" for keyword in call.keywords)
        if (text := words(call.args[1]))
    ]
    for path in ("placing", "vswitches"):
        tree = ast.parse((ROOT / "ledger" / "rules" / f"{path}.py").read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.Return) and node.value is not None:
                told = (
                    node.value.args[0]
                    if isinstance(node.value, ast.Call) and node.value.args
                    else node.value
                )
                if len(text := words(told)) > 12:
                    texts.append(text)
    named = quoted("Why a Pod waits")
    assert len(texts) >= 10
    assert [text for text in texts if not any(each in text for each in named)] == []
    assert [each for each in named if not any(each in text for text in texts)] == []


def test_each_event_reason_is_named() -> None:
    rows = re.findall(r"^\| `(\w+)` \| `(\w+)` \|", section("Events on Pods"), re.MULTILINE)
    assert sorted(rows) == sorted((good, bad) for _, good, bad in _WORDS.values())


def test_each_entry_is_named() -> None:
    union = get_args(get_args(Entry)[0])
    kinds = {model.model_fields["kind"].default for model in union}
    assert set(quoted("What entries say")) == kinds


def test_each_failure_for_an_operator_has_a_section() -> None:
    for module in pkgutil.walk_packages(consumers.__path__, "consumers."):
        importlib.import_module(module.name)

    def below(kind: type[Exception]) -> Iterator[str]:
        for each in kind.__subclasses__():
            if each.__module__.startswith("consumers."):
                yield each.__name__
                yield from below(each)

    known = {*below(OperatorError), *below(CommandError), "CommandError", "SettingsError"}
    assert headings("When a process or command does not start") == known


WORDS = """lease, reservation, member ENI, trunk ENI, incarnation, watermark, breaker, quarantine, parked,
drift, seal, sweep, tenure, live look"""


@pytest.mark.parametrize("word", re.split(r",\s+", WORDS))
def test_the_glossary_explains_in_one_sentence(word: str) -> None:
    [line] = re.findall(rf"^\*\*{word}\*\*: (.+)$", GLOSSARY, re.MULTILINE)
    assert line.endswith(".")
    assert ". " not in line


def test_the_glossary_is_in_order() -> None:
    terms = re.findall(r"^\*\*(.+?)\*\*:", GLOSSARY, re.MULTILINE)
    assert terms == sorted(terms, key=str.lower)
