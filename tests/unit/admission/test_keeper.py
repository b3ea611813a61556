"""The keeper: one Secret for all replicas, one write when needed, none at rest."""

import asyncio
import base64
from datetime import UTC, datetime, timedelta

import pytest

from consumers.admission.certificates import CertificateError, new_bundle
from consumers.admission.keeper import CertificateKeeper
from tests.unit.admission.fakes import FakeApiServer

NOW = datetime(2026, 1, 1, tzinfo=UTC)
NAMES = ("svc.ns.svc", "127.0.0.1")
KEY = ("secrets", "webhook-cert")


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


def keeper(api: FakeApiServer, clock: Clock) -> CertificateKeeper:
    return CertificateKeeper(api, "webhook-cert", "ns", NAMES, clock)


def test_the_first_replica_writes_the_second_reads_and_rest_is_silent() -> None:
    async def scenario() -> None:
        api, clock = FakeApiServer(), Clock()
        first, second = keeper(api, clock), keeper(api, clock)
        made = await first.refresh()
        assert await second.refresh() == made
        assert await first.refresh() == made
        assert api.writes == 1
        assert api.objects[KEY]["type"] == "kubernetes.io/tls"

    asyncio.run(scenario())


def test_an_empty_secret_is_filled_and_keeps_its_type() -> None:
    """It is installed empty, so that the webhook needs no right to create Secrets."""

    async def scenario() -> None:
        api, clock = FakeApiServer(), Clock()
        metadata = {"name": "webhook-cert", "namespace": "ns", "resourceVersion": "1"}
        api.objects[KEY] = {"metadata": metadata, "type": "Opaque"}
        made = await keeper(api, clock).refresh()
        assert await keeper(api, clock).refresh() == made
        assert (api.objects[KEY]["type"], api.writes) == ("Opaque", 1)

    asyncio.run(scenario())


def test_the_loser_of_the_race_takes_the_winners() -> None:
    async def scenario() -> None:
        api, clock = FakeApiServer(), Clock()
        winner = new_bundle(NAMES, NOW)

        def other_replica() -> None:
            data = {k: base64.b64encode(v).decode() for k, v in winner.to_secret().items()}
            metadata = {"name": "webhook-cert", "namespace": "ns", "resourceVersion": "1"}
            api.objects[KEY] = {"metadata": metadata, "data": data}

        api.before_write = other_replica
        assert await keeper(api, clock).refresh() == winner

    asyncio.run(scenario())


def test_it_is_renewed_in_time_under_the_same_authority() -> None:
    async def scenario() -> None:
        api, clock = FakeApiServer(), Clock()
        kept = keeper(api, clock)
        first = await kept.refresh()
        clock.now += timedelta(days=300)
        second = await kept.refresh()
        assert (second.authorities, api.writes) == (first.authorities, 2)
        assert second.certificate != first.certificate

    asyncio.run(scenario())


def test_somebody_elses_secret_is_served_and_never_written() -> None:
    async def scenario() -> None:
        api, clock = FakeApiServer(), Clock()
        bundle = new_bundle(("other.name",), NOW)
        data = {k: base64.b64encode(v).decode() for k, v in bundle.to_secret().items()}
        del data["ca.key"]
        metadata = {"name": "webhook-cert", "namespace": "ns", "resourceVersion": "1"}
        api.objects[KEY] = {"metadata": metadata, "data": data}
        assert (await keeper(api, clock).refresh()).certificate == bundle.certificate
        assert api.writes == 0

    asyncio.run(scenario())


@pytest.mark.parametrize("data", [{"tls.crt": "%%%"}, {"tls.crt": "bm9uc2Vuc2U="}])
def test_an_unusable_secret_is_named_and_left_alone(data: dict[str, str]) -> None:
    async def scenario() -> None:
        api = FakeApiServer()
        metadata = {"name": "webhook-cert", "namespace": "ns", "resourceVersion": "1"}
        api.objects[KEY] = {"metadata": metadata, "data": data}
        with pytest.raises(CertificateError, match="Secret ns/webhook-cert"):
            await keeper(api, Clock()).refresh()
        assert api.writes == 0

    asyncio.run(scenario())
