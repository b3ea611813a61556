"""The simulated scheduler: zones, cordons, extended resources, and the same answer every time."""

import pytest

from deploy.local.actors.actions import Bind, Json, PatchStatus
from deploy.local.actors.scheduler import choose_node, requests, schedule
from tests.unit.local.cluster_objects import ZONE, node, pod, view


def zone_affinity(*zones: str) -> Json:
    condition = {"key": ZONE, "operator": "In", "values": list(zones)}
    required = {"nodeSelectorTerms": [{"matchExpressions": [condition]}]}
    return {
        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}
    }


NODES = [node("a", "h"), node("b", "h"), node("c", "i")]


def test_the_emptiest_fitting_node_wins_then_the_first_by_name() -> None:
    assert choose_node(pod("x"), NODES, []) == ("a", "")
    assert choose_node(pod("x"), NODES, [pod("y", node="a")]) == ("b", "")


def test_zone_affinity_is_honoured() -> None:
    assert choose_node(pod("x", spec=zone_affinity("i")), NODES, [])[0] == "c"


def test_a_cordoned_node_takes_nothing() -> None:
    nodes = [node("a", "h", spec={"unschedulable": True}), *NODES[1:]]
    assert choose_node(pod("x", spec=zone_affinity("h")), nodes, [])[0] == "b"


def test_member_enis_are_counted() -> None:
    full = [pod("y", node="c", enis=1), pod("z", node="c", enis=1)]
    wants = pod("x", enis=1, spec=zone_affinity("i"))
    chosen, why_not = choose_node(wants, NODES, full)
    assert chosen is None
    assert "1 Insufficient aliyun/member-eni" in why_not
    assert "2 node(s) didn't match Pod's node affinity/selector" in why_not


def test_finished_pods_hold_nothing() -> None:
    done = [pod(name, node="c", enis=1, status={"phase": "Failed"}) for name in ("y", "z")]
    wants = pod("x", enis=1, spec=zone_affinity("i"))
    (action,) = schedule(view(*NODES, *done, wants))
    assert action == Bind("example", "x", "uid-x", "c")


def test_two_waiting_pods_do_not_share_the_last_eni() -> None:
    taken = pod("taken", node="c", enis=1)
    waiting = [pod(name, enis=1, spec=zone_affinity("i")) for name in ("x", "y")]
    first, second = schedule(view(NODES[2], taken, *waiting))
    assert first == Bind("example", "x", "uid-x", "c")
    assert isinstance(second, PatchStatus)
    assert second.status["conditions"][0]["reason"] == "Unschedulable"


def test_what_is_placed_or_being_deleted_is_left_alone() -> None:
    gone = pod("gone", metadata={"deletionTimestamp": "now"})
    assert schedule(view(*NODES, pod("there", node="a"), gone)) == []


def test_init_containers_count_by_their_largest() -> None:
    asks = {"resources": {"requests": {"aliyun/member-eni": "3", "cpu": "1"}}}
    wants = pod("x", enis=2, spec={"initContainers": [asks]})
    assert requests(wants) == {"aliyun/member-eni": 3}


@pytest.mark.parametrize(("tolerations", "chosen"), [([], None), ([{"operator": "Exists"}], "a")])
def test_taints(tolerations: list[Json], chosen: str | None) -> None:
    tainted = node("a", spec={"taints": [{"key": "k", "effect": "NoSchedule"}]})
    wants = pod("x", spec={"tolerations": tolerations})
    assert choose_node(wants, [tainted], [])[0] == chosen
