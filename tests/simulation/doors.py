"""The tools of one simulated process: real adapters, each external effect a named boundary.

A boundary is where a process may be killed or put to sleep: before and after each transaction,
each cloud call and each call of the API server.
"""

import itertools
import random
import uuid
from collections.abc import Callable, Mapping
from datetime import datetime

import httpx2

from consumers.cloud.api import Body
from consumers.kube.lightkube_adapter import LightkubeAdapter
from consumers.reconciler.tools import Tools
from consumers.runtime.settings import Settings
from deploy.local.cloud.port_adapter import simulated_cloud
from deploy.local.cloud.simulator import Simulator
from deploy.local.kubernetes.port_adapter import CoreTransport, InProcess
from tests.simulation.ground import Ground, Reach

Send = Callable[[str, Mapping[str, object], str], Body]
#: (send, api, parameters, subject): makes the call, or does something else with it.
CloudCall = Callable[[Send, str, Mapping[str, object], str], Body]
Serve = Callable[[httpx2.Request], httpx2.Response]
KubeCall = Callable[[Serve, httpx2.Request], httpx2.Response]


def process_tools(
    *,
    ground: Ground,
    cloud: Simulator,
    kube: InProcess,
    settings: Settings,
    now: Callable[[], datetime],
    reach: Reach,
    dice: random.Random,
    wait: Callable[[float], None] = lambda _seconds: None,
    sleep: Callable[[float], None] | None = None,
    cloud_call: CloudCall = lambda send, api, parameters, subject: send(api, parameters, subject),
    kube_call: KubeCall = lambda serve, request: serve(request),
) -> Tools:
    """What one reconciler works with. `wait` passes the time that a silent cloud takes,
    `sleep` (else `wait`) that in which the process itself waits for its budget.
    """
    client = httpx2.Client(
        transport=KubeBoundary(CoreTransport(kube), reach, kube_call), base_url="http://kube"
    )
    numbers = itertools.count(1)
    port = simulated_cloud(cloud, now=now, wait=wait)
    send = port._transport

    def at_boundary(api: str, parameters: Mapping[str, object], subject: str) -> Body:
        reach(f"before {api}")
        answer = cloud_call(send, api, parameters, subject)
        reach(f"after {api}")
        return answer

    port._transport = at_boundary
    own = dice.getrandbits(32)
    return Tools(
        ground.database(reach),
        port,
        LightkubeAdapter(client, now=now, new_id=lambda: f"{own:08x}{next(numbers):08x}"),
        settings,
        lambda: uuid.UUID(int=dice.getrandbits(128), version=4),
        dice,
        sleep or wait,
    )


class KubeBoundary(httpx2.BaseTransport):
    """Names each Kubernetes call as a boundary, before and after it takes effect."""

    def __init__(self, inner: httpx2.BaseTransport, reach: Reach, call: KubeCall) -> None:
        self._inner = inner
        self._reach = reach
        self._call = call

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        what = request.url.path.rsplit("/", 1)[-1]
        kind = {"status": "status", "events": "event"}.get(what, "object")
        self._reach(f"before {request.method} {kind}")
        response = self._call(self._inner.handle_request, request)
        self._reach(f"after {request.method} {kind}")
        return response
