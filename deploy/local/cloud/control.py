"""The simulator's control side: look inside, make things go wrong, kill instances, move the clock.

Plain HTTP and JSON under `/_sim`, unsigned: the simulator listens on loopback. A request that can't
be carried out is answered with 400 (404 for an unknown instance or fault) and {"error", "allowed"?}.
"""

import json
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, get_args

from pydantic import Field, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from deploy.local.cloud.apis import API_NAMES, ApiError
from deploy.local.cloud.enis import Eni
from deploy.local.cloud.faults import (
    AttachFails,
    DescribeLag,
    ErrorCode,
    Gateway,
    IpExhaustion,
    Slow,
    Standing,
    Stuck,
    Throttle,
    Timeout,
    read_fault,
)
from deploy.local.cloud.simulator import Call, Simulator
from deploy.local.cloud.strict import Strict, problems

#: Kinds of faults with their fields: what a wrong request is told.
FAULT_KINDS: dict[str, list[str]] = {
    get_args(model.model_fields["kind"].annotation)[0]: sorted(model.model_fields)
    for model in (
        Throttle,
        ErrorCode,
        Timeout,
        Gateway,
        Slow,
        Stuck,
        AttachFails,
        DescribeLag,
        IpExhaustion,
    )
}


class Advance(Strict):
    """Body of POST /_sim/clock/advance."""

    seconds: float = Field(gt=0, le=366 * 86_400)


def control_routes(
    simulator: Simulator, advance: Callable[[float], None], now: Callable[[], datetime]
) -> list[Route]:
    """The routes under /_sim. `advance` moves the clock that `now` tells."""
    control = Control(simulator, advance, now)
    return [
        Route("/_sim/health", control.health, methods=["GET"]),
        Route("/_sim/enis", control.enis, methods=["GET"]),
        Route("/_sim/calls", control.calls, methods=["GET"]),
        Route("/_sim/faults", control.list_faults, methods=["GET"]),
        Route("/_sim/faults", control.put_fault, methods=["POST"]),
        Route("/_sim/faults", control.clear_faults, methods=["DELETE"]),
        Route("/_sim/faults/{number:int}", control.clear_fault, methods=["DELETE"]),
        Route("/_sim/instances/{instance}/kill", control.kill, methods=["POST"]),
        Route("/_sim/clock", control.clock, methods=["GET"]),
        Route("/_sim/clock/advance", control.advance, methods=["POST"]),
    ]


class Control:
    """The handlers. Each answers JSON."""

    def __init__(
        self, simulator: Simulator, advance: Callable[[float], None], now: Callable[[], datetime]
    ) -> None:
        self._simulator = simulator
        self._advance = advance
        self._now = now

    async def health(self, _request: Request) -> JSONResponse:
        world = self._simulator.world
        return JSONResponse(
            {"status": "ok", "region": world.region, "instances": len(world.instances)}
        )

    async def enis(self, _request: Request) -> JSONResponse:
        """Every ENI as it truly is, whatever lag Describe calls are under."""
        stuck = self._simulator.model.stuck()
        listed = [_eni(eni, eni.id in stuck) for eni in self._simulator.model.enis()]
        return JSONResponse({"enis": listed})

    async def calls(self, request: Request) -> JSONResponse:
        since = request.query_params.get("since", "0")
        if not since.isdecimal():
            return _refused(f"since={since!r} is not a sequence number", allowed="0 or more")
        listed = [_call(call) for call in self._simulator.calls(int(since))]
        return JSONResponse({"calls": listed})

    async def list_faults(self, _request: Request) -> JSONResponse:
        return JSONResponse({"faults": [_standing(one) for one in self._simulator.faults]})

    async def put_fault(self, request: Request) -> JSONResponse:
        allowed = {"kinds": FAULT_KINDS, "apis": [*API_NAMES, "*"]}
        try:
            data = json.loads(await request.body())
            fault = read_fault(data)
        except ValidationError as error:
            return _refused("; ".join(problems(error)), allowed=allowed)
        except ValueError as error:
            return _refused(f"the body is not JSON: {error}", allowed=allowed)
        if isinstance(fault, IpExhaustion) and fault.vswitch_id is not None:
            known = [vswitch.id for vswitch in self._simulator.world.vswitches]
            if fault.vswitch_id not in known:
                return _refused(f"vswitch_id: {fault.vswitch_id!r} is unknown", allowed=known)
        return JSONResponse(_standing(self._simulator.faults.put(fault)), status_code=201)

    async def clear_faults(self, _request: Request) -> JSONResponse:
        return JSONResponse({"cleared": self._simulator.clear_faults()})

    async def clear_fault(self, request: Request) -> JSONResponse:
        number = int(request.path_params["number"])
        if number not in self._simulator.faults.issued:
            standing = [one.number for one in self._simulator.faults]
            return _refused(f"there never was a fault {number}", allowed=standing, status=404)
        return JSONResponse({"cleared": self._simulator.clear_faults(number)})

    async def kill(self, request: Request) -> JSONResponse:
        instance = str(request.path_params["instance"])
        try:
            had = self._simulator.model.kill(instance)
        except ApiError as error:
            known = [one.id for one in self._simulator.model.instances()]
            return _refused(error.message, allowed=known, status=404)
        return JSONResponse({"killed": instance, "enis": had})

    async def clock(self, _request: Request) -> JSONResponse:
        return JSONResponse({"now": _moment(self._now())})

    async def advance(self, request: Request) -> JSONResponse:
        allowed = {"seconds": "a number above 0, at most a year"}
        try:
            wish = Advance.model_validate(json.loads(await request.body()))
        except ValidationError as error:
            return _refused("; ".join(problems(error)), allowed=allowed)
        except ValueError as error:
            return _refused(f"the body is not JSON: {error}", allowed=allowed)
        self._advance(wish.seconds)
        return JSONResponse({"now": _moment(self._now())})


def _refused(reason: str, *, allowed: object, status: int = 400) -> JSONResponse:
    return JSONResponse({"error": reason, "allowed": allowed}, status_code=status)


def _eni(eni: Eni, stuck: bool) -> dict[str, Any]:
    return {
        "id": eni.id,
        "type": eni.type,
        "status": eni.status,
        "stuck": stuck,
        "instance_id": eni.instance_id,
        "trunk_eni_id": eni.trunk_id,
        "vlan": eni.vlan,
        "ipv4": eni.ipv4,
        "ipv6": list(eni.ipv6),
        "mac": eni.mac,
        "vswitch_id": eni.vswitch_id,
        "zone": eni.zone,
        "security_group_ids": list(eni.security_group_ids),
        "tags": dict(eni.tags),
        "delete_on_release": eni.delete_on_release,
        "description": eni.description,
        "created_at": _moment(eni.created_at),
    }


def _call(call: Call) -> dict[str, Any]:
    return asdict(call) | {"time": _moment(call.time)}


def _standing(standing: Standing) -> dict[str, Any]:
    fault = standing.fault.model_dump(exclude_none=True, exclude={"times"})
    return {"number": standing.number, **fault, "left": standing.left, "struck": standing.struck}


def _moment(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
