"""One call to the simulated cloud, from arrival to answer: limits, faults, effect, call log.

Sans-IO: the HTTP shell (server.py) and the port adapter (port_adapter.py) decide what silence or
slowness mean for their callers.
"""

import uuid
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from random import Random
from typing import Literal

from deploy.local.cloud.answers import Body
from deploy.local.cloud.apis import MUTATING, ApiError
from deploy.local.cloud.faults import ErrorCode, FaultBoard, Gateway, Slow, Throttle, Timeout
from deploy.local.cloud.model import CloudModel
from deploy.local.cloud.operations import Operations
from deploy.local.cloud.parameters import COMMON, Parameters
from deploy.local.cloud.throttle import Buckets
from deploy.local.cloud.world import World

#: Calls remembered for /_sim/calls; older ones are dropped.
CALLS_KEPT = 100_000

Delivery = Literal["answered", "silence", "gateway"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a call.

    Attributes:
        status, body: of the answer, also where it is not delivered.
        delivery: answered; silence (nobody ever answers); gateway (502 and HTML instead).
        delay_s: seconds before the answer is delivered; the effect, if any, is immediate.
    """

    status: int
    body: Body
    delivery: Delivery
    delay_s: float


@dataclass(frozen=True, slots=True)
class Call:
    """A line of the call log. Parameters are without anything that authenticates.

    Attributes:
        outcome: "ok" or the error's code: what happened in the cloud.
        delivery: whether the caller was told.
        effect: whether the operation was carried out. A refused one was not, nor was a create that
            its client token told apart as a repetition: it made no ENI.
    """

    sequence: int
    time: datetime
    api: str
    parameters: Mapping[str, str]
    outcome: str
    delivery: Delivery
    effect: bool
    mutating: bool
    request_id: str


class Simulator:
    """The simulated cloud with everything around the model. Single-threaded by design."""

    def __init__(self, world: World, *, now: Callable[[], datetime], random: Random) -> None:
        self.world = world
        self.faults = FaultBoard(tuple(world.faults))
        self.model = CloudModel(world, now=now, random=random, faults=self.faults)
        self._now = now
        self._random = random
        self._operations = Operations(self.model)
        self._buckets = Buckets({str(api): limit for api, limit in world.rate_limits.items()})
        self._calls: deque[Call] = deque(maxlen=CALLS_KEPT)
        self._sequence = 0

    def call(self, api: str, flat: Mapping[str, str]) -> Outcome:
        """One call of a known API with its parameters as they travel. Never raises ApiError."""
        request_id = self.new_request_id()
        slow = self.faults.strike_call(Slow, api, flat)
        silent = self.faults.strike_call(Timeout, api, flat)
        gateway = self.faults.strike_call(Gateway, api, flat) if silent is None else None
        lost = silent or gateway
        body: Body
        delivery: Delivery = "silence" if silent else "gateway" if gateway else "answered"
        repeated = self.model.remembers(flat.get("ClientToken", ""))
        if lost is not None and lost.effect == "before":
            status, body, outcome = 504, {}, "NotPerformed"
        else:
            status, body, outcome = self._perform(api, flat, request_id)
        self._log(api, flat, outcome, delivery, request_id, repeated=repeated)
        delay = self.world.latencies.answer + (slow.seconds if slow else 0.0)
        return Outcome(status, body, delivery, delay)

    def refuse(self, api: str, flat: Mapping[str, str], error: ApiError) -> Outcome:
        """The answer to a call that got no further than the door (signature, unknown action)."""
        request_id = self.new_request_id()
        self._log(api, flat, error.code, "answered", request_id)
        return Outcome(
            error.status, error_body(error, request_id, self.world.region), "answered", 0
        )

    def clear_faults(self, number: int | None = None) -> int:
        """Take down one fault, or all; what they held up goes on. Returns how many were up."""
        cleared = self.faults.clear(number)
        # A count-limited fault may be used up and gone while what it held up still is.
        self.model.unstick(number)
        return len(cleared)

    def calls(self, since: int = 0) -> list[Call]:
        """Remembered calls with a sequence number above `since`, oldest first."""
        if not self._calls:
            return []
        skip = max(0, since - self._calls[0].sequence + 1)
        return list(islice(self._calls, skip, None))

    def new_request_id(self) -> str:
        return str(uuid.UUID(int=self._random.getrandbits(128), version=4)).upper()

    def _perform(self, api: str, flat: Mapping[str, str], request_id: str) -> tuple[int, Body, str]:
        try:
            self._admit(api, flat)
            body = self._operations.perform(api, Parameters(flat))
        except ApiError as error:
            return error.status, error_body(error, request_id, self.world.region), error.code
        return 200, {"RequestId": request_id, **body}, "ok"

    def _admit(self, api: str, flat: Mapping[str, str]) -> None:
        throttled = self.faults.strike_call(Throttle, api, flat) is not None
        if throttled or not self._buckets.admits(api, self._now()):
            raise ApiError("Throttling.User", "Request was denied due to user flow control.", 400)
        fault = self.faults.strike_call(ErrorCode, api, flat)
        if fault is not None:
            raise ApiError(fault.code, fault.message, fault.status)

    def _log(
        self,
        api: str,
        flat: Mapping[str, str],
        outcome: str,
        delivery: Delivery,
        request_id: str,
        *,
        repeated: bool = False,
    ) -> None:
        self._sequence += 1
        self._calls.append(
            Call(
                sequence=self._sequence,
                time=self._now(),
                api=api,
                parameters={name: flat[name] for name in flat if name not in COMMON},
                outcome=outcome,
                delivery=delivery,
                effect=outcome == "ok" and api in MUTATING and not repeated,
                mutating=api in MUTATING,
                request_id=request_id,
            )
        )


def error_body(error: ApiError, request_id: str, region: str) -> Body:
    """An error as the cloud writes it."""
    return {
        "RequestId": request_id,
        "HostId": f"ecs.{region}.simulator.local",
        "Code": error.code,
        "Message": error.message,
        "Recommend": "https://api.aliyun.com/troubleshoot?q=" + error.code,
    }
