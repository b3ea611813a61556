"""`eni-ledger support-bundle`: everything a helper needs, no secret, whatever is down."""

import json
import re
import stat
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from pydantic import BaseModel, SecretStr

from consumers.cli.redacting import Scrubber, told_dsn
from consumers.runtime.logging import MASK
from consumers.runtime.settings import Settings
from tests.integration.commands import Say
from tests.integration.deploy.exposed import served
from tests.simulation.world import SimulatedWorld

#: Each planted in another place, each to be found nowhere.
PLANTED = {
    "dsn": "Pl4nted-dsn-pass",
    "sasl": "Pl4nted-sasl-pass",
    "key": "Pl4nted-access-key-secret",
    "console": "Pl4nted-console-token-0123456789",
    "annotation": "Pl4nted-annotation",
    "environment": "Pl4nted-environment",
    "letter": "Pl4nted-dead-letter",
    "log": "Pl4nted-log-password",
    "bearer": "Pl4nted.bearer.token",
    "trace": "Pl4nted-trace-pass",
}
CLOSED_PORT = "127.0.0.1:9"

LOG = f"""{{"event": "started", "dsn": "postgresql://u:{PLANTED["trace"]}@db/l", "pod": "example/web-0"}}
{{"event": "asked", "authorization": "Bearer {PLANTED["bearer"]}", "in": {{"token": "{PLANTED["console"]}"}}}}
plain words with password={PLANTED["log"]} and {PLANTED["sasl"]} in them
{{"event": "recorded", "entries": [3, 4], "allocation": "a-1", "pod": "example/web-0"}}
"""


def secret_settings(model: type[BaseModel] = Settings, path: str = "") -> set[str]:
    """The paths of every setting that may hold a secret, by its type."""
    found = set()
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            found |= secret_settings(field.annotation, f"{path}{name}.")
        elif SecretStr.__name__ in str(field.annotation):
            found.add(f"{path}{name}")
    return found


def unpacked(file: Path) -> dict[str, str]:
    with tarfile.open(file) as archive:
        return {
            member.name.partition("/")[2]: content.read().decode()
            for member in archive
            if (content := archive.extractfile(member))
        }


