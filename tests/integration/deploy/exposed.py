"""What a process answers to /metrics, and a genuine Prometheus that scraped it."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2
import yaml

from consumers.runtime.health import Health, health_application
from deploy.local.parts.child import start_child
from deploy.local.parts.ports import LOOPBACK, free_port

READY_DEADLINE_S = 120.0


def answer_of_a_process() -> bytes:
    """The body of /metrics of this process."""

    async def get() -> bytes:
        transport = httpx2.ASGITransport(app=health_application(Health()))
        async with httpx2.AsyncClient(transport=transport, base_url="http://process") as client:
            return (await client.get("/metrics")).content

    return asyncio.run(get())


@contextlib.contextmanager
def scraped(folder: Path, directory: Path, rules: Path) -> Iterator[str]:
    """The URL of a genuine Prometheus, on loopback, that has scraped this process twice."""
    port = free_port()
    with served() as target:
        job = {
            "job_name": "eni-ledger",
            "scrape_interval": "2s",
            "scrape_timeout": "2s",
            "static_configs": [{"targets": [f"{LOOPBACK}:{target}"]}],
        }
        config = directory / "prometheus.yaml"
        config.write_text(yaml.safe_dump({"scrape_configs": [job], "rule_files": [str(rules)]}))
        command = [
            str(folder / "prometheus"),
            f"--config.file={config}",
            f"--storage.tsdb.path={directory / 'data'}",
            f"--web.listen-address={LOOPBACK}:{port}",
        ]
        child = start_child("Prometheus", command, log=directory / "prometheus.log")
        base = f"http://{LOOPBACK}:{port}"
        try:
            child.wait_ready(lambda: _scraped_twice(base), READY_DEADLINE_S, "it scraped us twice")
            yield base
        finally:
            child.stop()


def ask(base: str, query: str) -> list[dict[str, Any]]:
    """What Prometheus answers to an instant query."""
    answer = httpx2.get(f"{base}/api/v1/query", params={"query": query}, timeout=10).json()
    assert answer["status"] == "success", (query, answer)
    found: list[dict[str, Any]] = answer["data"]["result"]
    return found


def _scraped_twice(base: str) -> bool:
    try:
        # It listens before it has read its storage, and answers every query with 503 until then.
        if not httpx2.get(f"{base}/-/ready", timeout=10).is_success:
            return False
    except httpx2.TransportError:
        return False
    found = ask(base, "count_over_time(eni_ledger_build_info[1m])")
    return bool(found) and float(found[0]["value"][1]) >= 2


@contextlib.contextmanager
def served() -> Iterator[int]:
    """The port on which this process's metrics are served meanwhile."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = answer_of_a_process()
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Quiet: the test's own assertions speak."""

    with ThreadingHTTPServer((LOOPBACK, 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()
