"""The PodNetworking resource: its spec as facts, and the status it deserves.

The status is a pure function of the spec and of what the cloud said about each vSwitch. Raw error
texts never enter it (they carry request ids), and a look that failed is not evidence: that is what
keeps a failing PodNetworking from being written again and again (the incumbent's weakness W3).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ledger.rules.networks import ELASTIC_ALLOCATION, AllocationType, NetworkRequest
from ledger.rules.objects import (
    KubeObject,
    ObjectError,
    list_at,
    mapping_at,
    resource_version,
    text_at,
    texts_at,
    value_at,
)
from ledger.rules.selectors import LabelSelector, SelectorError
from ledger.rules.vswitches import VSwitchFacts

READY, FAIL = "Ready", "Fail"

_ERROR_CODE = re.compile(r"[A-Za-z][A-Za-z0-9_.]{0,79}")


class PodNetworkingError(ObjectError):
    """The object can't be read as a PodNetworking: names it and the field."""


@dataclass(frozen=True, slots=True)
class VSwitchZone:
    """One entry of status.vSwitches."""

    id: str
    zone: str


@dataclass(frozen=True, slots=True)
class PodNetworking:
    """One PodNetworking. None for a selector means absent, which is not the same as empty.

    A selector that can't be read leaves `selector_error` set and the object usable for everything
    but matching: one bad object must not blind a process to the others.
    """

    name: str
    uid: str = ""
    resource_version: int | None = None
    generation: int | None = None
    deleting: bool = False
    allocation: AllocationType = ELASTIC_ALLOCATION
    pod_selector: LabelSelector | None = None
    namespace_selector: LabelSelector | None = None
    selector_error: str = ""
    vswitch_ids: tuple[str, ...] = ()
    security_group_ids: tuple[str, ...] = ()
    eni_type: str = "Default"
    selection_policy: str = "ordered"
    status: str = ""
    status_message: str = ""
    status_vswitches: tuple[VSwitchZone, ...] = ()
    created: str = ""

    @classmethod
    def from_object(cls, obj: KubeObject) -> "PodNetworking":
        """Read a PodNetworking with the CRD's defaults applied (reference §1.1).

        Raises PodNetworkingError for a missing name and for fields of the wrong type.
        """
        name = text_at(obj, "metadata", "name")
        if not name:
            raise PodNetworkingError("PodNetworking without metadata.name: send the whole object")
        try:
            return cls._read(name, obj)
        except ObjectError as wrong:
            raise PodNetworkingError(f"PodNetworking {name}: {wrong}") from wrong

    @classmethod
    def _read(cls, name: str, obj: KubeObject) -> "PodNetworking":
        generation = value_at(obj, "metadata", "generation")
        pod_selector = namespace_selector = None
        selector_error = ""
        try:
            pod_selector = LabelSelector.from_object(
                value_at(obj, "spec", "selector", "podSelector"), "spec.selector.podSelector"
            )
            namespace_selector = LabelSelector.from_object(
                value_at(obj, "spec", "selector", "namespaceSelector"),
                "spec.selector.namespaceSelector",
            )
        except SelectorError as wrong:
            pod_selector = namespace_selector = None
            selector_error = str(wrong)
        return cls(
            name=name,
            uid=text_at(obj, "metadata", "uid"),
            resource_version=resource_version(obj),
            generation=generation if isinstance(generation, int) else None,
            deleting=bool(text_at(obj, "metadata", "deletionTimestamp")),
            allocation=AllocationType.from_object(mapping_at(obj, "spec", "allocationType")),
            pod_selector=pod_selector,
            namespace_selector=namespace_selector,
            selector_error=selector_error,
            vswitch_ids=texts_at(obj, "spec", "vSwitchOptions"),
            security_group_ids=texts_at(obj, "spec", "securityGroupIDs"),
            eni_type=text_at(obj, "spec", "eniOptions", "eniType") or "Default",
            selection_policy=(
                text_at(obj, "spec", "vSwitchSelectOptions", "vSwitchSelectionPolicy") or "ordered"
            ),
            status=text_at(obj, "status", "status"),
            status_message=text_at(obj, "status", "message"),
            status_vswitches=_status_vswitches(obj),
            created=text_at(obj, "metadata", "creationTimestamp"),
        )

    @property
    def ready(self) -> bool:
        return self.status == READY

    @property
    def has_selector(self) -> bool:
        return self.pod_selector is not None or self.namespace_selector is not None

    @property
    def zones(self) -> frozenset[str]:
        """The zones in which its vSwitches were last found."""
        return frozenset(each.zone for each in self.status_vswitches if each.zone)

    def network(self, interface: str) -> NetworkRequest:
        """What an interface that uses this PodNetworking asks for."""
        return NetworkRequest(
            interface=interface,
            vswitch_ids=self.vswitch_ids,
            security_group_ids=self.security_group_ids,
            eni_type=self.eni_type,
            selection_policy=self.selection_policy,
            allocation=self.allocation,
        )


