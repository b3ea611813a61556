"""/readyz says what is missing, /healthz only that the loop turns, /metrics what was counted."""

import asyncio
import socket
from collections.abc import Awaitable, Callable

import httpx2
import pytest

from consumers.runtime import metrics
from consumers.runtime.health import Health, health_application, serve_health
from consumers.runtime.serving import ListenError
from consumers.runtime.settings import HttpSettings


async def get(health: Health, path: str) -> httpx2.Response:
    transport = httpx2.ASGITransport(app=health_application(health))
    async with httpx2.AsyncClient(transport=transport, base_url="http://process") as client:
        return await client.get(path)


def test_a_process_that_reported_nothing_is_not_ready() -> None:
    answer = asyncio.run(get(Health(), "/readyz"))
    assert answer.status_code == 503
    assert answer.json() == {"ready": False, "parts": "starting: no part has reported yet"}


def test_readiness_needs_every_part_and_lists_the_reasons() -> None:
    health = Health()
    health.ready("kafka", True)
    health.ready("postgres", False, "connection refused")
    answer = asyncio.run(get(health, "/readyz"))
    assert answer.status_code == 503
    assert answer.json()["parts"] == {
        "kafka": {"ready": True, "reason": "ready"},
        "postgres": {"ready": False, "reason": "connection refused"},
    }
    health.ready("postgres", True)
    assert asyncio.run(get(health, "/readyz")).status_code == 200


def test_health_does_not_depend_on_readiness() -> None:
    assert asyncio.run(get(Health(), "/healthz")).status_code == 200


def test_metrics_show_readiness_under_our_prefix() -> None:
    health = Health()
    health.ready("kafka", False, "no broker")
    text = asyncio.run(get(health, "/metrics")).text
    assert 'eni_ledger_ready{part="kafka"} 0.0' in text


def test_a_counter_is_exported_with_prefix_and_total() -> None:
    metrics.counter("test_things", "things").inc(2)
    assert b"eni_ledger_test_things_total 2.0" in metrics.exposition()[0]


def with_server(check: Callable[[str], Awaitable[None]], settings: HttpSettings) -> None:
    async def run() -> None:
        async with asyncio.timeout(5), serve_health(Health(), settings) as url:
            await check(url)

    asyncio.run(run())


def test_port_0_is_served_on_a_real_port() -> None:
    async def check(url: str) -> None:
        async with httpx2.AsyncClient() as client:
            assert (await client.get(f"{url}/healthz")).text == "ok\n"

    with_server(check, HttpSettings())


def test_a_taken_port_is_explained() -> None:
    async def check(_url: str) -> None:
        raise AssertionError("it must not start")

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ListenError, match=rf"127\.0\.0\.1:{port}.*ENI_LEDGER_HTTP__PORT"):
            with_server(check, HttpSettings(port=port))
