"""How long a bind took, by stage, from the times in the story alone."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

from ledger.rules import entries as e
from ledger.rules.allocation import Recorded
from ledger.rules.bind_times import bind_times

START = datetime(2026, 1, 1, tzinfo=UTC)
ID = UUID(int=1)
ADDRESS = e.Address(eni="eni-1", mac="m", vpc="v", vswitch="s", zone="z", ipv4="10.0.0.1")

REQUESTED = e.Requested(
    cluster="c",
    namespace="n",
    pod="p",
    interface="eth0",
    pod_uid="u",
    node="node",
    terms=e.Terms(vswitch_ids=("s",), security_group_ids=("g",)),
    retention=e.Retention(rule="never"),
)
CLAIMED = e.Claimed(pod_uid="u2", node="node")
CREATED = e.CallDone(intent=ID, settled_by="answer", request_id="r", address=ADDRESS)
ATTACH_DONE = e.CallDone(intent=ID, settled_by="answer", request_id="r")
ATTACHED = e.Attached(instance_id="i", trunk_eni_id=None, vlan=None, eni_type="Member")
BOUND = e.PodEniWritten(phase="Bind", uid="x")


def intended(api: e.Api) -> e.CallIntended:
    return e.CallIntended(intent=ID, api=api, client_token=None, parameters={}, deadline=START)


def story(*entries: tuple[float, e.Entry]) -> Sequence[Recorded]:
    return [
        Recorded(
            allocation_id=ID, version=at, recorded_at=START + timedelta(seconds=second), entry=entry
        )
        for at, (second, entry) in enumerate(entries, 1)
    ]


FIRST: list[tuple[float, e.Entry]] = [
    (0, REQUESTED),
    (1, e.PodEniWritten(phase="Initial", uid="x")),
    (2, intended("CreateNetworkInterface")),
    (3, CREATED),
    (3.5, intended("AttachNetworkInterface")),
    (4, ATTACH_DONE),
    (7, ATTACHED),
    (7.5, BOUND),
]


def test_each_stage_of_a_first_bind_and_all_of_it() -> None:
    times = bind_times(story(*FIRST))
    assert times == {"wait": 2, "create": 1, "attach": 4, "write": 0.5, "all": 7.5}


def test_a_pod_that_comes_back_has_no_create_and_counts_from_its_own_claim() -> None:
    again: list[tuple[float, e.Entry]] = [
        (100, CLAIMED),
        (101, intended("AttachNetworkInterface")),
        (102, ATTACH_DONE),
        (105, ATTACHED),
        (106, BOUND),
    ]
    times = bind_times(story(*FIRST, *again))
    assert times == {"wait": 1, "attach": 4, "write": 1, "all": 6}


def test_an_attach_that_fell_back_counts_until_the_one_that_held() -> None:
    fell: list[tuple[float, e.Entry]] = [
        *FIRST[:7],
        (8, e.AttachFailed(status="Available")),
        (20, ATTACHED),
        (21, BOUND),
    ]
    assert bind_times(story(*fell))["attach"] == 17


def test_a_podeni_that_is_written_again_is_no_pod_that_waited() -> None:
    assert bind_times(story(*FIRST, (50, BOUND))) == {}
    assert bind_times(story(*FIRST[:7])) == {}
    assert bind_times(story(*FIRST[1:])) == {}
    assert bind_times([]) == {}
