"""The stack's commands and environments: loopback, private, and free of other setups."""

import os
from pathlib import Path

import psutil
import pytest

from consumers.runtime.settings import Settings
from deploy.local.cloud.world import load_world
from deploy.local.parts.child import PartError
from deploy.local.parts.ports import claim_port, free_port
from deploy.local.parts.postgres import database_dsn
from deploy.local.stack import plan
from deploy.local.stack.options import DEFAULT_WORLD, StackOptions, prepare_directory
from deploy.local.stack.state import (
    PartState,
    Phase,
    ProcessIdentity,
    StackState,
    read_state,
    write_state,
)

ENDPOINTS = plan.Endpoints(
    postgres_dsn="postgresql://postgres:it's%20secret@127.0.0.1:1/eni_ledger",
    kafka="127.0.0.1:2",
    cloud_port=3,
    kubeconfig=Path("/somewhere/kubeconfig"),
    webhook_port=4,
    console_port=5,
    console_token="a-token-of-the-stack",
    cluster_id="local-1",
)


def test_the_shared_settings_are_valid_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = plan.settings_environment(ENDPOINTS, load_world(DEFAULT_WORLD))
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    read = Settings()
    assert read.local_stack
    assert read.postgres.dsn.get_secret_value() == ENDPOINTS.postgres_dsn
    assert read.cloud.ecs_endpoint == "127.0.0.1:3"
    assert read.policy.ip_stack == "dual"
    assert read.console.tokens["local"].get_secret_value() == "a-token-of-the-stack"


def test_what_a_shell_sources_reads_back(tmp_path: Path) -> None:
    settings = plan.settings_environment(ENDPOINTS, load_world(DEFAULT_WORLD))
    script = tmp_path / "environment.sh"
    script.write_text(plan.environment_script(settings, ENDPOINTS.kubeconfig))
    assert plan.read_environment(script) == {**settings, "KUBECONFIG": "/somewhere/kubeconfig"}


def test_other_setups_do_not_leak_into_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENI_LEDGER_CONFIG", "/elsewhere.yaml")
    monkeypatch.setenv("PGPASSWORD", "elsewhere")
    monkeypatch.setenv("KUBECONFIG", "/elsewhere")
    environment = plan.part_environment({"ENI_LEDGER_CLUSTER_ID": "x"}, http_port=7)
    assert not {"ENI_LEDGER_CONFIG", "PGPASSWORD", "KUBECONFIG"} & set(environment)
    assert environment["ENI_LEDGER_CLUSTER_ID"] == "x"
    assert environment["ENI_LEDGER_HTTP__PORT"] == "7"
    assert "127.0.0.1" in environment["NO_PROXY"]


def test_every_command_runs_with_this_interpreter() -> None:
    assert plan.cloud_command(StackOptions(), 1)[1:3] == ["-m", "deploy.local.cloud"]
    assert list(plan.eni_ledger_command("run", "intake"))[1:] == [
        "-m",
        "consumers.cli.main",
        "run",
        "intake",
    ]


def test_the_state_file_is_private_and_reads_back(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    me = ProcessIdentity.of(os.getpid())
    part = PartState(name="kafka", log=tmp_path / "kafka.log", process=me)
    state = StackState(keeper=me, phase=Phase.READY, parts=[part])
    write_state(path, state)
    assert read_state(path) == state
    assert path.stat().st_mode & 0o077 == 0
    assert part.running


def test_a_state_file_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    assert read_state(path) is None
    path.write_text("{}")
    with pytest.raises(PartError, match=r"state\.json is not a state file"):
        read_state(path)


def test_a_process_is_known_by_its_start_time_too() -> None:
    me = psutil.Process()
    assert ProcessIdentity(pid=me.pid, started_at=me.create_time()).process() is not None
    assert ProcessIdentity(pid=me.pid, started_at=me.create_time() - 5).process() is None


def test_a_state_directory_must_be_ours(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(PartError, match="is a link"):
        prepare_directory(tmp_path / "link")
    assert prepare_directory(tmp_path / "own").logs.is_dir()


def test_port_0_is_a_free_one() -> None:
    assert claim_port(0, part="x", option="--x-port") > 0
    wanted = free_port()
    assert claim_port(wanted, part="x", option="--x-port") == wanted


@pytest.mark.parametrize(
    ("dsn", "expected"),
    [
        ("postgresql://u:p@h:1/a", "postgresql://u:p@h:1/b"),
        ("postgresql://u:p@h:1/a?sslmode=require", "postgresql://u:p@h:1/b?sslmode=require"),
        ("host=h dbname=a", "dbname=b host=h"),
    ],
)
def test_the_dsn_of_another_database(dsn: str, expected: str) -> None:
    assert database_dsn(dsn, "b") == expected
