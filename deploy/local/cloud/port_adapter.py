"""The cloud port straight on the simulator, without HTTP: for deterministic simulations.

Builds the same parameters, reads the same bodies and raises the same errors as the real adapter,
because both are `CloudOverApi`; only the transport differs.
"""

import threading
from collections.abc import Callable, Mapping
from datetime import datetime

from consumers.cloud.api import Body, CloudOverApi
from consumers.cloud.failures import failure
from deploy.local.cloud.parameters import flatten
from deploy.local.cloud.simulator import Simulator


class SimulatorTransport:
    """`consumers.cloud.api.Transport` on a Simulator.

    Args:
        wait: told the seconds a slow answer takes; a simulator on virtual time advances its clock.
        read_timeout_s: silence, and an answer slower than this, end in Unknown after so long.
    """

    def __init__(
        self,
        simulator: Simulator,
        *,
        wait: Callable[[float], None] = lambda _seconds: None,
        read_timeout_s: float = 10.0,
    ) -> None:
        self._simulator = simulator
        self._wait = wait
        self._read_timeout_s = read_timeout_s
        # The simulator is single-threaded; the port may be called from a pool.
        self._lock = threading.Lock()

    def __call__(self, api: str, parameters: Mapping[str, object], subject: str) -> Body:
        """One attempt. Raises Throttled, Refused or Unknown."""
        with self._lock:
            outcome = self._simulator.call(api, flatten(parameters))
        if outcome.delivery == "silence" or outcome.delay_s > self._read_timeout_s:
            self._wait(self._read_timeout_s)
            raise failure(
                api, subject=subject, status=None, code="", message="read timed out", request_id=""
            )
        if outcome.delay_s:
            self._wait(outcome.delay_s)
        if outcome.delivery == "gateway":
            raise failure(
                api, subject=subject, status=502, code="", message="HTML body", request_id=""
            )
        if outcome.status >= 400:
            raise failure(
                api,
                subject=subject,
                status=outcome.status,
                code=str(outcome.body["Code"]),
                message=str(outcome.body["Message"]),
                request_id=str(outcome.body["RequestId"]),
            )
        return outcome.body


def simulated_cloud(
    simulator: Simulator,
    *,
    now: Callable[[], datetime],
    wait: Callable[[float], None] = lambda _seconds: None,
    read_timeout_s: float = 10.0,
) -> CloudOverApi:
    """`consumers.cloud.port.Cloud` on a Simulator; `now` is the clock the simulator has."""
    transport = SimulatorTransport(simulator, wait=wait, read_timeout_s=read_timeout_s)
    return CloudOverApi(transport, region_id=simulator.world.region, now=now)
