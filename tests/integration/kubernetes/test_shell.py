"""What only the simulated server has: its tokens, control side, faults on order, and its own restarts."""

import ssl
import threading
import time
from pathlib import Path
from typing import Any

import httpx2
import pytest

from consumers.kube import wire
from consumers.runtime.settings import KubeSettings
from deploy.local.kubernetes.launch import Launched, LaunchOptions, launched
from deploy.local.parts.child import PartError
from tests.integration.kubernetes.test_http import config_map, lines

Json = dict[str, Any]


@pytest.mark.parametrize(
    "headers", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic x"}]
)
def test_without_a_known_token_nobody_gets_in(simulator: Launched, headers: dict[str, str]) -> None:
    context = ssl.create_default_context(cafile=str(simulator.ca))
    response = httpx2.get(f"{simulator.address}/api/v1/pods", headers=headers, verify=context)
    assert (response.status_code, response.json()["reason"]) == (401, "Unauthorized")
    assert httpx2.get(f"{simulator.address}/readyz", verify=context).text == "ok"


def test_watches_can_be_dropped(sim: httpx2.Client, simulator: Launched) -> None:
    def drop() -> None:
        with wire.connect(KubeSettings(kubeconfig=simulator.kubeconfig)) as other:
            deadline = time.monotonic() + 5
            while (
                other.post("/_sim/watches/drop", json={"resource": "leases"}).json()["dropped"] == 0
            ):
                assert time.monotonic() < deadline

    path = "/apis/coordination.k8s.io/v1/leases?watch=1&timeoutSeconds=30&resourceVersion=0"
    begun = time.monotonic()
    assert lines(sim, path, drop, 99) == []
    assert time.monotonic() - begun < 10


def test_the_control_side(sim: httpx2.Client) -> None:
    order = {"verb": "list", "resource": "nodes", "code": 429, "retry_after": 2}
    assert len(sim.post("/_sim/faults", json=order).json()["faults"]) == 1
    throttled = sim.get("/api/v1/nodes")
    assert (throttled.status_code, throttled.headers["retry-after"]) == (429, "2")
    assert sim.get("/api/v1/nodes").status_code == 200
    sim.delete("/_sim/requests")
    sim.get("/api/v1/nodes")
    counted = sim.get("/_sim/requests").json()
    assert counted["mutating"] == 0
    assert {
        "verb": "list",
        "resource": "nodes",
        "subresource": "",
        "mutating": False,
        "count": 1,
    } in counted["requests"]
    for bad in ({"verb": "fly", "code": 500}, {"resource": "cats", "code": 500}, {"code": 418}):
        refused = sim.post("/_sim/faults", json=bad)
        assert refused.status_code == 400
        assert refused.json()["allowed"]
    assert sim.get("/_sim/state").json()["simulated"] is True


def test_objects_certificates_and_token_outlive_a_crash(tmp_path: Path) -> None:
    with launched(tmp_path) as first:
        address, token = first.address, first.token
        port = int(address.rsplit(":", 1)[1])
    options = LaunchOptions(port=port)
    second = Launched(tmp_path, options)
    second.start()
    context = ssl.create_default_context(cafile=str(second.ca))
    client = httpx2.Client(
        base_url=second.address, headers={"Authorization": f"Bearer {token}"}, verify=context
    )
    made = client.post("/api/v1/namespaces/default/configmaps", json=config_map("kept")).json()
    second.kill()
    second.start()
    try:
        kept = client.get("/api/v1/namespaces/default/configmaps/kept").json()
        assert kept == made
        with pytest.raises(PartError, match="can't listen on"):
            Launched(tmp_path / "other", options).start()
    finally:
        client.close()
        second.stop()


def test_stopping_does_not_wait_for_open_watches(tmp_path: Path) -> None:
    with launched(tmp_path) as running:
        context = ssl.create_default_context(cafile=str(running.ca))
        headers = {"Authorization": f"Bearer {running.token}"}
        path = f"{running.address}/api/v1/pods?watch=1&resourceVersion=0"
        with (
            httpx2.Client(headers=headers, verify=context) as client,
            client.stream("GET", path) as w,
        ):
            begun = time.monotonic()
            stopping = threading.Thread(target=running.stop)
            stopping.start()
            assert list(w.iter_lines()) == []
        stopping.join()
        assert time.monotonic() - begun < 2
