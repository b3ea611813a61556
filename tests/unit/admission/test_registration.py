"""The webhook configurations: installed once, trusted always, silent at rest."""

import asyncio
import base64
from datetime import UTC, datetime
from typing import Any

import pytest

from consumers.admission.apiserver import MUTATING, VALIDATING
from consumers.admission.certificates import new_bundle
from consumers.admission.registration import (
    RegistrationError,
    mutating_configuration,
    register,
    trust,
    validating_configuration,
)
from consumers.runtime.settings import WebhookSettings
from tests.unit.admission.fakes import FakeApiServer

LOCAL = WebhookSettings(
    register_url="https://127.0.0.1:9443/", excluded_namespaces=("kube-system", "kafka")
)
CLUSTER = WebhookSettings()
AUTHORITIES = new_bundle(("x",), datetime(2026, 1, 1, tzinfo=UTC)).authorities
OLD_AUTHORITIES = new_bundle(("x",), datetime(2025, 1, 1, tzinfo=UTC)).authorities
M, V = (MUTATING.plural, "eni-ledger"), (VALIDATING.plural, "eni-ledger")


def encoded(pem: bytes) -> str:
    return base64.b64encode(pem).decode()


def ca_bundle(api: FakeApiServer, key: tuple[str, str]) -> Any:
    return api.objects[key]["webhooks"][0]["clientConfig"].get("caBundle")


def test_what_is_asked_and_of_whom() -> None:
    (webhook,) = mutating_configuration(LOCAL, AUTHORITIES)["webhooks"]
    assert webhook["clientConfig"]["url"] == "https://127.0.0.1:9443/mutating"
    assert webhook["failurePolicy"] == "Ignore"
    assert [(rule["resources"], rule["operations"]) for rule in webhook["rules"]] == [
        (["pods"], ["CREATE"]),
        (["podnetworkings"], ["CREATE"]),
    ]
    assert webhook["namespaceSelector"]["matchExpressions"] == [
        {"key": "k8s.aliyun.com/pod-eni", "operator": "NotIn", "values": ["false"]},
        {
            "key": "kubernetes.io/metadata.name",
            "operator": "NotIn",
            "values": ["kafka", "kube-system"],
        },
    ]
    (webhook,) = validating_configuration(CLUSTER, AUTHORITIES)["webhooks"]
    assert webhook["clientConfig"]["service"]["path"] == "/validate"
    assert webhook["failurePolicy"] == "Fail"
    assert webhook["rules"][0]["operations"] == ["CREATE", "UPDATE"]


def test_registering_creates_once_corrects_and_rests() -> None:
    async def scenario() -> None:
        api = FakeApiServer()
        await register(api, LOCAL, AUTHORITIES)
        assert api.writes == 2
        for obj in api.objects.values():
            obj["webhooks"][0]["objectSelector"] = {}  # a default of the API server's
        await register(api, LOCAL, AUTHORITIES)
        assert api.writes == 2
        moved = LOCAL.model_copy(update={"register_url": "https://127.0.0.1:9444"})
        await register(api, moved, AUTHORITIES)
        assert api.writes == 4
        assert api.objects[M]["webhooks"][0]["clientConfig"]["url"].startswith(
            "https://127.0.0.1:9444"
        )

    asyncio.run(scenario())


def test_an_incumbent_that_would_be_asked_after_us_is_refused() -> None:
    async def scenario() -> None:
        api = FakeApiServer()
        incumbent = {"rules": [{"resources": ["pods"], "operations": ["CREATE"]}]}
        api.objects[(MUTATING.plural, "terway-controlplane")] = {"webhooks": [incumbent]}
        with pytest.raises(
            RegistrationError, match=r"terway-controlplane is installed .* webhook\.name"
        ):
            await register(api, LOCAL, AUTHORITIES)
        later = LOCAL.model_copy(update={"name": "zz-eni-ledger"})
        await register(api, later, AUTHORITIES)
        assert (MUTATING.plural, "zz-eni-ledger") in api.objects

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("present", "written"),
    [
        (None, True),
        ("", True),
        ("Cg==", True),
        (encoded(OLD_AUTHORITIES), True),
        (encoded(AUTHORITIES), False),
        (encoded(b"somebody else's"), False),
        ("%%%", False),
    ],
)
def test_the_ca_bundle_is_written_where_empty_or_ours(present: str | None, written: bool) -> None:
    async def scenario() -> None:
        api = FakeApiServer()
        for key, configuration in (
            (M, mutating_configuration(CLUSTER, b"")),
            (V, validating_configuration(CLUSTER, b"")),
        ):
            configuration["webhooks"][0]["clientConfig"]["caBundle"] = present
            configuration["metadata"]["resourceVersion"] = "1"
            api.objects[key] = configuration
        await trust(api, CLUSTER, AUTHORITIES)
        assert api.writes == (2 if written else 0)
        assert ca_bundle(api, M) == (encoded(AUTHORITIES) if written else present)

    asyncio.run(scenario())


def test_missing_configurations_name_the_next_step() -> None:
    with pytest.raises(
        RegistrationError, match=r"eni-ledger does not exist: install the Helm chart"
    ):
        asyncio.run(trust(FakeApiServer(), CLUSTER, AUTHORITIES))
