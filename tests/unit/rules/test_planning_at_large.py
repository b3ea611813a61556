"""The plan against a world that does what it likes: it never harms a running Pod, and comes to rest."""

import json
from datetime import timedelta
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ledger.rules.allocation import Phase
from ledger.rules.pod_decisions import SeenPod
from tests.unit.rules.oracle import Oracle


def networks(*interfaces: str, allocation: dict[str, str] | None = None) -> str:
    chosen = allocation or {"type": "Fixed", "releaseStrategy": "TTL", "releaseAfter": "10m"}
    asked: list[dict[str, Any]] = [
        {
            "interface": interface,
            "vSwitchOptions": ["vsw-h"],
            "securityGroupIDs": ["sg-1"],
            "allocationType": chosen,
        }
        for interface in interfaces
    ]
    return json.dumps({"podNetworks": asked})


FIXED, PAIR = networks("eth0"), networks("eth0", "eth1")
ELASTIC = networks("eth0", allocation={"type": "Elastic"})
NEVER = networks("eth0", allocation={"type": "Fixed", "releaseStrategy": "Never"})

NODES = st.sampled_from(["node-h1", "node-h2"])
ASKED = st.sampled_from([FIXED, FIXED, PAIR, ELASTIC, NEVER])
OUTCOMES = st.sampled_from(["done", "refused", "throttled", "lost", "unheard"])


