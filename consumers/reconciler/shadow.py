"""A shadow's turn: says what would be done, and does nothing of it.

It has only looks in its hands: a port that refuses every write, whatever the code behind it tries.
"""

from collections.abc import Collection
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final, cast

from consumers.cloud.port import Cloud
from consumers.kube.port import Kube
from consumers.reconciler.instance_types import look_at_instance_type
from consumers.reconciler.pods import STEPS_MAX, Outcome, Turn, surroundings
from consumers.reconciler.tools import Tools
from consumers.reconciler.vswitches import look_at_vswitches
from ledger.rules.planning import (
    Call,
    CheckPodEni,
    LookAtEni,
    LookAtInstanceType,
    LookAtPod,
    LookAtVSwitches,
    Record,
    Settle,
    Step,
    Wait,
    WritePodEni,
    plan,
)
from ledger.store.work import Claim

KUBE_LOOKS: Final = frozenset(
    {
        "cluster_uid", "look_at_pod", "get_podeni", "list_podenis", "get_podnetworking", "get_node",
        "get_deployment", "get_lease", "get_config_map", "close",
    }
)  # fmt: skip
CLOUD_LOOKS: Final = frozenset({"describe_enis", "describe_vswitch", "describe_instance_types"})
AGAIN: Final = timedelta(seconds=60)


class ShadowWrite(Exception):  # noqa: N818 - names what was prevented
    """A shadow was about to write: a defect, and nothing was sent."""


class LookingOnly:
    """A port of which only the looks are there."""

    def __init__(self, inner: object, looks: Collection[str]) -> None:
        self._inner = inner
        self._looks = looks

    def __getattr__(self, name: str) -> Any:
        if name not in self._looks:
            raise ShadowWrite(f"{name} in shadow mode: this is a defect, please report it")
        return getattr(self._inner, name)


def looking_only(tools: Tools) -> Tools:
    """The same tools without anything that writes to Kubernetes or the cloud."""
    kube = cast(Kube, LookingOnly(tools.kube, KUBE_LOOKS))
    cloud = cast(Cloud, LookingOnly(tools.cloud, CLOUD_LOOKS))
    return replace(tools, kube=kube, cloud=cloud)


def would(tools: Tools, held: Claim) -> Outcome:
    """What the next step would be, kept with the work, so that whoever looks at it can read it."""
    if held.key.kind != "pod":
        return Outcome(tools.now() + AGAIN, f"shadow: {held.key.kind} is not worked on")
    turn = Turn()
    for _ in range(STEPS_MAX):
        allocations, about, _ = surroundings(tools, held, turn)
        if not allocations:
            return Outcome(None)
        step = plan(allocations, about)
        match step:
            case LookAtInstanceType(name):
                turn.asked.add("limits")
                look_at_instance_type(tools, held, name)
            case LookAtVSwitches(ids):
                turn.asked.add("vswitches")
                pause = look_at_vswitches(tools, held, ids)
                if pause is not None:
                    turn.pauses["vswitches"] = pause
            case _:
                return Outcome(about.now + AGAIN, f"shadow: {told(step)}")
    return Outcome(tools.now() + AGAIN, "shadow: the plan does not end")


def told(step: Step) -> str:
    """A step as a sentence of what would be done."""
    match step:
        case Call(allocation, api, parameters):
            said = ", ".join(f"{key} {value}" for key, value in sorted(parameters.items()))
            return f"would call {api} for {allocation.interface} ({said})"
        case WritePodEni(phase):
            return f"would write the PodENI into phase {phase}"
        case LookAtPod("presence", allocations):
            return f"would place the Pod on {allocations[0].node} and give it an ENI"
        case LookAtPod("holder"):
            return "has no place for it, and would look whether its Pod is there"
        case LookAtPod("absence"):
            return "would look whether its Pod is gone, and take the ENI off if so"
        case LookAtPod():
            return "would look whether its Pod is absent, and release the address if so"
        case Wait(_, why):
            return f"would wait: {why}"
        case CheckPodEni():
            return "would check its PodENI"
        case Settle() | LookAtEni() | LookAtInstanceType() | LookAtVSwitches():
            return "would look in the cloud"
        case Record():
            return "would record what follows from the state"