@pytest.fixture
def planted(world: SimulatedWorld, monkeypatch: pytest.MonkeyPatch) -> Iterator[SimulatedWorld]:
    """Secrets in every setting that may hold one, in a Pod and in a dead letter; neither Kafka nor
    Kubernetes is there."""
    assert secret_settings() == {
        "postgres.dsn",
        "kafka.sasl_password",
        "cloud.access_key_secret",
        "console.tokens",
    }, "a new secret: plant it here too"
    dsn = re.sub(r"^(postgresql://)[^@]*@", rf"\1planted:{PLANTED['dsn']}@", world.dsn)
    assert PLANTED["dsn"] in dsn
    for name, value in {
        "POSTGRES__DSN": dsn,
        "KAFKA__SASL_PASSWORD": PLANTED["sasl"],
        "KAFKA__BOOTSTRAP_SERVERS": CLOSED_PORT,
        "CLOUD__ACCESS_KEY_SECRET": PLANTED["key"],
        "CONSOLE__TOKENS": json.dumps({"ops": PLANTED["console"]}),
        "KUBE__KUBECONFIG": "/nonexistent/kubeconfig",
    }.items():
        monkeypatch.setenv(f"ENI_LEDGER_{name}", value)
    with psycopg.connect(world.dsn, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE planted LOGIN SUPERUSER PASSWORD '{PLANTED['dsn']}'")
        connection.execute(
            'INSERT INTO ledger.dead_letter (topic, partition, "offset", value, headers, error_class, '
            "message, recorded_at, fingerprint) VALUES ('t', 0, 7, %s, '[]', 'data', %s, ledger.now(), 'f')",
            [PLANTED["letter"].encode(), f"input_value='{PLANTED['letter']}'"],
        )
        connection.execute(
            "UPDATE ledger.observation SET object = object || %s::jsonb WHERE entity = 'pod'",
            [json.dumps({"planted": [PLANTED["annotation"], PLANTED["environment"]]})],
        )
    yield world
    with psycopg.connect(world.dsn, autocommit=True) as connection:
        connection.execute("DROP ROLE planted")


@pytest.mark.usefixtures("planted")
def test_it_tells_what_stands_and_no_secret(say: Say, tmp_path: Path) -> None:
    log, file = tmp_path / "reconciler.log", tmp_path / "bundle.tar.gz"
    log.write_text(LOG)
    with served() as port:
        words = ["--output", str(file), "--log", str(log), "--process", f"http://127.0.0.1:{port}/"]
        told = say("support-bundle", *words)
    assert told.code == 0, told.err
    parts = unpacked(file)
    everything = told.out + told.err + "".join(parts) + "".join(parts.values())
    assert {name: secret for name, secret in PLANTED.items() if secret in everything} == {}
    assert stat.S_IMODE(file.stat().st_mode) == 0o600

    # What is in it is said, and what is not, with the reason.
    assert re.search(r"\+ +ledger\.json: figures", told.out), told.out
    assert re.search(r"– +kafka\.json: could not be had: .*127\.0\.0\.1:9", told.out)
    assert re.search(r"– +kubernetes\.json: could not be had: .*nonexistent", told.out)
    ledger = json.loads(parts["ledger.json"])
    assert ledger["figures"]["phases"]["bound"] == 2
    assert ledger["figures"]["dead_letters"] == {"data": 1}
    assert any(each["what"] == "dead letters" for each in ledger["findings"])
    settings = json.loads(parts["settings.json"])
    assert settings["kafka"]["sasl_password"] == settings["cloud"]["access_key_secret"] == MASK
    assert settings["postgres"]["dsn"]["host"]
    assert json.loads(parts["dead-letters.json"])[0]["from"] == "t[0]@7"
    assert "eni_ledger_build_info" in parts["process-1-metrics.txt"]
    assert '"entries": [3, 4]' in parts["log-1-reconciler.log"]
    listed = {each["name"]: each for each in json.loads(parts["manifest.json"])["parts"]}
    assert listed["ledger.json"]["bytes"] == len(parts["ledger.json"].encode())

    again = say("support-bundle", *words)
    assert again.code == 1
    assert "there already" in again.err


def test_with_everything_down_it_still_tells(
    say: Say, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ENI_LEDGER_CLUSTER_ID", "c1")
    monkeypatch.setenv(
        "ENI_LEDGER_POSTGRES__DSN", f"postgresql://u:{PLANTED['dsn']}@{CLOSED_PORT}/l"
    )
    monkeypatch.setenv("ENI_LEDGER_KAFKA__BOOTSTRAP_SERVERS", CLOSED_PORT)
    monkeypatch.setenv("ENI_LEDGER_KUBE__KUBECONFIG", "/nonexistent/kubeconfig")
    file = tmp_path / "bundle.tar.gz"
    told = say(
        "support-bundle", "--json", "--output", str(file),
        "--process", f"http://{CLOSED_PORT}", "--log", str(tmp_path / "none.log"),
    )  # fmt: skip
    assert told.code == 0, told.err
    answer: dict[str, Any] = json.loads(told.out)
    missing = {each["name"] for each in answer["parts"] if each["missing"]}
    assert missing >= {
        "ledger.json",
        "dead-letters.json",
        "kafka.json",
        "kubernetes.json",
        "process-1-metrics.txt",
        "log-1-none.log",
    }
    assert set(unpacked(file)) >= {"manifest.json", "versions.json", "settings.json"}
    assert PLANTED["dsn"] not in told.out + "".join(unpacked(file).values())
    assert say("support-bundle", "--dry-run", "--output", str(file)).code == 0


URL = "postgresql://u:p%40ss@db/l?sslpassword=x"


@pytest.mark.parametrize(
    ("dsn", "told"),
    [
        ("host=db password='a b' user=u", {"host": "db", "password": MASK, "user": "u"}),
        (URL, {"dbname": "l", "host": "db", "password": MASK, "sslpassword": MASK, "user": "u"}),
    ],
)
def test_of_a_dsn_only_where_it_leads_is_told(dsn: str, told: object) -> None:
    assert told_dsn(dsn) == told
    scrubber = Scrubber(Settings(postgres={"dsn": dsn}))
    assert dsn not in scrubber.text(f"could not connect with {dsn}")
