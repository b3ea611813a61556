"""Admission over TLS against an empty handler on the same server; `make bench PART=admission`.

The target is a p50 and p99 of at most twice the empty handler's. Client and server are processes of
their own, the connection is kept as an API server keeps it, and the two are asked in turn, so that
whatever else the machine does hits both.
"""

import http.client
import json
import ssl
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.admission.fakes import review
from tests.unit.rules.admission_cases import pod_object

ROOT = Path(__file__).parents[2]
REQUESTS, WARM_UP = 3000, 300


@pytest.fixture
def connection() -> Iterator[http.client.HTTPSConnection]:
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.bench.admission_server"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert server.stdin is not None
    assert server.stdout is not None
    told = json.loads(server.stdout.readline())
    context = ssl.create_default_context(cadata=told["authorities"])
    client = http.client.HTTPSConnection("127.0.0.1", told["port"], context=context)
    yield client
    client.close()
    server.stdin.close()
    assert server.wait(10) == 0
    server.stdout.close()


def ordinary_pod(**labels: str) -> bytes:
    """A review of about 6 kB, as a Deployment's Pod with two containers makes it."""
    pod = pod_object(labels=labels)
    environment = [{"name": f"VARIABLE_{n}", "value": f"value number {n}"} for n in range(20)]
    mounts = [{"name": f"volume-{n}", "mountPath": f"/mnt/{n}"} for n in range(6)]
    probe = {"httpGet": {"path": "/healthz", "port": 8080, "scheme": "HTTP"}, "timeoutSeconds": 1}
    pod["spec"]["containers"] = [
        {
            "name": name,
            "image": f"registry.example/{name}:1",
            "env": environment,
            "volumeMounts": mounts,
            "livenessProbe": probe,
            "readinessProbe": probe,
            "resources": {"requests": {"cpu": "1", "memory": "1Gi"}},
        }
        for name in ("app", "sidecar")
    ]
    pod["spec"]["volumes"] = [{"name": f"volume-{n}", "emptyDir": {}} for n in range(6)]
    return json.dumps(review(pod)).encode()


def ask(client: http.client.HTTPSConnection, path: str, body: bytes) -> tuple[float, Any]:
    """Milliseconds from the request's first byte to the answer's last, and the answer."""
    began = time.perf_counter()
    client.request("POST", path, body, {"Content-Type": "application/json"})
    answer = client.getresponse()
    content = answer.read()
    took = (time.perf_counter() - began) * 1000
    assert answer.status == 200
    return took, json.loads(content)


def percentile(times: list[float], of_hundred: int) -> float:
    return statistics.quantiles(times, n=100, method="inclusive")[of_hundred - 1]


@pytest.mark.parametrize(
    ("what", "labels", "patched"),
    [
        ("a Pod that gets an ENI", {"foo": "bar"}, True),
        ("a Pod that passes", {"foo": "none"}, False),
    ],
)
def test_admission_against_an_empty_handler(
    connection: http.client.HTTPSConnection,
    capsys: pytest.CaptureFixture[str],
    what: str,
    labels: dict[str, str],
    patched: bool,
) -> None:
    body = ordinary_pod(**labels)
    _, answer = ask(connection, "/mutating", body)
    assert ("patch" in answer["response"]) is patched
    times: dict[str, list[float]] = {"/empty": [], "/mutating": []}
    for number in range(WARM_UP + REQUESTS):
        for path, taken in times.items():
            took, _ = ask(connection, path, body)
            if number >= WARM_UP:
                taken.append(took)
    with capsys.disabled():
        sys.stdout.write(f"\nadmission over TLS, {what} ({len(body)} bytes, {REQUESTS} each)\n")
        for of_hundred in (50, 99):
            empty, ours = (percentile(times[path], of_hundred) for path in times)
            sys.stdout.write(
                f"  p{of_hundred}: empty handler {empty:.2f} ms, admission {ours:.2f} ms, "
                f"ratio {ours / empty:.2f} (target 2)\n"
            )
