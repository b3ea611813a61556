"""Log lines are structured, go to stderr, and hold no secret."""

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from pydantic import SecretStr

from consumers.runtime.logging import MASK, configure_logging, redact, redact_text
from consumers.runtime.settings import LogSettings


@pytest.fixture(autouse=True)
def logging_restored() -> Iterator[None]:
    """configure_logging is for a whole process: undo it."""
    root = logging.getLogger()
    handlers, level, before = root.handlers[:], root.level, structlog.get_config()
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.configure(**before)
    structlog.contextvars.clear_contextvars()


def only(written: pytest.CaptureFixture[str]) -> dict[str, Any]:
    (line,) = written.readouterr().err.splitlines()
    answer: dict[str, Any] = json.loads(line)
    return answer


def test_json_lines_carry_process_level_time_and_fields(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(LogSettings(), "intake")
    structlog.get_logger("here").info("batch", messages=3)
    line = only(capsys)
    assert line["event"] == "batch"
    assert line["process"] == "intake"
    assert line["level"] == "info"
    assert line["messages"] == 3
    assert line["timestamp"].endswith("Z")


def test_library_lines_take_the_same_form(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(LogSettings(), "intake")
    logging.getLogger("uvicorn.error").warning("port %s", 80)
    assert only(capsys)["event"] == "port 80"


def test_below_the_level_nothing_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(LogSettings(level="warning"), "intake")
    structlog.get_logger("here").info("quiet")
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_trace_that_quotes_a_dsn_is_masked(capsys: pytest.CaptureFixture[str], form: Any) -> None:
    configure_logging(LogSettings(format=form), "intake")
    try:
        raise ConnectionError("postgresql://writer:hunter2@db/x refused")
    except ConnectionError:
        structlog.get_logger("here").exception("no database", dsn="host=db password=hunter2")
    written = capsys.readouterr().err
    assert "refused" in written
    assert "hunter2" not in written


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("postgresql://u:p@ss@h/db", "postgresql://u:"),
        ("host=h password=hunter2 dbname=x", "dbname=x"),
        ("password='a b' dbname=x", "dbname=x"),
        ("Authorization: Bearer abcdefgh12345", "Authorization"),
    ],
)
def test_secrets_in_text(text: str, kept: str) -> None:
    safe = redact_text(text)
    assert MASK in safe
    assert kept in safe
    assert "hunter2" not in safe
    assert "a b" not in safe
    assert "12345" not in safe


def test_secrets_in_fields() -> None:
    seen = redact(
        {
            "access_key_secret": "abc",
            "nested": [{"api_token": "abc", "plain": "abc"}],
            "value": SecretStr("abc"),
            "claim_token": "kept",
            "tokens_left": 7,
            "error": ValueError("password=abc"),
        }
    )
    assert seen == {
        "access_key_secret": MASK,
        "nested": [{"api_token": MASK, "plain": "abc"}],
        "value": MASK,
        "claim_token": "kept",
        "tokens_left": 7,
        "error": f"ValueError: password={MASK}",
    }


def test_text_without_secrets_is_untouched() -> None:
    text = "pod example/my-nginx-0 bound eni-1 at 10.0.0.1:80, see https://example.com:443/a@b"
    assert redact_text(text) == text