class PodName(RuleBasedStateMachine):
    """Everything that can happen under one Pod name, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.oracle = Oracle()

    # -------------------------------------------------------------- users and nodes

    @rule(on=NODES, asked=ASKED)
    def a_pod_is_created_or_replaced(self, on: str, asked: str) -> None:
        self.oracle.create_pod(on, asked)

    @rule(on=NODES, asked=ASKED, turns=st.integers(1, 8))
    def a_pod_comes_and_is_served_for_a_while(self, on: str, asked: str, turns: int) -> None:
        self.oracle.create_pod(on, asked)
        self._work(turns)

    @rule(turns=st.integers(0, 8))
    def the_pod_is_gone_for_a_while(self, turns: int) -> None:
        self.oracle.pod = None
        self._work(turns)

    @rule(turns=st.integers(1, 8))
    def work_goes_on(self, turns: int) -> None:
        self._work(turns)

    def _work(self, turns: int) -> None:
        for _ in range(turns):
            self.oracle.hear()
            self.oracle.turn()
            self.oracle.pass_time(timedelta(seconds=3))

    @precondition(lambda self: self.oracle.pod is not None)
    @rule()
    def the_pod_ends(self) -> None:
        assert self.oracle.pod is not None
        self.oracle.pod.terminal = True

    @precondition(lambda self: self.oracle.pod is not None)
    @rule()
    def the_pod_is_being_deleted(self) -> None:
        assert self.oracle.pod is not None
        self.oracle.pod.deleting = True

    @precondition(lambda self: self.oracle.podeni is not None)
    @rule(by_force=st.booleans())
    def a_user_deletes_the_podeni(self, by_force: bool) -> None:
        self.oracle.user_deletes_podeni(by_force=by_force)

    @precondition(lambda self: self.oracle.podeni is not None)
    @rule()
    def a_user_edits_the_podeni(self) -> None:
        self.oracle.user_edits_podeni()

    @rule()
    def an_operator_releases(self) -> None:
        self.oracle.command_release()

    # -------------------------------------------------------------- what is heard

    @rule()
    def events_arrive(self) -> None:
        self.oracle.hear()

    @precondition(lambda self: self.oracle.podeni is not None)
    @rule()
    def events_of_the_podeni_arrive(self) -> None:
        assert self.oracle.podeni is not None
        metadata = self.oracle.podeni["metadata"]
        self.oracle.hear_podeni(metadata["uid"], bool(metadata.get("deletionTimestamp")))

    @precondition(lambda self: self.oracle.last_uid)
    @rule(uid=st.sampled_from(["", "uid-forged"]))
    def a_forged_deletion_arrives(self, uid: str) -> None:
        gone = SeenPod("c1", "shop", "web-0", uid or self.oracle.last_uid, None)
        self.oracle.hear(gone)

    @precondition(lambda self: self.oracle.podeni is not None)
    @rule()
    def a_forged_deletion_of_the_podeni_arrives(self) -> None:
        assert self.oracle.podeni is not None
        self.oracle.hear_podeni(self.oracle.podeni["metadata"]["uid"], True)

    # -------------------------------------------------------------- time and faults

    @rule()
    def a_worker_takes_a_turn(self) -> None:
        self.oracle.turn()

    @rule(seconds=st.sampled_from([1, 3, 20, 70, 700]))
    def time_passes(self, seconds: int) -> None:
        self.oracle.pass_time(timedelta(seconds=seconds))

    @rule(outcomes=st.lists(OUTCOMES, min_size=1, max_size=3))
    def calls_will_fail(self, outcomes: list[Any]) -> None:
        self.oracle.outcomes = outcomes

    @rule(down=st.booleans())
    def the_api_server_is_away(self, down: bool) -> None:
        self.oracle.kube_down = down

    @rule(exhausted=st.booleans())
    def the_vswitch_is_full(self, exhausted: bool) -> None:
        self.oracle.no_capacity = exhausted

    # -------------------------------------------------------------- what must be so

    @invariant()
    def p4_every_eni_is_known(self) -> None:
        known = {a.address.eni for a in self.oracle.held if a.address}
        open_creates = {
            str(a.intent.client_token)
            for a in self.oracle.held
            if a.intent and a.intent.api == "CreateNetworkInterface"
        }
        for eni in self.oracle.cloud.enis.values():
            assert eni.id in known or eni.tags["token"] in open_creates, "leaked"

    def teardown(self) -> None:
        """P8: when inputs stop it comes to rest, and then there is nothing left to do."""
        oracle = self.oracle
        oracle.settle()
        calls, writes = oracle.calls, oracle.writes
        for _ in range(3):
            oracle.turn()
            oracle.pass_time(timedelta(seconds=1))
        assert (oracle.calls, oracle.writes) == (calls, writes), "P8: a call or write at rest"
        pod = oracle.pod
        phases = {a.phase for a in oracle.held if a.serving}
        if pod is None or pod.terminal:
            assert phases <= {Phase.RESERVED}
        elif phases:
            asked = {each["interface"] for each in json.loads(pod.networks)["podNetworks"]}
            assert {a.interface for a in oracle.held if a.phase is Phase.BOUND} == asked
            assert oracle.podeni is not None
            assert oracle.podeni["status"]["phase"] == "Bind"
        assert not any(a.phase is Phase.RELEASING for a in oracle.held)


PodName.TestCase.settings = settings(max_examples=60, stateful_step_count=40)
TestPodName = PodName.TestCase


def a_pair_of_which_one_is_left_in_a_call() -> PodName:
    """eth1 of an earlier Pod is in a call of unknown outcome while the PodENI comes to Bind without it."""
    name = PodName()
    name.a_pod_comes_and_is_served_for_a_while(on="node-h1", asked=PAIR, turns=1)
    name.a_worker_takes_a_turn()
    name.calls_will_fail(outcomes=["lost"])
    return name


def test_p8_a_podeni_leaves_bind_though_an_interface_that_left_it_is_claimed_again() -> None:
    name = a_pair_of_which_one_is_left_in_a_call()
    name.a_pod_comes_and_is_served_for_a_while(on="node-h1", asked=ELASTIC, turns=4)
    name.a_pod_is_created_or_replaced(on="node-h1", asked=PAIR)
    name.teardown()


def test_p3_a_deletion_that_was_said_too_early_is_true_once_it_happened() -> None:
    name = a_pair_of_which_one_is_left_in_a_call()
    name.a_pod_comes_and_is_served_for_a_while(on="node-h1", asked=FIXED, turns=4)
    name.a_forged_deletion_of_the_podeni_arrives()
    name.the_api_server_is_away(down=True)
    name.work_goes_on(turns=5)
    name.a_user_deletes_the_podeni(by_force=False)
    name.teardown()


def test_p8_a_podeni_that_nobody_holds_any_more_stands_in_nobodys_way() -> None:
    name = PodName()
    name.a_pod_comes_and_is_served_for_a_while(on="node-h1", asked=PAIR, turns=2)
    name.a_worker_takes_a_turn()
    name.calls_will_fail(outcomes=["refused"])
    name.a_pod_comes_and_is_served_for_a_while(on="node-h1", asked=ELASTIC, turns=1)
    name.a_pod_is_created_or_replaced(on="node-h1", asked=FIXED)
    name.teardown()


def test_p3_a_pod_that_goes_unserved_keeps_nothing_of_its_predecessors_deletion() -> None:
    name = PodName()
    name.a_pod_comes_and_is_served_for_a_while(on="node-h1", asked=FIXED, turns=1)
    name.a_user_deletes_the_podeni(by_force=False)
    name.the_pod_is_gone_for_a_while(turns=2)
    name.a_pod_is_created_or_replaced(on="node-h1", asked=PAIR)
    name.a_worker_takes_a_turn()
    name.the_pod_is_gone_for_a_while(turns=2)
    name.teardown()
    assert [a.phase for a in name.oracle.held] == [Phase.RESERVED] * 2
