"""`doctor --fix eni-config`: what it refuses, and agents that are restarted one stage at a time."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import pytest

from consumers.doctor.facts import (
    AgentPod,
    ClusterFacts,
    ConfigText,
    DaemonSet,
    Facts,
    Meant,
    Unseen,
)
from consumers.doctor.fix_plan import (
    FixRefused,
    WrongSetting,
    asked_for,
    plan_of,
    stages_of,
)
from consumers.doctor.restarting import RestartStopped, Waiting, restart

MEANT = Meant(
    cluster_id="c",
    region_id="r",
    vpc_id="v",
    local_stack=False,
    synchronous_standby=False,
    topic_prefix="eni-ledger",
    message_bytes_max=1,
    webhook_name="eni-ledger",
)


def facts(text: str, **cluster: object) -> Facts:
    """A managed cluster with its token and agents, unless said otherwise."""
    seen: dict[str, object] = {
        "eni_config": ConfigText(text, "7", ""),
        "control_plane": (),
        "token": True,
        "daemon_sets": (DaemonSet("terway-eniip", (), 3, 3),),
    }
    return Facts(MEANT, cluster=ClusterFacts(**(seen | cluster)))  # type: ignore[arg-type]


# --- what is edited -------------------------------------------------------------------------------


def test_a_managed_cluster_gets_both_keys_and_a_dedicated_one_only_the_first() -> None:
    assert '"credential_path": "/var/addon/token-config"' in plan_of(facts("{}"), {}).after
    dedicated = facts("{}", control_plane=("kube-apiserver-m",), token=False)
    assert plan_of(dedicated, {}).after == '{"enable_eni_trunking": true}'


def test_another_credential_path_is_left_alone_unless_asked_for() -> None:
    text = '{"credential_path": "/elsewhere", "enable_eni_trunking": true}'
    assert not plan_of(facts(text), {}).changes
    plan = plan_of(facts(text), asked_for(["credential_path=/var/addon/token-config"]))
    assert "/elsewhere" not in plan.after
    assert '-{"credential_path": "/elsewhere"' in plan.diff()


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("enable_eni_trunking=false", "can't be turned off again"),
        ("enable_eni_trunking=0", "nor can fixed IPs"),
        ("max_pool_size=5", "only enable_eni_trunking and credential_path"),
        ("credential_path=token", "an absolute path"),
        ("enable_eni_trunking", "write KEY=VALUE"),
    ],
)
def test_what_may_not_be_set(word: str, says: str) -> None:
    with pytest.raises(WrongSetting, match=says):
        asked_for([word])


@pytest.mark.parametrize(
    ("cluster", "says"),
    [
        ({"token": False}, "does not support trunk ENIs"),
        ({"daemon_sets": ()}, "no DaemonSet"),
        ({"eni_config": None}, "is not there"),
        ({"eni_config": ConfigText('{"a": 1\n"b"}', "7", "")}, "line 2 column 1"),
        ({"token": Unseen("no right to look")}, "no right to look"),
    ],
)
def test_where_it_would_not_help_nothing_is_changed(cluster: dict[str, object], says: str) -> None:
    with pytest.raises(FixRefused, match=says):
        plan_of(facts("{}", **cluster), {})


# --- what is restarted ----------------------------------------------------------------------------


def pod(node: str, uid: str = "old") -> AgentPod:
    return AgentPod(f"agent-{node}", uid, node, ready=True, started="")


@dataclass
class Played:
    """A cluster whose agents come back `after` seconds after they were deleted, or never."""

    nodes: Sequence[str]
    comes_back: Callable[[str], bool] = lambda _node: True
    makes_trunk: Callable[[str], bool] = lambda _node: True
    now: float = 0.0
    deleted: dict[str, float] = field(default_factory=dict)

    def waiting(self) -> Waiting:
        return Waiting(lambda: self.now, self._sleep, ready_s=60, trunk_s=30, pause_s=1)

    def _sleep(self, seconds: float) -> None:
        self.now += seconds

    def _back(self, node: str) -> bool:
        return self.comes_back(node) and self.now >= self.deleted[node] + 5

    def pods(self) -> Sequence[AgentPod]:
        there = [pod(node) for node in self.nodes if node not in self.deleted]
        new = [replace(pod(n, "new"), ready=self._back(n)) for n in self.deleted]
        return [*there, *new]

    def delete(self, pod: AgentPod) -> None:
        assert pod.uid == "old", "an agent that came back is not restarted again"
        away = [n for n in self.deleted if not self._back(n)]
        assert len(away) < max(1, len(self.nodes) // 10), f"{away} are away at the same time"
        self.deleted[pod.node] = self.now

    def trunk_of(self, node: str) -> str | None:
        back = node in self.deleted and self.now >= self.deleted[node] + 10
        return "eni-trunk" if back and self.makes_trunk(node) else None


def test_one_alone_first_then_a_tenth_at_a_time() -> None:
    nodes = [f"n{number:02}" for number in range(31)]
    stages = stages_of([pod(node) for node in nodes], "n07")
    assert [len(stage) for stage in stages] == [1] + [3] * 10
    assert stages[0][0].node == "n07"
    assert sorted(p.node for stage in stages for p in stage) == nodes
    assert [len(stage) for stage in stages_of([pod("a"), pod("b")])] == [1, 1]
    assert stages_of([]) == []


def test_each_stage_waits_for_the_one_before() -> None:
    played = Played([f"n{number:02}" for number in range(20)])
    told = list(restart(played, played.waiting(), lambda _node: True))
    assert len(told) == 11
    assert sorted(played.deleted) == sorted(played.nodes)


def test_the_first_that_does_not_come_back_is_the_last_restarted() -> None:
    played = Played(["a", "b", "c"], comes_back=lambda node: node != "a")
    with pytest.raises(RestartStopped, match=r"node a is not ready 60 s .* 2 other agents"):
        list(restart(played, played.waiting(), lambda _node: False))
    assert list(played.deleted) == ["a"]


def test_an_agent_without_trunk_stops_it_too_where_the_type_can_have_one() -> None:
    played = Played(["a", "b", "c"], makes_trunk=lambda _node: False)
    with pytest.raises(RestartStopped, match="node b is ready and made no trunk ENI"):
        list(restart(played, played.waiting(), lambda node: node == "b"))
    assert list(played.deleted) == ["b"]
