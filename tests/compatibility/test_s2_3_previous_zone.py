"""Reference §2.3: a Pod with a fixed IP comes back to the zone that holds it."""

from typing import Any

import pytest

from tests.compatibility.conftest import Admission
from tests.unit.rules.admission_cases import pod_object, ready_podnetworking

FIXED = [ready_podnetworking(allocationType={"type": "Fixed"}, zones=("zone-g", "zone-h"))]
ELASTIC = [ready_podnetworking(zones=("zone-g", "zone-h"))]
ZONES = ["zone-g", "zone-h"]
POD = pod_object(labels={"foo": "bar"})


def podeni(type_: str = "Fixed", **changes: Any) -> dict[str, Any]:
    return {
        "metadata": changes.get("metadata", {}),
        "spec": {
            "zone": changes.get("zone", "zone-h"),
            "allocations": changes.get("allocations", [{"allocationType": {"type": type_}}]),
        },
        "status": {"phase": changes.get("phase", "Unbind")},
    }


@pytest.mark.parametrize("phase", ["", "Bind", "Unbind", "Detaching", "Deleting"])
@pytest.mark.parametrize("type_", ["Fixed", "Elastic"])
def test_the_zone_counts_whatever_phase_and_type(admit: Admission, phase: str, type_: str) -> None:
    found = admit(POD, FIXED, podeni=podeni(type_, phase=phase))
    assert found.zone_terms == [[["zone-h"], ZONES]]


@pytest.mark.parametrize(
    "holder",
    [
        None,
        podeni(metadata={"deletionTimestamp": "2026-01-01T00:00:00Z"}),
        podeni(allocations=[]),
        podeni(zone=""),
    ],
)
def test_no_podeni_one_being_deleted_or_empty_holds_nothing(
    admit: Admission, holder: dict[str, Any] | None
) -> None:
    assert admit(POD, FIXED, podeni=holder).zone_terms == [[ZONES]]


def test_it_is_only_applied_when_a_network_of_the_new_pod_is_fixed(admit: Admission) -> None:
    assert admit(POD, ELASTIC, podeni=podeni()).zone_terms == [[ZONES]]


def test_it_is_only_for_fixed_name_pods(admit: Admission) -> None:
    deployment = pod_object(labels={"foo": "bar"}, owner_kind="ReplicaSet")
    assert admit(deployment, ELASTIC, podeni=podeni()).zone_terms == [[ZONES]]
