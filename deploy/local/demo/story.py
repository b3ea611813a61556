"""The demonstration, step by step: what is done, what should come of it, what is checked.

Every step drives a public surface and looks at what came of it; nothing is taken on trust.
"""

import json
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from deploy.local import clock
from deploy.local.demo.document import in_document_order, missing_fields
from deploy.local.demo.narration import Narrator
from deploy.local.demo.surfaces import Json, StepError, Surfaces, dig

HERE = Path(__file__).parent
NAMESPACE, POD, STATEFUL_SET, PLAIN = "example", "my-nginx-0", "my-nginx", "plain-web"
ZONE = "topology.kubernetes.io/zone"
MEMBER_ENI = "aliyun/member-eni"

READY_DEADLINE_S = 120.0
BIND_DEADLINE_S = 120.0
RELEASE_DEADLINE_S = 120.0

#: The document's TTL is one hour. Stop short of it first: it must not end early.
ALMOST = timedelta(minutes=59)
THE_REST = timedelta(minutes=2)


@dataclass(frozen=True, slots=True)
class Holding:
    """What a running Trunk Pod holds, and where."""

    pod_uid: str
    node: str
    ipv4: str
    eni: str


class Story:
    """The steps, in order. Each raises StepError with what was expected and what was seen."""

    def __init__(self, surfaces: Surfaces, narrator: Narrator, dsn: str) -> None:
        self._at = surfaces
        self._tell = narrator
        self._dsn = dsn

    def play(self) -> None:
        """All of it."""
        self.describe_the_network()
        self.label_a_namespace()
        self.start_the_applications()
        self.look_at_what_admission_did()
        first = self.watch_it_bind()
        second = self.move_it_to_another_node(first)
        self.delete_it_for_good(second)
        self.let_the_ttl_pass(second)
        self.ask_the_ledger(first, second)
        self.sum_up(second)

    # --- 1 --------------------------------------------------------------------------------------

    def describe_the_network(self) -> None:
        self._tell.step("A PodNetworking says which Pods get a network of their own")
        self._tell.say(
            "Pods labelled [cyan]foo=bar[/] in namespaces labelled [cyan]foo=bar[/] shall get their"
            " own network interface (ENI), with a [bold]fixed IP[/] that is kept for one hour after"
            " the Pod is gone. This is the product document's example."
        )
        self._tell.yaml((HERE / "podnetworking.yaml").read_text())
        self._at.apply(HERE / "podnetworking.yaml")
        self._tell.say(
            "The file claims [cyan]status: Ready[/]. Nobody believes it: the vSwitch is looked up in"
            " the cloud first."
        )
        found = self._at.wait_for("PodNetworking example Ready", self._our_look, READY_DEADLINE_S)
        self._tell.output(self._at.kubectl("get", "podnetworking", "example"))
        looks = [call for call in self._at.cloud_calls() if call["api"] == "DescribeVSwitches"]
        if not looks:
            raise StepError(
                "a DescribeVSwitches call before Ready", "no such call in GET /_sim/calls"
            )
        (vswitch,) = dig(found, "status", "vSwitches")
        self._tell.check(
            f"Ready by our own look: the cloud was asked, and says that {vswitch['id']} is in zone "
            f"{vswitch['zone']}"
        )

    def _our_look(self) -> tuple[Json | None, str]:
        """Ready counts only with what the applied file did not contain: the vSwitch's zone."""
        found = self._at.get("podnetworking", "example")
        ours = dig(found, "status", "vSwitches", 0, "zone") is not None
        ready = dig(found, "status", "status") == "Ready"
        return (found if ours and ready else None), f"status {dig(found, 'status')}"

    # --- 2 --------------------------------------------------------------------------------------

    def label_a_namespace(self) -> None:
        self._tell.step("A namespace opts in by its label")
        for words in (
            ("create", "ns", NAMESPACE),
            ("label", "namespaces", NAMESPACE, "foo=bar"),
            ("get", "namespace", NAMESPACE, "--show-labels"),
        ):
            self._tell.output(self._at.kubectl(*words))

    # --- 3 --------------------------------------------------------------------------------------

    def start_the_applications(self) -> None:
        self._tell.step("Two applications: one matches, one doesn't")
        self._tell.say(
            f"The document's StatefulSet [cyan]{STATEFUL_SET}[/] has the label foo=bar. The "
            f"Deployment [cyan]{PLAIN}[/] has not."
        )
        self._at.apply(HERE / "my-nginx.yaml")
        self._at.apply(HERE / "plain-web.yaml")

    def look_at_what_admission_did(self) -> None:
        self._tell.step("Admission marks the Pod that matches, and only that one")
        pod = self._at.wait_for(
            f"Pod {NAMESPACE}/{POD} on a node", lambda: self._placed(POD), READY_DEADLINE_S
        )
        annotations = dig(pod, "metadata", "annotations") or {}
        resources = dig(pod, "spec", "containers", 0, "resources", "requests") or {}
        zones = _zones(pod)
        self._tell.table(
            ("added to the Pod", "value"),
            [
                *(
                    (name, value)
                    for name, value in sorted(annotations.items())
                    if name.startswith("k8s.aliyun.com/")
                ),
                (f"requests[{MEMBER_ENI}]", str(resources.get(MEMBER_ENI))),
                (f"nodeAffinity {ZONE}", ", ".join(zones)),
                ("…so the scheduler chose", dig(pod, "spec", "nodeName")),
            ],
        )
        _expect(annotations.get("k8s.aliyun.com/pod-eni") == "true", "pod-eni true", annotations)
        _expect(
            annotations.get("k8s.aliyun.com/pod-networking") == "example",
            "pod-networking example",
            annotations,
        )
        _expect(resources.get(MEMBER_ENI) == "1", f"a request for one {MEMBER_ENI}", resources)
        _expect(bool(zones), "a node affinity on the vSwitch's zone", pod["spec"].get("affinity"))
        self._tell.check(f"{POD} asks for one member ENI in a zone where its vSwitch is")

        plain = self._at.wait_for("a running plain Pod", self._plain_pod, READY_DEADLINE_S)
        marks = [
            name
            for name in dig(plain, "metadata", "annotations") or {}
            if name.startswith("k8s.aliyun.com/")
        ]
        untouched = not marks and not dig(plain, "spec", "affinity")
        requests = dig(plain, "spec", "containers", 0, "resources", "requests") or {}
        _expect(untouched and MEMBER_ENI not in requests, "an untouched plain Pod", plain)
        name = plain["metadata"]["name"]
        _expect(self._at.get("podeni", name, NAMESPACE) is None, "no PodENI for it", name)
        self._tell.check(
            f"{name} is untouched and runs with the shared address {plain['status']['podIP']}"
        )

    # --- 4 --------------------------------------------------------------------------------------

    def watch_it_bind(self) -> Holding:
        self._tell.step("Kubernetes → Kafka → ledger → cloud → PodENI")
        self._tell.say(
            "The watcher publishes the Pod to Kafka, the intake writes it into the ledger, the "
            "reconciler records each cloud call before it makes it, and reports the result as a "
            "PodENI. The node agent waits for exactly that."
        )
        pod_eni = self._at.wait_for("PodENI in phase Bind", self._bound, BIND_DEADLINE_S)
        holding = self._at.wait_for(
            f"{POD} running at the PodENI's address",
            lambda: self._running(None),
            BIND_DEADLINE_S,
        )
        self._tell.output(self._at.kubectl("get", "podeni", POD, "-n", NAMESPACE))
        self._tell.say("The PodENI, with the fields of the document's FAQ first, in its order:")
        self._tell.yaml(in_document_order(pod_eni))
        lacking = missing_fields(pod_eni)
        _expect(not lacking, "every field of the document's example", f"without {lacking}")
        eni = self._cloud_eni(holding.eni)
        _expect(
            eni is not None and eni["status"] == "InUse" and eni["ipv4"] == holding.ipv4,
            f"{holding.eni} InUse with {holding.ipv4} in the cloud",
            eni,
        )
        self._tell.check("every field of the document's example is there, and the cloud agrees")
        self._tell.check(
            f"{POD} runs on {holding.node} at {holding.ipv4}, through {holding.eni} of its own"
        )
        return holding

    # --- 5 --------------------------------------------------------------------------------------

    def move_it_to_another_node(self, first: Holding) -> Holding:
        self._tell.step("The Pod moves to another node and keeps its IP")
        self._tell.output(self._at.kubectl("cordon", first.node))
        self._tell.output(self._at.kubectl("delete", "pod", POD, "-n", NAMESPACE))
        second = self._at.wait_for(
            f"{POD} running again as a new Pod",
            lambda: self._running(first.pod_uid),
            BIND_DEADLINE_S,
        )
        zones = {name: self._zone(name) for name in (first.node, second.node)}
        self._tell.table(
            ("", "before", "after"),
            [
                ("Pod uid", first.pod_uid, second.pod_uid),
                ("node", first.node, second.node),
                ("zone", zones[first.node], zones[second.node]),
                ("IP", first.ipv4, second.ipv4),
                ("ENI", first.eni, second.eni),
            ],
        )
        _expect(second.node != first.node, "another node", second.node)
        _expect(len(set(zones.values())) == 1, "a node of the same zone", zones)
        _expect(second.ipv4 == first.ipv4, f"the same IP {first.ipv4}", second.ipv4)
        _expect(second.eni == first.eni, f"the same ENI {first.eni}", second.eni)
        self._tell.check("another Pod, another node: same zone, same IP, same ENI")
        self._tell.output(self._at.kubectl("uncordon", first.node))
        return second

    # --- 6 --------------------------------------------------------------------------------------

    def delete_it_for_good(self, held: Holding) -> None:
        self._tell.step("The application is deleted; its IP is kept, for one hour")
        words = ("delete", "statefulset", STATEFUL_SET, "-n", NAMESPACE)
        self._tell.output(self._at.kubectl(*words))
        self._at.wait_for(
            "PodENI in phase Unbind", lambda: self._pod_eni_in("Unbind"), BIND_DEADLINE_S
        )
        eni = self._cloud_eni(held.eni)
        kept = eni is not None and eni["status"] == "Available"
        _expect(kept, f"{held.eni} Available in the cloud", eni)
        self._tell.check(f"the Pod is gone; {held.eni} is detached and keeps {held.ipv4}")
        self._tell.output(self._at.eni_ledger("reservations"))

    # --- 7 --------------------------------------------------------------------------------------

    def let_the_ttl_pass(self, held: Holding) -> None:
        self._tell.step("An hour passes")
        self._tell.say(
            "A TTL counts by the database's clock. On the local stack, and only there, that clock "
            "can be moved: first 59 minutes."
        )
        clock.advance(self._dsn, ALMOST)
        self._at.wait_for("a heartbeat after the jump", self._few_seconds(), RELEASE_DEADLINE_S)
        _expect(self._cloud_eni(held.eni) is not None, "no early release", "the ENI is gone")
        _expect(self._at.get("podeni", POD, NAMESPACE) is not None, "no early release", "no PodENI")
        self._tell.check("59 minutes later the IP is still held: a reservation never ends early")
        clock.advance(self._dsn, THE_REST)
        self._tell.say("Two minutes more, and the hour is over.")
        self._at.wait_for("PodENI and ENI gone", lambda: self._released(held), RELEASE_DEADLINE_S)
        self._tell.check(
            f"{held.ipv4} is released: the PodENI is gone, and so is {held.eni} in the cloud"
        )

    def _few_seconds(self) -> "_Looks":
        """Looks a few times in a row: enough for several heartbeats and reconciler rounds."""
        return _Looks(count=15)

    # --- 8 --------------------------------------------------------------------------------------

    def ask_the_ledger(self, first: Holding, held: Holding) -> None:
        self._tell.step("Who held that IP, from when to when, and why?")
        self._tell.say(
            "Kubernetes has forgotten the Pod, the cloud has forgotten the ENI. The ledger has not."
        )
        self._tell.output(self._at.eni_ledger("audit", "ip", held.ipv4))
        told = json.loads(self._at.eni_ledger("audit", "ip", held.ipv4, "--json", shown=False))
        tenures = told["tenures"]
        holders = {(each["namespace"], each["pod"]) for each in tenures}
        _expect(holders == {(NAMESPACE, POD)}, f"one holder, {NAMESPACE}/{POD}", holders)
        bound = [each["pod_uid"] for each in tenures if each["kind"] == "bound"]
        _expect(bound == [first.pod_uid, held.pod_uid], "both Pods, in order", bound)
        _expect(all(each["until"] for each in tenures), "an end to every holding", tenures)
        self._tell.check("every holding, with its beginning, its end and the reason for both")

    def sum_up(self, held: Holding) -> None:
        calls: dict[str, int] = {}
        for call in self._at.cloud_calls():
            calls[call["api"]] = calls.get(call["api"], 0) + 1
        self._tell.title("What happened")
        changing = {api: n for api, n in sorted(calls.items()) if not api.startswith("Describe")}
        self._tell.say(
            f"One ENI was created, used by two Pods on two nodes as {held.ipv4}, kept for an hour "
            f"and released: [bold]{', '.join(f'{n} {api}' for api, n in changing.items())}[/], and "
            f"{sum(calls.values()) - sum(changing.values())} looks at the cloud."
        )

    # --- looks ----------------------------------------------------------------------------------

    def _placed(self, name: str) -> tuple[Json | None, str]:
        pod = self._at.get("pod", name, NAMESPACE)
        if dig(pod, "spec", "nodeName"):
            return pod, ""
        return None, f"Pod {NAMESPACE}/{name}: {dig(pod, 'status') or 'not there'}"

    def _plain_pod(self) -> tuple[Json | None, str]:
        pods = self._at.objects("pods", NAMESPACE, "-l", f"app={PLAIN}")
        running = [pod for pod in pods if dig(pod, "status", "phase") == "Running"]
        return (running[0] if running else None), f"Pods {[dig(p, 'status') for p in pods]}"

    def _bound(self) -> tuple[Json | None, str]:
        return self._pod_eni_in("Bind")

    def _pod_eni_in(self, phase: str) -> tuple[Json | None, str]:
        found = self._at.get("podeni", POD, NAMESPACE)
        seen = f"PodENI {NAMESPACE}/{POD}: {dig(found, 'status') or 'not there'}"
        return (found if dig(found, "status", "phase") == phase else None), seen

    def _running(self, not_uid: str | None) -> tuple[Holding | None, str]:
        """The running Pod and what it holds, when its address is its PodENI's."""
        pod, pod_eni = self._at.get("pod", POD, NAMESPACE), self._at.get("podeni", POD, NAMESPACE)
        uid, address = dig(pod, "metadata", "uid"), dig(pod, "status", "podIP")
        allocation = dig(pod_eni, "spec", "allocations", 0) or {}
        seen = f"Pod: {dig(pod, 'status') or 'not there'}; PodENI: {dig(pod_eni, 'status')}"
        if pod is None or uid == not_uid or address is None:
            return None, seen
        if address != allocation.get("ipv4"):
            return None, f"podIP {address}, PodENI ipv4 {allocation.get('ipv4')}; {seen}"
        node = str(dig(pod, "spec", "nodeName"))
        return Holding(str(uid), node, str(address), str(dig(allocation, "eni", "id"))), ""

    def _released(self, held: Holding) -> tuple[bool | None, str]:
        pod_eni, eni = self._at.get("podeni", POD, NAMESPACE), self._cloud_eni(held.eni)
        gone = pod_eni is None and eni is None
        return (True if gone else None), f"PodENI {dig(pod_eni, 'status')}; ENI {eni}"

    def _cloud_eni(self, eni: str) -> Json | None:
        return next((each for each in self._at.cloud_enis() if each["id"] == eni), None)

    def _zone(self, node: str) -> str:
        return str(dig(self._at.get("node", node), "metadata", "labels", ZONE))


class _Looks:
    """A look that is satisfied after a number of looks: time for the system to do wrong."""

    def __init__(self, count: int) -> None:
        self._left = count

    def __call__(self) -> tuple[bool | None, str]:
        self._left -= 1
        return (True if self._left <= 0 else None), "still looking"


def _zones(pod: Json) -> list[str]:
    required = dig(
        pod,
        "spec",
        "affinity",
        "nodeAffinity",
        "requiredDuringSchedulingIgnoredDuringExecution",
        "nodeSelectorTerms",
    )
    return [
        zone
        for term in required or []
        for condition in term.get("matchExpressions") or []
        if condition["key"] == ZONE
        for zone in condition.get("values") or []
    ]


def _expect(true: bool, expected: str, seen: object) -> None:
    if not true:
        raise StepError(expected, str(seen))
