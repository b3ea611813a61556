"""Settings come from the environment over a file over defaults, and are refused with their path."""

from pathlib import Path

import pytest

from consumers.runtime.settings import CONFIG_FILE_VARIABLE, SettingsError, load_settings


def test_environment_wins_over_the_file_over_the_defaults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text("cluster_id: from-file\nkafka:\n  group_id: from-file\n")
    monkeypatch.setenv(CONFIG_FILE_VARIABLE, str(file))
    monkeypatch.setenv("ENI_LEDGER_CLUSTER_ID", "from-environment")
    settings = load_settings()
    assert settings.cluster_id == "from-environment"
    assert settings.kafka.group_id == "from-file"
    assert settings.kafka.topic_prefix == "eni-ledger"


def test_every_wrong_setting_is_named_with_its_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENI_LEDGER_POSTGRES__POOL_SIZE", "0")
    monkeypatch.setenv("ENI_LEDGER_LOG__LEVEL", "loud")
    with pytest.raises(SettingsError) as refused:
        load_settings()
    assert "setting postgres.pool_size" in str(refused.value)
    assert "setting log.level" in str(refused.value)


def test_a_missing_file_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CONFIG_FILE_VARIABLE, "/nowhere/settings.yaml")
    with pytest.raises(SettingsError, match=r"/nowhere/settings\.yaml, which is not a file"):
        load_settings()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"postgres: {dsn: hunter2}\n\tb", "settings.yaml, which is not YAML in line 2"),
        (b"[hunter2]", "settings.yaml, which is not a map"),
        (b"hunter2: \xff", "not UTF-8"),
        (b"hunter: 2", "setting hunter:"),
    ],
)
def test_a_file_that_is_no_map_of_settings_is_refused_without_quoting_it(
    text: bytes, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "settings.yaml"
    file.write_bytes(text)
    monkeypatch.setenv(CONFIG_FILE_VARIABLE, str(file))
    with pytest.raises(SettingsError, match=why) as refused:
        load_settings()
    assert "hunter2" not in str(refused.value)


def test_secrets_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENI_LEDGER_POSTGRES__DSN", "postgresql://u:hunter2@h/d")
    assert "hunter2" not in repr(load_settings())
