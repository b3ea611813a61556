"""The official SDK over HTTP against the simulator process (P4, P9: what the adapter makes of it)."""

import logging
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from consumers.cloud.api import CloudOverApi
from consumers.cloud.port import CreateEni, EniQuery, Refused, Throttled, Unknown
from consumers.cloud.settings import StaticKey

from .conftest import RunningSimulator, SimulatorProcess, wait_until

TAGS = {"creator": "eni-ledger", "ack.aliyun.com": "c-1", "eni-ledger/intent": "a b/ü+&=~"}
REQUEST = CreateEni("vsw-bpxxxx", ("sg-bpxxxx",), "token-1", TAGS, False, ipv6_count=1)
TRUNK = "eni-bp1trunk0h1"
INSTANCE = "i-bp1demo0h1"


def test_a_whole_life_of_a_member(cloud: CloudOverApi, simulator: RunningSimulator) -> None:
    switch = cloud.describe_vswitch("vsw-bpxxxx").value
    assert switch is not None
    assert (switch.zone, switch.cidr) == ("cn-hangzhou-h", "192.168.0.0/19")
    (limits,) = cloud.describe_instance_types(["ecs.g7.2xlarge"]).value
    assert limits.member_limit == 20

    created = cloud.create_eni(REQUEST)
    eni = created.value
    assert created.request_id
    assert (eni.status, eni.type, eni.vpc_id) == ("Available", "Secondary", "vpc-bpxxxx")
    assert eni.tags == TAGS
    assert eni.ipv6 is not None

    def status() -> str:
        found = cloud.describe_enis(EniQuery(eni_ids=(eni.id,))).value
        return found[0].status if found else "gone"

    cloud.attach_eni(eni.id, INSTANCE, TRUNK, None)
    wait_until(lambda: status() == "InUse", "attached")
    (attached,) = cloud.describe_enis(EniQuery(tags=TAGS, type="Member", status="InUse")).value
    assert (attached.vlan, attached.trunk_eni_id, attached.instance_id) == (1001, TRUNK, INSTANCE)
    assert (attached.ipv4, attached.ipv6, attached.mac) == (eni.ipv4, eni.ipv6, eni.mac)
    with pytest.raises(Refused, match="InvalidEniState"):
        cloud.attach_eni(eni.id, INSTANCE, TRUNK, None)

    cloud.modify_eni_security_groups(eni.id, ["sg-bpxxxx", "sg-bpyyyy"])
    (changed,) = cloud.describe_enis(EniQuery(eni_ids=(eni.id,))).value
    assert changed.security_group_ids == ("sg-bpxxxx", "sg-bpyyyy")

    cloud.detach_eni(eni.id, INSTANCE, TRUNK)
    wait_until(lambda: status() == "Available", "detached")
    cloud.delete_eni(eni.id)
    wait_until(lambda: status() == "gone", "deleted")
    assert cloud.delete_eni(eni.id).already_gone
    assert cloud.detach_eni(eni.id, INSTANCE, TRUNK).already_gone

    (logged,) = simulator.calls("CreateNetworkInterface")
    assert logged["outcome"] == "ok"
    assert logged["parameters"]["ClientToken"] == "token-1"
    assert logged["parameters"]["InstanceType"] == "Secondary"
    assert logged["parameters"]["SourceDestCheck"] == "False"


def test_throttling_is_told_apart(cloud: CloudOverApi) -> None:
    for _ in range(2):
        cloud.describe_instance_types(["ecs.g7.2xlarge"])
    with pytest.raises(Throttled) as raised:
        cloud.describe_instance_types(["ecs.g7.2xlarge"])
    assert raised.value.code == "Throttling.User"
    assert raised.value.request_id


@pytest.mark.parametrize(("effect", "exists"), [("before", 0), ("after", 1)])
def test_a_time_out_is_unknown_and_the_token_resolves_it(
    simulator: RunningSimulator, effect: str, exists: int
) -> None:
    simulator.put_fault(kind="timeout", api="CreateNetworkInterface", effect=effect, times=1)
    impatient = simulator.cloud(read_timeout_s=0.3)
    with pytest.raises(Unknown) as raised:
        impatient.create_eni(REQUEST)
    assert "token-1" in str(raised.value), "the error names the client token"
    assert len(simulator.enis(tags=TAGS)) == exists
    resolved = impatient.create_eni(REQUEST).value
    (only,) = simulator.enis(tags=TAGS)
    assert only["id"] == resolved.id
    calls = simulator.calls("CreateNetworkInterface")
    assert len(calls) == 2, "one call of the port is one attempt"
    assert calls[0]["delivery"] == "silence"
    assert calls[0]["effect"] is (effect == "after")


