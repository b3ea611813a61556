"""Answers are written as they are read, and what other people named can't speak to the terminal."""

import io
import json
import tracemalloc
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from consumers.cli.audit_answers import Answer, Form, give
from ledger.audit.periods import Because, Tenure, When

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def period(number: int = 0, **other: Any) -> Tenure:
    facts: dict[str, Any] = {
        "cluster": "c-1", "vpc": "vpc-1", "ipv4": "10.0.0.1", "ipv6": None, "eni": f"eni-{number}",
        "mac": "00:16:3e:00:00:01", "vswitch": "vsw-1", "kind": "bound", "namespace": "shop",
        "pod": "web-0", "interface": "eth0", "pod_uid": "u", "node": "n", "vlan": 7, "since": NOW,
        "until": None, "opened": Because(1, "podeni-written", {"podeni": "Bind"}), "closed": None,
        "allocation_id": UUID(int=number),
    }  # fmt: skip
    return Tenure(**{**facts, **other})


def answer(periods: Iterator[Tenure]) -> Answer:
    return Answer("c-1", "vswitch", "vsw-1", When(), periods, (), None, None)


class Sink(io.TextIOBase):
    """Takes everything, keeps how much it was."""

    size = 0

    def write(self, text: str) -> int:
        self.size += len(text)
        return len(text)


@pytest.mark.parametrize("form", ["json", "csv", "text"])
def test_a_large_answer_is_never_held_in_memory(
    form: Form, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = Sink()
    monkeypatch.setattr("sys.stdout", sink)
    count = 600 if form == "text" else 2_000
    tracemalloc.start()
    give(None, answer(period(number) for number in range(count)), form, False)  # type: ignore[arg-type]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert sink.size > count * 100
    # For people: what rich loads and keeps, however long the answer is.
    assert peak < (12_000_000 if form == "text" else 500_000)


def test_a_streamed_document_is_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    give(None, answer(period(number) for number in range(3)), "json", False)  # type: ignore[arg-type]
    told = json.loads(capsys.readouterr().out)
    assert [each["eni"] for each in told["tenures"]] == ["eni-0", "eni-1", "eni-2"]
    assert told["tenures"][0]["since"] == "2026-01-01T00:00:00+00:00"
    give(None, answer(iter(())), "json", False)  # type: ignore[arg-type]
    assert json.loads(capsys.readouterr().out)["tenures"] == []


def test_names_take_no_effect_in_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    named = period(pod="[red]web\x1b[2J", node="[/nothing]", pod_uid="\u202ereversed")
    give(None, answer(iter([named])), "text", False)  # type: ignore[arg-type]
    told = capsys.readouterr().out
    assert "shop/[red]web�[2J" in told
    assert "\x1b[2J" not in told
    assert "\u202e" not in told
    assert "[/nothing]" in told