@dataclass(frozen=True, slots=True)
class PodNetworkingStatus:
    """The status to write, without updateAt, which the writer adds."""

    status: str
    message: str = ""
    vswitches: tuple[VSwitchZone, ...] = ()

    def to_object(self, updated_at: str) -> dict[str, Any]:
        """The `status` of the Kubernetes object; `updated_at` is RFC 3339 in UTC, whole seconds."""
        found: dict[str, Any] = {"status": self.status, "updateAt": updated_at}
        if self.vswitches:
            found["vSwitches"] = [{"id": each.id, "zone": each.zone} for each in self.vswitches]
        if self.message:
            found["message"] = self.message
        return found


def podnetworking_status(
    podnetworking: PodNetworking,
    found: Mapping[str, VSwitchFacts],
    failed: Mapping[str, str],
) -> PodNetworkingStatus:
    """The status that `podnetworking` deserves after a look at each of its vSwitches.

    `found` holds what the cloud returned; `failed` the error code of each look without an answer;
    an id in neither does not exist. All found: Ready. One missing, or a spec that can't work:
    Fail, vSwitches as before (reference §4). A look that failed proves nothing: a Ready
    PodNetworking whose vSwitches all were found before stays Ready, any other one becomes Fail.
    """
    before = podnetworking.status_vswitches
    if podnetworking.selector_error:
        return PodNetworkingStatus(FAIL, podnetworking.selector_error, before)
    if not podnetworking.vswitch_ids:
        return PodNetworkingStatus(FAIL, "vSwitchOptions is not set: name a vSwitch", before)
    missing = [id_ for id_ in podnetworking.vswitch_ids if id_ not in found and id_ not in failed]
    if missing:
        message = (
            f"vSwitch {', '.join(missing)} not found: correct vSwitchOptions, or check the region"
        )
        return PodNetworkingStatus(FAIL, message, before)
    unanswered = [id_ for id_ in podnetworking.vswitch_ids if id_ not in found]
    if unanswered:
        covered = {each.id for each in before} == set(podnetworking.vswitch_ids)
        if podnetworking.ready and covered:
            return PodNetworkingStatus(READY, "", before)
        causes = ", ".join(f"{id_} ({_code(failed[id_])})" for id_ in unanswered)
        message = f"vSwitch {causes} could not be looked up: it is tried again by itself"
        return PodNetworkingStatus(FAIL, message, before)
    resolved = tuple(VSwitchZone(id_, found[id_].zone) for id_ in podnetworking.vswitch_ids)
    return PodNetworkingStatus(READY, "", resolved)


def status_differs(podnetworking: PodNetworking, wanted: PodNetworkingStatus) -> bool:
    """Whether a write is needed; updateAt alone is no reason for one (P8)."""
    current = PodNetworkingStatus(
        podnetworking.status, podnetworking.status_message, podnetworking.status_vswitches
    )
    return current != wanted


def _code(text: str) -> str:
    """The error code at the beginning of `text`; what follows (request ids, times) is dropped."""
    code = _ERROR_CODE.match(text)
    return code.group().rstrip(".") if code else "unknown error"


def _status_vswitches(obj: KubeObject) -> tuple[VSwitchZone, ...]:
    entries = list_at(obj, "status", "vSwitches")
    return tuple(
        VSwitchZone(text_at(entry, "id"), text_at(entry, "zone"))
        for entry in entries
        if isinstance(entry, Mapping)
    )
