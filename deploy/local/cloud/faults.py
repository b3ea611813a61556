"""What can be made to go wrong in the simulated cloud, and which call it hits next.

A fault is count-limited (`times`) or holds until cleared. Faults are looked at in the order in
which they were put up.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, TypeAdapter

from deploy.local.cloud.apis import ApiName
from deploy.local.cloud.strict import Strict

#: Snapshots of ENIs are kept this long, so no look can lag further behind.
LONGEST_LAG_S = 300.0


class _Fault(Strict):
    """What every fault has. Each kind is a subclass."""

    times: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="how often it strikes; absent: until it is cleared"
    )


class _CallFault(_Fault):
    """A fault that strikes calls of one API, optionally only with certain parameters."""

    api: Literal[ApiName, "*"] = Field(description="the API it strikes; * is every one")
    parameters: dict[str, str] = Field(
        default_factory=dict,
        description="strike only calls with these parameters, e.g. NetworkInterfaceId: eni-1",
    )


class Throttle(_CallFault):
    """The call is refused with Throttling.User."""

    kind: Literal["throttle"]


class ErrorCode(_CallFault):
    """The call is refused with a code of your choice and has no effect."""

    kind: Literal["error"]
    code: Annotated[str, Field(min_length=1)]
    message: str = "This error was asked for."
    status: Annotated[int, Field(ge=400, le=599)] = 400


class Timeout(_CallFault):
    """The call gets no answer: the connection stays silent until the client gives up."""

    kind: Literal["timeout"]
    effect: Literal["before", "after"] = Field(
        description="before: it had no effect; after: it took effect and the answer got lost"
    )


class Gateway(_CallFault):
    """The call is answered with status 502 and an HTML body, as a load balancer would."""

    kind: Literal["gateway"]
    effect: Literal["before", "after"] = Field(
        description="before: it had no effect; after: it took effect and the answer got lost"
    )


class Slow(_CallFault):
    """The call takes effect at once and is answered late."""

    kind: Literal["slow"]
    seconds: Annotated[float, Field(gt=0, le=600)]


class Stuck(_Fault):
    """An ENI that enters this state stays in it. A repeated detach or delete tries again."""

    kind: Literal["stuck"]
    state: Literal["Attaching", "Detaching", "Deleting"]
    seconds: Annotated[float, Field(gt=0)] | None = Field(
        default=None, description="how long; absent: until the fault is cleared"
    )


class AttachFails(_Fault):
    """An accepted attach ends in Available instead of InUse."""

    kind: Literal["attach_fails"]


class DescribeLag(_Fault):
    """Looks at ENIs show how things stood some seconds ago."""

    kind: Literal["describe_lag"]
    seconds: Annotated[float, Field(gt=0, le=LONGEST_LAG_S)]


class IpExhaustion(_Fault):
    """Creating an ENI is refused with InvalidVSwitchId.IpNotEnough; the vSwitch shows 0 free."""

    kind: Literal["ip_exhaustion"]
    vswitch_id: str | None = Field(default=None, description="absent: every vSwitch")


Fault = Annotated[
    Throttle
    | ErrorCode
    | Timeout
    | Gateway
    | Slow
    | Stuck
    | AttachFails
    | DescribeLag
    | IpExhaustion,
    Field(discriminator="kind"),
]

_ADAPTER: TypeAdapter[Fault] = TypeAdapter(Fault)
Kind = TypeVar("Kind", bound=_Fault)


def read_fault(data: Any) -> Fault:
    """A fault from its JSON form. Raises pydantic's ValidationError."""
    return _ADAPTER.validate_python(data)


@dataclass(slots=True)
class Standing:
    """A fault that is up: its number, and how often it may still strike (None: no limit)."""

    number: int
    fault: Fault
    left: int | None
    struck: int = 0


class FaultBoard:
    """The faults that are up."""

    def __init__(self, faults: tuple[Fault, ...] = ()) -> None:
        self._standing: dict[int, Standing] = {}
        self._numbers = 0
        for fault in faults:
            self.put(fault)

    @property
    def issued(self) -> range:
        """The numbers given to faults so far, also to those that are down again."""
        return range(1, self._numbers + 1)

    def put(self, fault: Fault) -> Standing:
        self._numbers += 1
        standing = Standing(self._numbers, fault, fault.times)
        self._standing[standing.number] = standing
        return standing

    def clear(self, number: int | None = None) -> list[Standing]:
        """Take down one fault, or all. Returns those taken down; [] for an unknown number."""
        numbers = list(self._standing) if number is None else [number]
        return [self._standing.pop(n) for n in numbers if n in self._standing]

    def __iter__(self) -> Iterator[Standing]:
        return iter(tuple(self._standing.values()))

    def strike_call(self, kind: type[Kind], api: str, parameters: Mapping[str, str]) -> Kind | None:
        """The first fault of this kind that hits this call; uses up one of its times."""
        for standing in self:
            fault = standing.fault
            if not isinstance(fault, kind) or not isinstance(fault, _CallFault):
                continue
            if fault.api not in (api, "*"):
                continue
            if any(parameters.get(name) != wanted for name, wanted in fault.parameters.items()):
                continue
            self._use(standing)
            return fault
        return None

    def strike(self, kind: type[Kind], **wanted: object) -> tuple[int, Kind] | None:
        """The first fault of this kind whose fields are as wanted (None in the fault fits all)."""
        standing = self._matching(kind, wanted)
        if standing is None:
            return None
        self._use(standing)
        assert isinstance(standing.fault, kind)
        return standing.number, standing.fault

    def stands(self, kind: type[Kind], **wanted: object) -> bool:
        """Whether such a fault is up, without using it."""
        return self._matching(kind, wanted) is not None

    def _matching(self, kind: type[_Fault], wanted: Mapping[str, object]) -> Standing | None:
        for standing in self:
            fault = standing.fault
            if isinstance(fault, kind) and all(
                getattr(fault, name) in (None, value) for name, value in wanted.items()
            ):
                return standing
        return None

    def _use(self, standing: Standing) -> None:
        standing.struck += 1
        if standing.left is not None:
            standing.left -= 1
            if standing.left == 0:
                del self._standing[standing.number]
