"""Settings come from the environment over a file over defaults, and are refused with their path."""

import re
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


#: Variable, value, and what is said: the path, what was given, what is allowed.
WRONG = [
    ("CLUSTER_ID", "a b", ["setting cluster_id", "A-Za-z0-9", "'a b'"]),
    ("CLUSTERID", "a", ["environment ENI_LEDGER_CLUSTERID", "did you mean cluster_id?"]),
    ("KAFKAS__GROUP_ID", "a", ["environment ENI_LEDGER_KAFKAS__GROUP_ID", "did you mean kafka?"]),
    ("POSTGRES__POOL_SIZE", "many", ["postgres.pool_size", "a whole number", "'many'"]),
    ("POSTGRES__DSNN", "x", ["postgres.dsnn", "no such setting", "did you mean dsn?"]),
    ("POSTGRES__DSN", "mysql://u:hunter2@h", ["postgres.dsn", "postgresql://user@host:5432"]),
    ("KAFKA__SECURITY_PROTOCOL", "TLS", ["kafka.security_protocol", "'SASL_SSL'", "'TLS'"]),
    ("KAFKA__BOOTSTRAP_SERVERS", "kafka", ["kafka.bootstrap_servers", "host:port", "'kafka'"]),
    ("KAFKA__BOOTSTRAP_SERVERS", "a:1, b:2", ["kafka.bootstrap_servers", "host:port"]),
    ("CLOUD__RATE_LIMITS", '{"Attach": {"per_minute": 1, "burst": 1}}', ["AttachNetworkInterface"]),
    ("CLOUD__RATE_LIMITS", "500", ["cloud.rate_limits", "a mapping", "500"]),
    ("CLOUD__BUDGET_SHARE", "80", ["cloud.budget_share", "less than or equal to 1", "'80'"]),
    ("CLOUD__REGION_ID", "cn hangzhou", ["cloud.region_id", "cn-hangzhou"]),
    ("POLICY__IP_STACK", "both", ["policy.ip_stack", "'ipv4', 'ipv6' or 'dual'", "'both'"]),
    ("POLICY__CUSTOM_STATEFUL_WORKLOAD_KINDS", "A,B", ["no JSON", '["one", "two"]', "'A,B'"]),
    ("RECONCILER__BREAKER__SHARE", "50%", ["reconciler.breaker.share", "a number", "'50%'"]),
    ("RECONCILER__BREAKER", "{absolute: 5}", ["setting reconciler.breaker (", "no JSON"]),
    ("WEBHOOK__REGISTER_URL", "http://a", ["webhook.register_url", "^https://", "'http://a'"]),
    ("HTTP__PORT", "70000", ["http.port", "65535", "ENI_LEDGER_HTTP__PORT"]),
    ("SHADOW", "maybe", ["setting shadow", "true or false", "'maybe'"]),
    ("CONSOLE__TOKENS", "hunter2", ["console.tokens", "no JSON"]),
    ("CONSOLE__TOKENS__ME", "hunter2", ["console.tokens.me", "at least 16 characters"]),
]


@pytest.mark.parametrize(("name", "value", "said"), WRONG, ids=[f"{w[0]}={w[1]}" for w in WRONG])
def test_a_wrong_value_is_refused_with_its_path_and_what_is_allowed(
    name: str, value: str, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"ENI_LEDGER_{name}", value)
    with pytest.raises(SettingsError) as refused:
        load_settings()
    assert [words for words in said if words not in str(refused.value)] == []
    assert "hunter2" not in str(refused.value)


#: What is in the file, and what is said.
WRONG_FILES = [
    (b"- a\n", "must be a mapping of settings"),
    (b"kafka:\n  a: b: c\n", "line 2, column 7"),
    (b"cluster_id: caf\xe9\n", "not UTF-8"),
    (b"kafka:\n  group_id: a\n  group_id: b\n", "line 3, column 3: the same key as in line 2"),
    (b"kafka:\n", "setting kafka: it is empty: leave it out"),
    (b"kafka: [1]\n", "setting kafka: it must be a mapping of settings: bootstrap_servers"),
    (b"cluster_id: 12\n", "setting cluster_id: must be text: put it in quotes (given: 12)"),
    (b"postgress: {dsn: x}\n", "setting postgress: no such setting; did you mean postgres?"),
    (b"cloud: {rate_limits: {DescribeVSwitches: 5}}\n", "rate_limits.DescribeVSwitches: it must"),
    (b"policy: {custom_stateful_workload_kinds: A}\n", "must be a list (given: 'A')"),
]


def refusal_of(content: bytes, directory: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """What is said of a settings file with that in it."""
    file = directory / "settings.yaml"
    file.write_bytes(content)
    monkeypatch.setenv(CONFIG_FILE_VARIABLE, str(file))
    with pytest.raises(SettingsError) as refused:
        load_settings()
    return str(refused.value)


@pytest.mark.parametrize(
    ("content", "said"), WRONG_FILES, ids=[str(each[1]) for each in WRONG_FILES]
)
def test_a_wrong_file_is_refused_where_it_is_wrong(
    content: bytes, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = refusal_of(content, tmp_path, monkeypatch)
    assert said in refused


def test_what_kubernetes_adds_for_a_service_of_ours_is_no_mistake(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ENI_LEDGER_AUDIT_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("ENI_LEDGER_AUDIT_PORT_443_TCP_ADDR", "10.0.0.1")
    assert load_settings().cluster_id == ""


def test_a_missing_file_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CONFIG_FILE_VARIABLE, "/nowhere/settings.yaml")
    with pytest.raises(SettingsError, match=r"/nowhere/settings\.yaml, which is not a file"):
        load_settings()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"postgres: {dsn: hunter2}\n\tb", "settings.yaml, line 2"),
        (b"[hunter2]", "settings.yaml: it must be a mapping"),
        (b"dsn: *hunter2", "line 1, column 6: found undefined alias$"),
        (b"dsn: !hunter2 x", "line 1, column 6: could not determine a constructor for the tag$"),
        (b"hunter2: 1\nhunter2: 2", "line 2, column 1: the same key as in line 1"),
        (b"? [hunter2]\n: 2", "line 1, column 3: found unhashable key$"),
        (b"dsn: hunter2\0", "not YAML: special characters are not allowed"),
        (b"hunter2: \xff", "not UTF-8"),
        (b"hunter: 2", "setting hunter:"),
    ],
)
def test_a_file_that_is_no_map_of_settings_is_refused_without_quoting_it(
    text: bytes, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = refusal_of(text, tmp_path, monkeypatch)
    assert re.search(why, refused)
    assert "hunter2" not in refused


def test_secrets_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENI_LEDGER_POSTGRES__DSN", "postgresql://u:hunter2@h/d")
    assert "hunter2" not in repr(load_settings())
