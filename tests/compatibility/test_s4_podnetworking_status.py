"""Reference §4: Ready and Fail."""

from typing import Any

from ledger.rules.podnetworkings import PodNetworking, podnetworking_status, status_differs
from ledger.rules.vswitches import VSwitchFacts
from tests.unit.rules.admission_cases import podnetworking_object


def podnetworking(status: dict[str, Any] | None = None) -> PodNetworking:
    return PodNetworking.from_object({**podnetworking_object(), "status": status})


def found(*ids: str) -> dict[str, VSwitchFacts]:
    return {id_: VSwitchFacts(id_, f"zone-{id_}", "10.0.0.0/24") for id_ in ids}


READY = {
    "status": "Ready",
    "vSwitches": [{"id": "vsw-1", "zone": "zone-vsw-1"}, {"id": "vsw-2", "zone": "zone-vsw-2"}],
}


def test_all_resolved_is_ready_with_zones_in_spec_order_and_no_message() -> None:
    before = podnetworking({"status": "Fail", "message": "old"})
    status = podnetworking_status(before, found("vsw-2", "vsw-1"), {})
    assert status.to_object("2026-01-01T00:00:00Z") == {
        **READY,
        "updateAt": "2026-01-01T00:00:00Z",
    }


def test_any_that_is_missing_is_fail_with_a_message_and_the_previous_vswitches() -> None:
    status = podnetworking_status(podnetworking(READY), found("vsw-1"), {})
    assert status.status == "Fail"
    assert "vsw-2" in status.message
    assert status.to_object("x")["vSwitches"] == READY["vSwitches"]


def test_ready_and_unchanged_is_done() -> None:
    current = podnetworking(READY)
    assert not status_differs(current, podnetworking_status(current, found("vsw-1", "vsw-2"), {}))
