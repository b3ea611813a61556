"""The command line lists everything, imports only what is used, and fails in one way."""

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from consumers.cli import main as command_line
from consumers.cli.errors import CommandError
from consumers.cli.main import COMMANDS, Entry

HEAVY = ("sqlalchemy", "psycopg", "alibabacloud_ecs20140526", "aiokafka", "lightkube", "uvicorn")


def test_importing_it_imports_nothing_heavy() -> None:
    code = f"import sys, consumers.cli.main; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_help_lists_every_command_with_its_summary() -> None:
    answer = CliRunner().invoke(command_line.app, ["--help"], env={"COLUMNS": "200"})
    assert answer.exit_code == 0
    for name, entry in COMMANDS.items():
        assert name in answer.output
        assert entry.summary in answer.output
    assert "Example" in answer.output


def test_help_of_a_command_is_its_own() -> None:
    answer = CliRunner().invoke(command_line.app, ["run", "--help"], env={"COLUMNS": "200"})
    assert answer.exit_code == 0
    assert "watcher" in answer.output
    assert "Example" in answer.output


def exit_code(arguments: list[str]) -> int:
    with pytest.raises(SystemExit) as ended:
        command_line.main(arguments)
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_wrong_usage_is_2_with_a_suggestion(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(["rnu"]) == 2
    assert "Did you mean 'run'" in capsys.readouterr().err


def test_an_unknown_process_is_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code(["run", "everything"]) == 2
    assert "watcher" in capsys.readouterr().err


def test_a_command_error_is_1_on_stderr_without_a_trace(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_process: object, *, shadow: bool) -> None:
        assert not shadow
        raise CommandError("pod example/x: not in the ledger: check the name")

    monkeypatch.setattr("consumers.cli.run.room_main", refuse)
    assert exit_code(["run", "watcher"]) == 1
    seen = capsys.readouterr()
    assert seen.err == "eni-ledger: pod example/x: not in the ledger: check the name\n"
    assert seen.out == ""


def test_a_shadow_registers_no_webhook(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert exit_code(["run", "webhook", "--shadow"]) == 2
    assert "registers no webhooks" in capsys.readouterr().err
    monkeypatch.setenv("ENI_LEDGER_SHADOW", "true")
    assert exit_code(["run", "webhook"]) == 2


def test_wrong_settings_are_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENI_LEDGER_INTAKE__BATCH_MAX", "0")
    assert exit_code(["run", "intake"]) == 1
    assert "setting intake.batch_max" in capsys.readouterr().err


def test_a_module_that_is_not_there_fails_only_when_used(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(COMMANDS, "gone", Entry("consumers.cli.gone", "Is not there."))
    assert CliRunner().invoke(command_line.app, ["--help"]).exit_code == 0
    assert exit_code(["gone"]) == 1
    assert "consumers.cli.gone is not installed here" in capsys.readouterr().err