def test_other_ways_not_to_learn_the_outcome(
    cloud: CloudOverApi, simulator: RunningSimulator
) -> None:
    simulator.put_fault(kind="gateway", api="CreateNetworkInterface", effect="after", times=1)
    with pytest.raises(Unknown):
        cloud.create_eni(REQUEST)
    simulator.put_fault(
        kind="error", api="DescribeVSwitches", code="ServiceUnavailable", status=503, times=1
    )
    with pytest.raises(Unknown) as raised:
        cloud.describe_vswitch("vsw-bpxxxx")
    assert raised.value.code == "ServiceUnavailable"
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        nobody = f"127.0.0.1:{reserved.getsockname()[1]}"
        with pytest.raises(Unknown, match="refused"):
            simulator.cloud(ecs_endpoint=nobody).delete_eni("eni-1")


def test_a_process_that_dies_in_a_call_leaves_it_unknown(
    simulator_process: SimulatorProcess,
) -> None:
    simulator_process.put_fault(kind="slow", api="DeleteNetworkInterface", seconds=30)
    cloud = simulator_process.cloud()
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(cloud.delete_eni, "eni-1")
        wait_until(
            lambda: bool(simulator_process.calls("DeleteNetworkInterface")), "the call arrived"
        )
        simulator_process.process.kill()
        with pytest.raises(Unknown):
            call.result(5)


@pytest.mark.parametrize(
    ("key", "code"),
    [
        (StaticKey("simulator-only", "wrong-secret"), "SignatureDoesNotMatch"),
        (StaticKey("who-is-this", "simulator-only-secret"), "InvalidAccessKeyId.NotFound"),
        (
            StaticKey("simulator-only", "simulator-only-secret", "some-sts-token"),
            "InvalidSecurityToken",
        ),
    ],
)
def test_a_wrong_signature_is_refused(
    simulator: RunningSimulator, key: StaticKey, code: str
) -> None:
    with pytest.raises(Refused) as raised:
        simulator.cloud(key).create_eni(REQUEST)
    assert raised.value.code == code
    for secret in (key.access_key_secret, key.security_token or "wrong-secret"):
        assert secret not in str(raised.value)
    assert simulator.enis(tags=TAGS) == []


def test_threads_share_one_adapter(cloud: CloudOverApi) -> None:
    with ThreadPoolExecutor(8) as pool:
        requests = [
            CreateEni("vsw-bpxxxx", ("sg-bpxxxx",), f"t-{number}", {"k": "v"}, True)
            for number in range(40)
        ]
        created = list(pool.map(cloud.create_eni, requests))
    assert len({answer.value.ipv4 for answer in created}) == 40
    ids = tuple(answer.value.id for answer in created)
    found = cloud.describe_enis(EniQuery(eni_ids=ids * 3))
    assert {eni.id for eni in found.value} == set(ids)


@pytest.fixture
def root_at_debug() -> Iterator[None]:
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.DEBUG)
    yield
    root.setLevel(level)


@pytest.mark.usefixtures("root_at_debug")
def test_the_sdk_logs_no_requests(cloud: CloudOverApi, caplog: pytest.LogCaptureFixture) -> None:
    cloud.describe_vswitch("vsw-bpxxxx")
    ours = [record for record in caplog.records if not record.name.startswith("urllib3")]
    assert [record for record in ours if record.levelno < logging.WARNING] == []


def test_a_lost_instance(cloud: CloudOverApi, simulator: RunningSimulator) -> None:
    eni = cloud.create_eni(REQUEST).value
    cloud.attach_eni(eni.id, INSTANCE, TRUNK, None)
    wait_until(lambda: bool(simulator.enis(id=eni.id, status="InUse")), "attached")
    killed = simulator.control.post(f"/_sim/instances/{INSTANCE}/kill")
    assert eni.id in killed.json()["enis"]
    (kept,) = cloud.describe_enis(EniQuery(eni_ids=(eni.id,))).value
    assert (kept.status, kept.ipv4, kept.instance_id) == ("Available", eni.ipv4, None)
    wait_until(lambda: simulator.enis(id=TRUNK) == [], "the trunk went with its instance")


def test_it_stops_gracefully_even_while_somebody_waits(simulator_process: SimulatorProcess) -> None:
    simulator_process.put_fault(kind="timeout", api="*", effect="before")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(simulator_process.cloud().describe_vswitch, "vsw-bpxxxx")
        wait_until(lambda: bool(simulator_process.calls("DescribeVSwitches")), "somebody waits")
        simulator_process.process.send_signal(signal.SIGTERM)
        assert simulator_process.process.wait(10) == 0
        with pytest.raises(Unknown):
            waiting.result(10)


def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "deploy.local.cloud", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)


def test_a_port_in_use_and_a_wrong_world_say_what_to_do(simulator: RunningSimulator) -> None:
    port = simulator.address.rpartition(":")[2]
    taken = run("--port", port)
    assert taken.returncode == 1
    assert port in taken.stderr
    assert "--port" in taken.stderr
    absent = run("--world", "no-such.yaml")
    assert absent.returncode == 2
    assert "no-such.yaml" in absent.stderr
